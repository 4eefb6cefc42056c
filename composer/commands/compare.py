"""`composer compare`: tables, figures and conclusions from the runs of a sweep. Needs no torch."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

from composer import terminal
from composer.compare import table_formats as typeset
from composer.compare import tables
from composer.compare.account import title, trained
from composer.compare.captions import figure_captions, weights
from composer.compare.comparability import check
from composer.compare.conclusions import words
from composer.compare.effects import SPLITS, Comparison, analyse, find_arm
from composer.compare.latex import latex
from composer.compare.reading import read_runs, read_sweep
from composer.compare.runs import COMPLETED, Run
from composer.config.commands import CompareConfig
from composer.errors import ComposerError
from composer.files import display_path, user_path, write_text
from composer.progress import say, working

REPORT = "report.md"
_OTHER_SEEDS = "The intervals are for other seeds on the same music, not for other music."


def compare(config: CompareConfig, folders: Sequence[Path] = ()) -> Comparison:
    """Read a folder of runs and compute everything that the report contains.

    Args:
        config: of the command.
        folders: run directories to compare in place of the runs of `config.sweep`.

    Raises:
        ComposerError: there is nothing to compare there, or no such arm or metric.
    """
    if folders:
        sweep = read_runs(folders, config.weights)
    else:
        sweep = read_sweep(user_path(config.sweep), config.weights)
    baseline = find_arm(sweep, config.baseline)
    check(sweep, baseline)
    if not sweep.counted:
        reasons = [f"{r.folder.name}: {r.left_out or r.error or r.status}" for arm in sweep.arms for r in arm.runs]
        raise ComposerError(f"{display_path(sweep.folder)}: no run of it can be used ({_some(reasons)})")
    return analyse(sweep, baseline, metric=config.metric, weights=config.weights, resamples=config.resamples)


def run(config: CompareConfig) -> Path:
    """Compare as configured: print the table and the conclusions, and write the folder; return its path."""
    with working("reading and comparing the runs"):
        c = compare(config)
    for note in c.sweep.notes:
        warnings.warn(note, stacklevel=2)
    folder = user_path(config.output) if config.output else c.sweep.folder / "compare"
    with working("computing the intervals"):
        made = all_tables(c, config.resamples)
    with working("drawing the figures"):
        figures = write(c, made, folder, figures=config.figures)
    width = terminal.width_of()
    say("\n".join([f"{c.title(c.metric)}, {weights(c)}", "", *typeset.text(made[0], width), "", *conclusions(c)]))
    say(f"\nwritten to {display_path(folder)}: {REPORT}, table.csv, runs.csv, table.tex" + "; figures" * bool(figures))
    return folder


def all_tables(c: Comparison, resamples: int) -> list[typeset.Table]:
    """Return the tables of a comparison: of its metric first, then by split, of gaps, of copying, of differences.

    Args:
        c: the comparison.
        resamples: draws of the bootstrap over pairs.
    """
    made = [tables.main_table(c, resamples), *(t for split in SPLITS if (t := tables.split_table(c, split)))]
    made += [tables.gap_table(c), *(table for table in [tables.copying_table(c)] if table is not None)]
    return [*made, *([tables.difference_table(c)] if c.others else [])]


def conclusions(c: Comparison) -> list[str]:
    """Return what the numbers support as plain text: sentences without Markdown's stars."""
    return [sentence.replace("**", "") for sentence in words(c)]


def write(c: Comparison, made: Sequence[typeset.Table], folder: Path, *, figures: bool = True) -> list[str]:
    """Write tables, figures and the report of a comparison into a folder; return the names of the figures.

    Raises:
        ComposerError: the folder cannot be written.
    """
    write_text(folder / "table.csv", tables.csv_table(c))
    write_text(folder / "runs.csv", tables.csv_runs(c))
    write_text(folder / "table.tex", latex(made, c.sweep.name))
    names: list[str] = []
    if figures:
        # Imported late: help and --cfg need no matplotlib.
        from composer.compare.figures import draw_all

        names = draw_all(c, folder)
    write_text(folder / REPORT, report(c, made, names))
    return names


def report(c: Comparison, made: Sequence[typeset.Table], figures: Sequence[str]) -> str:
    """Return `report.md`: a title in words, what was trained, conclusions, other differences, tables and figures."""
    sweep, shown = c.sweep, typeset.markdown_text
    runs = [run for arm in sweep.arms for run in arm.runs]
    lines = [
        f"# {shown(title(c))}",
        "",
        "## What was trained",
        "",
        "| what | value |",
        "|---|---|",
        *(f"| {shown(name)} | {shown(value)} |" for name, value in trained(c)),
        "",
        "## What the numbers support",
        "",
        *(f"- {sentence}" for sentence in words(c)),
        "",
        *([_OTHER_SEEDS, ""] if has_intervals(c) else []),
    ]
    if sweep.notes:
        lines += [
            "## Other differences between the runs",
            "",
            *(f"- {shown(note)}" for note in sweep.notes),
            "",
        ]
    failed = [run for run in runs if run.status != COMPLETED]
    if failed:
        lines += ["## Failures", ""]
        lines += [*(f"- {shown(run.folder.name)}: {run.status}{_reason(run)}" for run in failed), ""]
    lines += ["## Tables", "", *(typeset.markdown(table) for table in made)]
    lines += [
        "`table.csv` has every figure, `runs.csv` one row per run, `table.tex` the tables for LaTeX.",
        "",
    ]
    if figures:
        captions = figure_captions(c)
        lines += ["## Figures", ""]
        for name in figures:
            caption = shown(captions[name.partition("-")[0]])
            lines += [
                f"![{name}]({name}.png)",
                "",
                f"*{caption}* [{name}.pdf]({name}.pdf), [{name}.svg]({name}.svg)",
                "",
            ]
    return "\n".join(lines)


def has_intervals(c: Comparison) -> bool:
    """Return whether any difference of the metric has an interval, for which there must be enough seeds."""
    against = [difference for _, difference in c.against.values()]
    return any(d.interval for d in [*c.differences.values(), *against])


def _reason(run: Run) -> str:
    return f" ({typeset.markdown_text(run.error)})" if run.error else ""


def _some(reasons: Sequence[str]) -> str:
    return "; ".join(reasons[:3]) + (f"; and {len(reasons) - 3} more" if len(reasons) > 3 else "")
