"""Figures of a comparison: PNG to look at, SVG and PDF for a paper."""

from __future__ import annotations

import io
import logging
import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from composer.compare.captions import NO_INTERVAL
from composer.compare.curve_figures import COLUMNS, curves, overlay, png
from composer.compare.effects import SPLITS, Comparison, Predictor, higher_is_better, pairs, unit
from composer.compare.runs import Arm
from composer.config.limits import CHANNELS
from composer.evaluation.statistics import mean_sd
from composer.files import write_atomic
from composer.reporting.plot_style import (
    BLACK,
    MARKERS,
    METADATA,
    NO_NETWORK,
    SKY,
    SPARSITY_STYLES,
    SPLIT_STYLES,
    STYLE,
    VERMILION,
    aside,
    bar,
    legend_below,
    number_axis,
    panels,
    wrapped,
)


def draw_all(c: Comparison, folder: Path) -> list[str]:
    """Draw every figure that the runs allow into a folder; return their names without suffixes.

    Raises:
        ComposerError: the folder cannot be written.
    """
    # It tells every step of putting a font into a PDF.
    logging.getLogger("fontTools").setLevel(logging.ERROR)
    names: list[str] = []
    with matplotlib.rc_context(STYLE):
        for name, figure in _figures(c).items():
            for ending, metadata in METADATA.items():
                buffer = io.BytesIO()
                figure.savefig(buffer, format=ending, dpi=200, metadata=metadata)
                write_atomic(folder / f"{name}.{ending}", lambda stream, b=buffer: stream.write(b.getvalue()))  # type: ignore[misc]
            names.append(name)
    return names


def pictures(c: Comparison) -> dict[str, bytes]:
    """Return every figure that the runs allow as the contents of a PNG file, by name."""
    with matplotlib.rc_context(STYLE):
        return {name: png(figure) for name, figure in _figures(c).items()}


def all_figures(c: Comparison) -> dict[str, Figure]:
    """Return every figure that the runs allow, by name."""
    with matplotlib.rc_context(STYLE):
        return _figures(c)


def png_of(figure: Figure) -> bytes:
    """Return a figure of `all_figures` as the content of a PNG file."""
    with matplotlib.rc_context(STYLE):
        return png(figure)


def _figures(c: Comparison) -> dict[str, Figure]:
    figures = {"curves" if k == 0 else f"curves-{k + 1}": f for k, f in enumerate(curves(c))}
    made = {
        "overlay": overlay(c),
        "differences": differences(c),
        "gap": gap(c),
        "path": path(c),
        "channels": channels(c),
    }
    return figures | {name: figure for name, figure in made.items() if figure is not None}


def gap(c: Comparison) -> Figure | None:
    """Return how far training is ahead of validation, by arm: bars with a standard deviation, and a dot per seed."""
    metrics = [key for key in ("gap/accuracy", "gap/loss") if key in c.metrics]
    arms = [arm for arm in c.sweep.arms if any((arm, key) in c.estimates for key in metrics)]
    if not metrics or not arms:
        return None
    figure, grid = panels(1, len(metrics), width=max(6.0, 2 * (0.55 * len(arms) + 1.4)), height=3.4)
    for axes, metric in zip(grid[0], metrics, strict=True):
        for k, arm in enumerate(arms):
            bar(axes, k, 0.7, list(arm.by_seed(metric).values()), k, dots=True)
        axes.axhline(0, color=BLACK, linewidth=0.8)
        left, right = ("train", c.split("val")) if metric == "gap/accuracy" else (c.split("val"), "train")
        axes.set_title(f"{metric.split('/')[1]}: {left} - {right}")
        axes.set_ylabel(f"gap ({unit(metric)})")
        _arm_ticks(c, axes, arms)
    return figure


