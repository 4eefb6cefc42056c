"""`composer compare`: tables, figures and conclusions from the runs of a sweep. Needs no torch."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

from composer.compare import table_formats as typeset
from composer.compare import tables
from composer.compare.comparability import check
from composer.compare.conclusions import count, words
from composer.compare.effects import SPLITS, Comparison, analyse, find_arm
from composer.compare.reading import read_sweep
from composer.compare.runs import COMPLETED
from composer.config.commands import CompareConfig
from composer.errors import ComposerError
from composer.files import display_path, write_text

REPORT = "report.md"


def compare(config: CompareConfig) -> Comparison:
    """Read a folder of runs and compute everything that the report contains.

    Raises:
        ComposerError: there is nothing to compare there, or no such arm or metric.
    """
    sweep = read_sweep(Path(config.sweep).expanduser(), config.weights)
    baseline = find_arm(sweep, config.baseline)
    check(sweep, baseline)
    if not sweep.counted:
        reasons = [f"{r.folder.name}: {r.left_out or r.error or r.status}" for arm in sweep.arms for r in arm.runs]
        raise ComposerError(f"{display_path(sweep.folder)}: no run of it can be used ({_some(reasons)})")
    return analyse(sweep, baseline, metric=config.metric, weights=config.weights, resamples=config.resamples)


def run(config: CompareConfig) -> Path:
    """Compare as configured: print the table and the conclusions, and write the folder; return its path."""
    c = compare(config)
    for note in c.sweep.notes:
        warnings.warn(note, stacklevel=2)
    folder = Path(config.output).expanduser() if config.output else c.sweep.folder / "compare"
    main = tables.main_table(c, config.resamples)
    made = [main, *(t for split in SPLITS if (t := tables.split_table(c, split))), tables.gap_table(c)]
    made += [table for table in [tables.copying_table(c)] if table is not None]
    if c.others:
        made.append(tables.difference_table(c))
    write_text(folder / "table.csv", tables.csv_table(c))
    write_text(folder / "runs.csv", tables.csv_runs(c))
    write_text(folder / "table.tex", typeset.latex(made, c.sweep.name))
    figures: list[str] = []
    if config.figures:
        # Imported late: help and --cfg need no matplotlib.
        from composer.compare.figures import draw_all

        figures = draw_all(c, folder)
    write_text(folder / REPORT, report(c, made, figures))
    # A terminal does not know Markdown's stars.
    said = [sentence.replace("**", "") for sentence in words(c)]
    print("\n".join([f"{c.title(c.metric)}, {_weights(c)}", "", *typeset.text(main), "", *said]))
    print(
        f"\nwritten to {display_path(folder)}: {REPORT}, table.csv, runs.csv, table.tex" + "; figures" * bool(figures)
    )
    return folder


def report(c: Comparison, made: Sequence[typeset.Table], figures: Sequence[str]) -> str:
    """Return `report.md`: swept keys, conclusions, other differences, tables and figures."""
    sweep = c.sweep
    runs = [run for arm in sweep.arms for run in arm.runs]
    keys = ", ".join(f"`{key}`" for key in sweep.swept) or "nothing but the seed"
    seeds = sorted({run.seed for run in sweep.counted if run.seed is not None})
    lines = [
        f"# {sweep.name}",
        "",
        f"Swept: {keys}. {count(len(sweep.arms), 'arm')}, {count(len(runs), 'run')}, of which {len(sweep.counted)} "
        f"count; seeds {', '.join(map(str, seeds))}. The figures are those of the {_weights(c)}.",
        "",
        "## What the numbers support",
        "",
        *(f"- {sentence}" for sentence in words(c)),
        "",
        "The intervals are for other seeds on the same music, not for other music.",
        "",
    ]
    if sweep.notes:
        lines += ["## Other differences between the runs", "", *(f"- {note}" for note in sweep.notes), ""]
    failed = [run for run in runs if run.status != COMPLETED]
    if failed:
        lines += ["## Failures", ""]
        lines += [f"- {run.folder.name}: {run.status}" + f" ({run.error})" * bool(run.error) for run in failed] + [""]
    lines += ["## Tables", "", *(typeset.markdown(table) for table in made)]
    lines += [
        "`table.csv` has every figure, `runs.csv` one row per run, `table.tex` the tables for LaTeX.",
        "",
    ]
    if figures:
        lines += ["## Figures", ""]
        for name in figures:
            lines += [f"![{name}]({name}.png)", "", f"[{name}.pdf]({name}.pdf), [{name}.svg]({name}.svg)", ""]
    return "\n".join(lines)


def _weights(c: Comparison) -> str:
    return {"final": "weights after the last epoch", "best": "weights with the lowest loss/val"}[c.weights]


def _some(reasons: Sequence[str]) -> str:
    return "; ".join(reasons[:3]) + (f"; and {len(reasons) - 3} more" if len(reasons) > 3 else "")
