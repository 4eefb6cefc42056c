"""Comparisons of runs as data: `composer.compare`. No torch."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from composer.api.display import table_html
from composer.api.frames import frame_of_rows
from composer.api.runs import Run
from composer.commands import compare as command
from composer.compare import table_formats as formats
from composer.compare import tables
from composer.compare.effects import Comparison as Analysis
from composer.config.compose import compose
from composer.config.texts import quoted
from composer.errors import ComposerError
from composer.files import user_path

# The figures that a notebook shows with a comparison.
_SHOWN = ("curves", "differences")


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure of a comparison.

    Attributes:
        name: of its files, such as `curves`.
        figure: the `matplotlib.figure.Figure`, to change, or to save in another format.
    """

    name: str
    figure: Any

    @property
    def png(self) -> bytes:
        """The content of a PNG file."""
        # Imported late: a table needs no matplotlib.
        from composer.compare.figures import png_of

        return png_of(self.figure)

    def _repr_png_(self) -> bytes:
        return self.png


class Comparison:
    """The arms of a sweep compared seed by seed, as `composer compare` does.

    An arm is the runs that share every differing key but the seed.

    Attributes:
        analysis: every estimate and difference, as the package computes them.
        tables: formatted: `caption`, `header`, `rows` of text and `notes`; the first is that of the metric.
        conclusions: what the numbers support and what they do not, a sentence or two each.
        notes: other differences between the runs, and files that could not be read.
    """

    def __init__(self, analysis: Analysis, resamples: int) -> None:
        """Keep an analysis; `resamples` are the draws of the bootstrap for its tables."""
        self.analysis = analysis
        self.tables = command.all_tables(analysis, resamples)
        self.conclusions = command.conclusions(analysis)
        self.notes = list(analysis.sweep.notes)

    def __repr__(self) -> str:
        arms = ", ".join(self.arms)
        return f"<Comparison of {self.analysis.sweep.name} by {self.metric}: {arms}>"

    def __str__(self) -> str:
        return "\n".join([*formats.text(self.tables[0]), "", *self.conclusions])

    def _repr_html_(self) -> str:
        first = self.tables[0]
        pictures = [picture for name, picture in self.figures.items() if name in _SHOWN]
        parts = [table_html(first.header, first.rows, first.caption)]
        parts.append(f"<ul>{''.join(f'<li>{html.escape(said)}</li>' for said in self.conclusions)}</ul>")
        parts += [
            f'<img alt="{picture.name}" style="max-width: 100%" '
            f'src="data:image/png;base64,{base64.b64encode(picture.png).decode()}">'
            for picture in pictures
        ]
        return "".join(parts)

    @property
    def metric(self) -> str:
        """The metric of the first table, such as `accuracy/val`."""
        return self.analysis.metric

    @property
    def arms(self) -> list[str]:
        """The labels of the arms."""
        return [arm.label for arm in self.analysis.sweep.arms]

    @property
    def baseline(self) -> str:
        """The label of the arm that the others are compared with."""
        return self.analysis.baseline.label

    @property
    def rows(self) -> list[dict[str, Any]]:
        """A row per arm and metric, full precision, as in `table.csv`.

        Columns: `arm`, `metric`, `split`, `unit`, `seeds`, `mean`, `sd`; of the paired difference to the `baseline` arm
        `pairs`, `difference`, `difference_sd`, its 95 % interval from `low` to `high`, the method of the `interval`,
        `effect_size` and `p_holm`; the numbers of runs that `failed` and were `left_out`. Predictors without a network
        follow the arms. None where there is no value.
        """
        return tables.arm_rows(self.analysis)

    @property
    def runs(self) -> list[dict[str, Any]]:
        """A row per run with its folder, arm, seed, status and every metric, as in `runs.csv`."""
        return tables.run_rows(self.analysis)

    @property
    def table(self) -> Any:
        """The `rows` of the metric: a `pandas.DataFrame` indexed by `arm`; a list of dicts where pandas is missing."""
        return frame_of_rows([row for row in self.rows if row["metric"] == self.metric], "arm")

    @cached_property
    def figures(self) -> dict[str, Picture]:
        """The figures that the runs allow by name (`curves`, `differences`, `gap` ...); a notebook shows each."""
        from composer.compare.figures import all_figures

        return {name: Picture(name, figure) for name, figure in all_figures(self.analysis).items()}

    def save(self, folder: str | Path, *, figures: bool = True) -> Path:
        """Write `report.md`, `table.csv`, `runs.csv`, `table.tex` and the figures (PNG, SVG, PDF); return the folder.

        Raises:
            ComposerError: the folder cannot be written.
        """
        path = user_path(folder)
        command.write(self.analysis, self.tables, path, figures=figures)
        return path


def compare(
    runs: str | Path | Iterable[Run | str | Path],
    *,
    baseline: str | None = None,
    metric: str = "accuracy/val",
    weights: str = "final",
    resamples: int = 10_000,
) -> Comparison:
    """Compare runs seed by seed: means, paired differences with 95 % intervals, figures, conclusions.

    >>> composer.compare("outputs/l1/sweep-1a2b3c4d").conclusions     # doctest: +SKIP
    >>> composer.compare(composer.runs("outputs/l1"))                 # doctest: +SKIP

    Args:
        runs: the folder of a sweep or any folder with runs below it, or a list of runs.
        baseline: label of the arm that the others are compared with; None is the first.
        metric: what the first table, `table` and the conclusions are about, as `summary.json` names it.
        weights: `final` (after the last epoch) or `best` (lowest `loss/val`).
        resamples: draws of the bootstrap, where the resamples are too many to be counted (more than 8 seeds).

    Raises:
        ComposerError: there is nothing to compare, or no such arm or metric.
    """
    folders = [] if isinstance(runs, str | Path) else [_folder_of(run) for run in runs]
    if not folders and not isinstance(runs, str | Path):
        raise ComposerError("runs: there is no run to compare")
    named = {"sweep": "runs" if folders else str(runs), "baseline": baseline, "metric": metric, "weights": weights}
    given = [f"{key}={quoted(value)}" for key, value in named.items() if value is not None]
    config = compose(*given, f"resamples={resamples}", command="compare")
    return Comparison(command.compare(config, folders), resamples)


def _folder_of(run: Run | str | Path) -> Path:
    return run.folder if isinstance(run, Run) else user_path(run)