def path(c: Comparison) -> Figure | None:
    """Draw accuracy, gap and sparsity against a swept number, such as lambda; None where none was swept."""
    key = next((key for key in c.sweep.swept if _values_of(c, key)), None)
    if key is None:
        return None
    x_of = _values_of(c, key)
    rows: list[tuple[str, dict[str, str], str]] = [
        ("accuracy", {f"accuracy/{split}": split for split in ("train", *SPLITS)}, "accuracy (share of events)"),
        ("gap", {"gap/accuracy": "val"}, "accuracy gap, train - val\n(share of events)"),
        ("sparsity", {"zeros/all": "val", "small/all": "train"}, "share of the weights"),
    ]
    rows = [(n, {m: s for m, s in columns.items() if m in c.metrics}, label) for n, columns, label in rows]
    rows = [row for row in rows if row[1]]
    lines: dict[str, list[Arm]] = {}
    for arm in c.sweep.arms:
        rest = ", ".join(f"{k}={v}" for k, v in arm.swept.items() if k != key)
        lines.setdefault(rest, []).append(arm)
    columns = list(lines)[:COLUMNS]
    figure, grid = panels(
        len(rows), len(columns), width=3.6 * len(columns) + 1.2, height=2.2 * len(rows) + 0.6, sharex=True, sharey="row"
    )
    for column, rest in enumerate(columns):
        arms = sorted(lines[rest], key=lambda arm: x_of[arm])
        for row, (name, metrics, label) in enumerate(rows):
            axes = grid[row][column]
            for metric, split in metrics.items():
                found = [arm for arm in arms if (arm, metric) in c.estimates]
                values = [c.estimates[arm, metric] for arm in found]
                title = {"zeros/all": "exact zeros", "small/all": "below 1e-3"}.get(metric, c.split(split))
                # Side by side, so that no bar hides another.
                steps = list(metrics).index(metric) - (len(metrics) - 1) / 2
                axes.errorbar(
                    [aside(x_of[arm], steps, list(x_of.values())) for arm in found],
                    [value.mean for value in values],
                    yerr=[value.sd or 0.0 for value in values],
                    capsize=2.5,
                    linewidth=1.4,
                    markersize=4.5,
                    label=title if name != "gap" else None,
                    **SPARSITY_STYLES.get(metric, SPLIT_STYLES[split]),
                )
            if name == "gap":
                axes.axhline(0, color=BLACK, linewidth=0.8)
            if column == 0:
                axes.set_ylabel(label)
            number_axis(axes, sorted(set(x_of.values())))
            if name != "gap" and column == len(columns) - 1:
                axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)
        grid[0][column].set_title(wrapped(rest))
        grid[-1][column].set_xlabel(f"lambda ({key})" if key == "regularizer.weight" else key)
    return figure


def channels(c: Comparison) -> Figure | None:
    """Draw accuracy of note, velocity, time and all three at once, by arm, with the predictors without a network."""
    splits = [split for split in SPLITS if f"accuracy_note/{split}" in c.metrics]
    arms = [arm for arm in c.sweep.arms if arm.counted]
    if not splits or not arms:
        return None
    kinds = [*(f"accuracy_{channel}" for channel in CHANNELS), "accuracy_joint", "accuracy"]
    width = 0.8 / len(arms)
    figure, grid = panels(1, len(splits), width=(4.2 + 0.35 * len(arms)) * len(splits), height=3.8, sharey="row")
    # Where arms have windows of their own, no single mark stands for a predictor.
    predictors = [p for p in c.predictors if len([q for q in c.predictors if q.key == p.key]) == 1]
    for axes, split in zip(grid[0], splits, strict=True):
        for group, kind in enumerate(kinds):
            for k, arm in enumerate(arms):
                values = list(arm.by_seed(f"{kind}/{split}").values())
                place = group + (k - (len(arms) - 1) / 2) * width
                bar(axes, place, 0.92 * width, values, k, label=arm.label if group == 0 else None)
            _predictor_marks(axes, group, predictors, f"{kind}/{split}")
        axes.set_xticks(range(len(kinds)), [*CHANNELS, "all three", "mean"])
        axes.grid(visible=False, axis="x")
        axes.set_title(c.split(split))
        axes.set_ylim(0, 1.02)
    grid[0][0].set_ylabel("accuracy (share of events)")
    handles, labels = grid[0][0].get_legend_handles_labels()
    # A predictor has a mark in each group and an entry once; the bars stand first.
    named = dict(zip(labels, handles, strict=True))
    ordered = sorted(named, key=lambda label: label.endswith(NO_NETWORK))
    legend_below(figure, [named[label] for label in ordered], ordered)
    return figure


