"""Figures of a comparison: PNG to look at, SVG and PDF for a paper."""

from __future__ import annotations

import io
import logging
import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

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

_COLUMNS = 5


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
        return {name: _png(figure) for name, figure in _figures(c).items()}


def all_figures(c: Comparison) -> dict[str, Figure]:
    """Return every figure that the runs allow, by name."""
    with matplotlib.rc_context(STYLE):
        return _figures(c)


def png_of(figure: Figure) -> bytes:
    """Return a figure of `all_figures` as the content of a PNG file."""
    with matplotlib.rc_context(STYLE):
        return _png(figure)


def learning(curves: dict[str, NDArray[np.float64]], split: str) -> bytes:
    """Return loss and accuracy of one run by epoch, of the training and the validation windows, as a PNG file.

    Args:
        curves: columns of the record by key, one element per epoch.
        split: how the validation windows were chosen.
    """
    with matplotlib.rc_context(STYLE):
        figure, ((loss, accuracy),) = panels(1, 2, width=8.0, height=3.2)
        for axes, kind in ((loss, "loss"), (accuracy, "accuracy")):
            for part, style in SPLIT_STYLES.items():
                values = curves.get(f"{kind}/{part}")
                if values is not None and np.isfinite(values).any():
                    line = {key: value for key, value in style.items() if key != "marker"}
                    label = part if part == "train" else f"{part} ({split})"
                    axes.plot(np.arange(1, len(values) + 1), values, label=label, linewidth=1.5, **line)
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
            axes.set_ylim(0, 1.02 if kind == "accuracy" else None)
        loss.set_ylabel("loss (nats per event)")
        accuracy.set_ylabel("accuracy (share of events)")
        accuracy.legend(loc="lower right", fontsize=8)
        return _png(figure)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150, metadata=METADATA["png"])
    return buffer.getvalue()


def _figures(c: Comparison) -> dict[str, Figure]:
    figures = {"curves" if k == 0 else f"curves-{k + 1}": f for k, f in enumerate(curves(c))}
    made = {"differences": differences(c), "gap": gap(c), "path": path(c), "channels": channels(c)}
    return figures | {name: figure for name, figure in made.items() if figure is not None}


def curves(c: Comparison) -> list[Figure]:
    """Draw the article's figure: loss and accuracy by epoch, arms side by side, mean ± one standard deviation.

    More than five arms continue in further figures, each with the baseline arm, on the same axes.
    """
    arms = [arm for arm in c.sweep.arms if any(run.curves for run in arm.counted)]
    if not arms:
        return []
    first = c.baseline if c.baseline in arms else arms[0]
    others = [arm for arm in arms if arm is not first]
    pages = [[first, *others[k : k + _COLUMNS - 1]] for k in range(0, max(1, len(others)), _COLUMNS - 1)]
    highest = max(
        (float(np.nanmax(m + s)) for arm in arms for m, s, _ in [_band(arm, "loss/val")] if len(m)), default=1
    )
    trained = max(
        (float(np.nanmax(m + s)) for arm in arms for m, s, _ in [_band(arm, "loss/train")] if len(m)), default=1
    )
    epochs = max(len(_band(arm, "loss/train")[0]) for arm in arms)
    figures = []
    for page in pages:
        figure, grid = panels(2, len(page), width=2.3 * len(page) + 1.2, height=4.8, sharex=True, sharey="row")
        for column, arm in enumerate(page):
            for row, kind in enumerate(("loss", "accuracy")):
                axes, n = grid[row][column], 0
                for split in ("train", "val"):
                    mean, sd, n = _band(arm, f"{kind}/{split}")
                    style = {key: v for key, v in SPLIT_STYLES[split].items() if key != "marker"}
                    x = np.arange(1, len(mean) + 1)
                    axes.fill_between(x, mean - sd, mean + sd, color=style["color"], alpha=0.25, linewidth=0)
                    axes.plot(x, mean, label=split if split == "train" else c.split(split), linewidth=1.5, **style)
                if row == 1 and (arm, "val") in c.against:
                    predictor = c.against[arm, "val"][0]
                    reference = mean_sd(list(predictor.values["accuracy/val"].values()))[0]
                    label = f"best without a network: {predictor.title}"
                    axes.axhline(reference, color=BLACK, linestyle=(0, (1, 1.5)), linewidth=1, label=label)
                if row == 0:
                    axes.set_title(f"{wrapped(arm.label)}\n(n = {n})")
                axes.set_xlim(1 if epochs > 1 else 0.5, max(epochs, 1.5))
        for axes in grid[1]:
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        grid[0][0].set_ylabel("loss (nats per event)")
        grid[0][0].set_ylim(0, 1.03 * max(highest, trained))
        grid[1][0].set_ylabel("accuracy (share of events)")
        grid[1][0].set_ylim(0, 1.02)
        named = {
            label: handle for axes in grid[1] for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        splits = ("train", c.split("val"))
        legend_below(figure, list(named.values()), [f"{n}, mean ± sd" if n in splits else n for n in named])
        figures.append(figure)
    return figures


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
    columns = list(lines)[:_COLUMNS]
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
                axes.plot(difference.interval, [k, k], "|-", color=BLACK, linewidth=1.6, markersize=8)
            axes.plot([difference.mean], [k], "D", color=VERMILION, markeredgecolor=BLACK, markersize=5.5)
        better = {True: "right", False: "left"}.get(higher_is_better(metric))  # type: ignore[arg-type]
        axes.set_title(wrapped(c.title(metric)))
        axes.set_xlabel(unit(metric) + (f"\n(better: {better})" if better else ""))
        axes.margins(x=0.12)
        axes.locator_params(axis="x", nbins=4)
    grid[0][0].set_yticks(range(len(arms)), [_short(c, arm) for arm in arms])
    grid[0][0].set_ylim(len(arms) - 0.5, -0.5)
    figure.suptitle(
        f"difference to {c.baseline.label}: mean (diamond), 95 % interval (line), pairs of runs (dots)", fontsize=9
    )
    return figure


def _band(arm: Arm, metric: str) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """Mean and standard deviation by epoch over the runs, as far as all of them went, and how many runs."""
    found = [run.curves[metric] for run in arm.counted if metric in run.curves]
    length = min((len(column) for column in found), default=0)
    values = np.array([column[:length] for column in found])
    if not length:
        return np.zeros(0), np.zeros(0), 0
    return values.mean(axis=0), values.std(axis=0, ddof=1) if len(found) > 1 else np.zeros(length), len(found)


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
