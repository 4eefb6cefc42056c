"""Learning curves as figures: a panel per arm, all arms in one axes, and those of one run."""

from __future__ import annotations

import io

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from composer.compare.bands import Limits, band
from composer.compare.captions import overlay_limits, shown_limits
from composer.compare.effects import Comparison
from composer.compare.runs import Arm
from composer.evaluation.statistics import mean_sd
from composer.reporting.plot_style import (
    BLACK,
    LINE_STYLES,
    METADATA,
    SPLIT_STYLES,
    STYLE,
    legend_below,
    panels,
    wrapped,
)

COLUMNS = 5
_LABELS = {"loss": "loss (nats per event)", "accuracy": "accuracy (share of events)"}


def png(figure: Figure) -> bytes:
    """Return a figure as the content of a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150, metadata=METADATA["png"])
    return buffer.getvalue()


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
        return png(figure)


def curves(c: Comparison) -> list[Figure]:
    """Draw the article's figure: loss and accuracy by epoch, arms side by side, mean ± one standard deviation.

    More than five arms continue in further figures, each with the baseline arm, on the same axes. The first epochs do
    not set the limit of the loss.
    """
    arms = _with_curves(c)
    if not arms:
        return []
    first = c.baseline if c.baseline in arms else arms[0]
    others = [arm for arm in arms if arm is not first]
    pages = [[first, *others[k : k + COLUMNS - 1]] for k in range(0, max(1, len(others)), COLUMNS - 1)]
    ends = shown_limits(c)
    epochs = max(len(band(arm, "loss/train").mean) for arm in arms)
    figures = []
    for page in pages:
        figure, grid = panels(2, len(page), width=2.3 * len(page) + 1.2, height=4.8, sharex=True, sharey="row")
        for column, arm in enumerate(page):
            for row, kind in enumerate(("loss", "accuracy")):
                axes, n = grid[row][column], 0
                for split in ("train", "val"):
                    style = {key: v for key, v in SPLIT_STYLES[split].items() if key != "marker"}
                    title = split if split == "train" else c.split(split)
                    n = band(arm, f"{kind}/{split}").n
                    _line(axes, arm, f"{kind}/{split}", title + ", mean ± sd" * (n > 1), style, shade=0.25)
                if row == 1 and (arm, "val") in c.against:
                    predictor = c.against[arm, "val"][0]
                    reference = mean_sd(list(predictor.values["accuracy/val"].values()))[0]
                    label = f"best without a network: {predictor.title}"
                    axes.axhline(reference, color=BLACK, linestyle=(0, (1, 1.5)), linewidth=1, label=label)
                if row == 0:
                    axes.set_title(f"{wrapped(arm.label)}\n({n} run{'s' * (n != 1)})")
                _epoch_axis(axes, epochs, label=row == 1)
        for row, kind in enumerate(("loss", "accuracy")):
            grid[row][0].set_ylabel(_LABELS[kind])
        _set_limits(grid[0][0], ends)
        grid[1][0].set_ylim(0, 1.02)
        named = {
            label: handle for axes in grid[1] for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        legend_below(figure, list(named.values()), list(named))
        figures.append(figure)
    return figures


def overlay(c: Comparison) -> Figure | None:
    """Draw validation loss and accuracy by epoch of all arms in one axes each; None for fewer than two arms."""
    arms = _with_curves(c)
    if len(arms) < 2:
        return None
    epochs = max(len(band(arm, "loss/val").mean) for arm in arms)
    figure, (row,) = panels(1, 2, width=8.0, height=3.6)
    for axes, kind in zip(row, ("loss", "accuracy"), strict=True):
        for k, arm in enumerate(arms):
            n = band(arm, f"{kind}/val").n
            label = f"{arm.label} ({n} run{'s' * (n != 1)}{', mean ± sd' * (n > 1)})"
            _line(axes, arm, f"{kind}/val", label, LINE_STYLES[k % len(LINE_STYLES)], shade=0.12, edges=True)
        _set_limits(axes, overlay_limits(c, kind))
        _epoch_axis(axes, epochs, label=True)
        axes.set_ylabel(_LABELS[kind])
        axes.set_title(c.split("val"))
    handles, labels = row[0].get_legend_handles_labels()
    legend_below(figure, handles, labels)
    for handle in figure.legends[0].get_lines():
        handle.set_linewidth(1.8)
    return figure


def _with_curves(c: Comparison) -> list[Arm]:
    return [arm for arm in c.sweep.arms if any(run.curves for run in arm.counted)]


def _line(
    axes: Axes, arm: Arm, metric: str, label: str, style: dict[str, object], *, shade: float, edges: bool = False
) -> None:
    """Draw mean and deviation of a metric by epoch; `edges` draws the ends of the band as lines too."""
    mean, sd, n = band(arm, metric)
    x = np.arange(1, len(mean) + 1)
    if n > 1:
        axes.fill_between(x, mean - sd, mean + sd, color=str(style["color"]), alpha=shade, linewidth=0)
        for edge in (mean - sd, mean + sd) if edges else ():
            axes.plot(x, edge, linewidth=0.6, alpha=0.8, **style)  # type: ignore[arg-type]
    axes.plot(x, mean, label=label, linewidth=1.5, **style)  # type: ignore[arg-type]


def _epoch_axis(axes: Axes, epochs: int, *, label: bool) -> None:
    axes.set_xlim(1 if epochs > 1 else 0.5, max(epochs, 1.5))
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    if label:
        axes.set_xlabel("epoch")


def _set_limits(axes: Axes, ends: Limits | None) -> None:
    if ends is not None:
        axes.set_ylim(ends.low, ends.high)
    if ends is not None and ends.cut:
        axes.annotate(
            "axis cut",
            xy=(0.99, 0.99),
            xycoords="axes fraction",
            ha="right",
            va="top",
            fontsize=7,
            color="#555555",
        )