def differences(c: Comparison) -> Figure | None:
    """Return each arm minus the baseline arm: the mean with its interval, and a dot per pair of runs."""
    metrics = [f"{kind}/{split}" for kind in ("accuracy", "loss") for split in SPLITS]
    if c.metric not in metrics:
        metrics.insert(0, c.metric)
    metrics = [m for m in metrics if any((arm, m) in c.differences for arm in c.others)]
    arms = [arm for arm in c.others if any((arm, m) in c.differences for m in metrics)]
    if not metrics:
        return None
    figure, grid = panels(1, len(metrics), width=2.3 * len(metrics) + 1.6, height=0.5 * len(arms) + 1.7, sharey="row")
    lines = False
    for axes, metric in zip(grid[0], metrics, strict=True):
        axes.axvline(0, color=BLACK, linewidth=1)
        for k, arm in enumerate(arms):
            difference = c.differences.get((arm, metric))
            if difference is None:
                continue
            dots = list(pairs(arm, c.baseline, metric).values())
            # One below the other, so that none hides another.
            below = [k + 0.16 + 0.035 * place for place in range(len(dots))]
            axes.plot(
                dots,
                below,
                "o",
                color=SKY,
                markeredgecolor=BLACK,
                markeredgewidth=0.4,
                markersize=4,
            )
            if difference.interval is not None:
                lines = True
                axes.plot(difference.interval, [k, k], "|-", color=BLACK, linewidth=1.6, markersize=8)
            axes.plot([difference.mean], [k], "D", color=VERMILION, markeredgecolor=BLACK, markersize=5.5)
        better = {True: "right", False: "left"}.get(higher_is_better(metric))  # type: ignore[arg-type]
        axes.set_title(wrapped(c.title(metric)))
        axes.set_xlabel(unit(metric) + (f"\n(better: {better})" if better else ""))
        axes.margins(x=0.12)
        axes.locator_params(axis="x", nbins=4)
    grid[0][0].set_yticks(range(len(arms)), [_short(c, arm) for arm in arms])
    grid[0][0].set_ylim(len(arms) - 0.5, -0.5)
    marks = "mean (diamond), 95 % interval (line), pairs of runs (dots)" if lines else "mean (diamond), pairs (dots)"
    few = "" if lines else f"; {NO_INTERVAL}"
    figure.suptitle(f"difference to {c.baseline.label}: {marks}{few}", fontsize=9)
    return figure


def _predictor_marks(axes: Axes, group: int, predictors: Sequence[Predictor], metric: str) -> None:
    for k, predictor in enumerate(predictors):
        values = list(predictor.values.get(metric, {}).values())
        if not values:
            continue
        place = group + (k - (len(predictors) - 1) / 2) * 0.7 / max(1, len(predictors))
        axes.plot(
            [place],
            [mean_sd(values)[0]],
            MARKERS[k % len(MARKERS)],
            color="white",
            markeredgecolor=BLACK,
            markersize=6,
            linestyle="none",
            zorder=5,
            label=predictor.title + NO_NETWORK,
        )


def _values_of(c: Comparison, key: str) -> dict[Arm, float]:
    """The number that a swept key had in each arm; empty unless it is a number everywhere, and not always the same."""
    values: dict[Arm, float] = {}
    for arm in c.sweep.arms:
        used = next((run.config[key] for run in arm.counted if key in run.config), arm.swept.get(key))
        try:
            values[arm] = float(used)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            return {}
        if isinstance(used, bool) or not math.isfinite(values[arm]):
            return {}
    return values if len(set(values.values())) > 1 else {}


def _arm_ticks(c: Comparison, axes: Axes, arms: Sequence[Arm]) -> None:
    labels = [_short(c, arm) for arm in arms]
    crowded = max(len(line) for label in labels for line in label.split("\n")) > 9 and len(arms) > 2
    axes.set_xticks(range(len(arms)), labels, rotation=40 if crowded else 0, ha="right" if crowded else "center")
    axes.grid(visible=False, axis="x")
    if len(c.sweep.swept) == 1:
        axes.set_xlabel(c.sweep.swept[0])


def _short(c: Comparison, arm: Arm) -> str:
    """Return the value alone where one key was swept."""
    return next(iter(arm.swept.values())) if len(arm.swept) == 1 else wrapped(arm.label)
