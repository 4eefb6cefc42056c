"""Figures of `composer evaluate`: loss against context, and reliability diagrams."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from composer.config.limits import CHANNELS
from composer.evaluation.calibration import BINS
from composer.files import write_atomic
from composer.reporting.plot_style import BLACK, METADATA, SKY, SPLIT_STYLES, STYLE, VERMILION, legend_below, panels

CONTEXT, CALIBRATION = "context.png", "calibration.png"


def draw_all(results: dict[str, Any], names: dict[str, str], window_size: int, folder: Path) -> list[str]:
    """Draw the figures that the results allow into a folder; return their file names.

    Args:
        results: as `evaluate` gives them.
        names: titles of the scored splits, by key.
        window_size: of the training.
        folder: is made.

    Raises:
        ComposerError: the folder cannot be written.
    """
    made: dict[str, Callable[[], Figure]] = {CALIBRATION: lambda: calibration(results, names)}
    if results["context"]:
        made[CONTEXT] = lambda: context(results["context"], names, window_size)
    with matplotlib.rc_context(STYLE):
        for name, draw in made.items():
            buffer = io.BytesIO()
            draw().savefig(buffer, format="png", dpi=200, metadata=METADATA["png"])
            write_atomic(folder / name, lambda stream, b=buffer: stream.write(b.getvalue()))  # type: ignore[misc]
    return sorted(made)


def context(found: dict[str, Any], names: dict[str, str], window_size: int) -> Figure:
    """Draw the loss, and that of each channel, against the events read; a line across has all events."""
    figure, grid = panels(1, 1 + len(CHANNELS), width=11, height=3.2)
    for axes, key in zip(grid[0], ("loss", *(f"nll_{channel}" for channel in CHANNELS)), strict=True):
        for split, values in found.items():
            style = SPLIT_STYLES.get(split, SPLIT_STYLES["val"])
            axes.plot(values["lengths"], values[key], markersize=3, linewidth=1.2, label=names[split], **style)
            if values["stateful"] is not None:
                label = f"{names[split]}, all events before"
                axes.axhline(values["stateful"][key], color=style["color"], linewidth=0.9, alpha=0.6, label=label)
        axes.axvline(window_size, color=BLACK, linewidth=0.7, linestyle=(0, (1, 2)), label="window of the training")
        axes.set_title("loss" if key == "loss" else key.removeprefix("nll_"))
        axes.set_xscale("log")
        longest = max(values["lengths"][-1] for values in found.values())
        ticks = [tick for tick in (1, 2, 5, 10, 30, 100, 300, 1000, 3000, 10_000) if tick <= longest]
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("events read before the target")
    grid[0][0].set_ylabel("nats per event")
    legend_below(figure, *grid[0][0].get_legend_handles_labels())
    return figure


def calibration(results: dict[str, Any], names: dict[str, str]) -> Figure:
    """Draw a reliability diagram per channel and split: share correct by confidence; calibrated is the diagonal."""
    figure, grid = panels(len(names), len(CHANNELS), width=8, height=2.6 * len(names) + 0.4, sharex=True, sharey=True)
    for row, (split, name) in zip(grid, names.items(), strict=True):
        for axes, channel in zip(row, CHANNELS, strict=True):
            _reliability(axes, results["calibration"][split][channel])
            axes.set_title(f"{name}\n{channel}: ECE {results[f'ece_{channel}/{split}']:.3f}")
        row[0].set_ylabel("share correct")
    for axes in grid[-1]:
        axes.set_xlabel("confidence")
    legend_below(figure, *grid[0][0].get_legend_handles_labels())
    return figure


def _reliability(axes: Axes, bins: list[dict[str, Any]]) -> None:
    total = sum(each["predictions"] for each in bins)
    for k, each in enumerate(bins):
        middle = (each["above"] + each["to"]) / 2
        share = each["predictions"] / total
        # Unfilled where few predictions are: a tall bar of two says little.
        style = {"color": SKY, "alpha": 0.25 + 0.75 * share, "edgecolor": BLACK, "linewidth": 0.6}
        label = "share correct (darker: more predictions)" if k == 0 else None
        axes.bar(middle, each["accuracy"], 1 / BINS, label=label, **style)
    axes.plot(
        [each["confidence"] for each in bins],
        [each["accuracy"] for each in bins],
        "D",
        color=VERMILION,
        markersize=3,
        label="at the mean confidence",
    )
    axes.plot([0, 1], [0, 1], color=BLACK, linewidth=0.8, linestyle=(0, (4, 2)), label="perfectly calibrated")
    axes.set_xlim(0, 1)
    axes.set_ylim(-0.02, 1.02)
