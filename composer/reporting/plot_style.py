"""The look of the figures: colours, dashes, hatches, axes, and files that are the same bytes each time.

Colours are those of Okabe and Ito 2008 ("Color Universal Design"), which colour-blind people tell apart; dashes,
markers and hatches say the same again in grey. With the files of figures the only one that knows matplotlib.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from composer.evaluation.statistics import mean_sd

BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILION, PURPLE = (
    "#000000",
    "#E69F00",
    "#56B4E9",
    "#009E73",
    "#F0E442",
    "#0072B2",
    "#D55E00",
    "#CC79A7",
)

# Neighbours differ in lightness too.
_FILLS = (BLUE, ORANGE, GREEN, YELLOW, PURPLE, SKY, VERMILION)
_HATCHES = ("", "///", "...", "\\\\\\", "xxx", "---", "+++", "ooo")
MARKERS = ("v", "s", "D", "^", "P", "X")
# Dark and solid against light and dashed.
SPLIT_STYLES: dict[str, dict[str, Any]] = {
    "train": {"color": ORANGE, "linestyle": (0, (4, 1.5)), "marker": "s"},
    "val": {"color": BLUE, "linestyle": "-", "marker": "o"},
    "test": {"color": BLACK, "linestyle": (0, (1, 1.5)), "marker": "D"},
}
# Lines of several arms in one axes: colour, lightness and dashes differ between neighbours.
LINE_STYLES: list[dict[str, Any]] = [
    {"color": color, "linestyle": dashes}
    for color, dashes in (
        (BLACK, "-"),
        (ORANGE, (0, (5, 1.5))),
        (BLUE, (0, (3, 1, 1, 1))),
        (GREEN, (0, (1, 1))),
        (VERMILION, (0, (7, 2))),
        (SKY, "-"),
        (PURPLE, (0, (4, 1, 1, 1, 1, 1))),
        (BLUE, (0, (2, 1))),
        (ORANGE, (0, (1, 1.5))),
        (GREEN, "-"),
    )
]
SPARSITY_STYLES: dict[str, dict[str, Any]] = {
    "zeros/all": {"color": BLACK, "linestyle": "-", "marker": "^"},
    "small/all": {"color": PURPLE, "linestyle": (0, (4, 1.5)), "marker": "v"},
}
NO_NETWORK = " (no network)"
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "hatch.linewidth": 0.5,
    "pdf.fonttype": 42,
    # The same comparison gives the same bytes.
    "svg.hashsalt": "composer",
}
# A file says nothing of when it was made, for the same reason.
METADATA: dict[str, dict[str, None]] = {
    "png": {"Software": None},
    "svg": {"Date": None},
    "pdf": {"CreationDate": None},
}


def panels(rows: int, columns: int, *, width: float, height: float, **shared: Any) -> tuple[Figure, list[list[Axes]]]:
    """Return a figure of rows and columns of axes; sizes in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, **shared)
    return figure, [list(row) for row in grid]


def bar(
    axes: Axes,
    place: float,
    width: float,
    values: Sequence[float],
    k: int,
    *,
    dots: bool = False,
    label: str | None = None,
) -> None:
    """Draw a bar of the k-th arm: the mean of the values, their standard deviation, and a dot per value."""
    if not values:
        return
    mean, sd = mean_sd(values)
    axes.bar(
        place,
        mean,
        width,
        color=_FILLS[k % len(_FILLS)],
        hatch=_HATCHES[k % len(_HATCHES)],
        edgecolor=BLACK,
        linewidth=0.6,
        label=label,
    )
    if sd is not None:
        axes.errorbar(place, mean, yerr=sd, color=BLACK, capsize=2.5, linewidth=1)
    if dots:
        spread = np.linspace(-0.2, 0.2, len(values)) * width
        axes.plot(
            place + spread, values, "o", color="white", markeredgecolor=BLACK, markeredgewidth=0.7, markersize=3.5
        )


def number_axis(axes: Axes, values: Sequence[float]) -> None:
    """Set ticks at the swept values; a range of decades gets a logarithmic axis, with 0 at its left."""
    smallest = _decades_from(values)
    if smallest is not None and min(values) == 0:
        axes.set_xscale("symlog", linthresh=smallest, linscale=0.6)
    elif smallest is not None:
        axes.set_xscale("log")
    axes.set_xticks(values, [_tick(value) for value in values], minor=False)
    axes.set_xticks([], minor=True)


def _decades_from(values: Sequence[float]) -> float | None:
    """Return the smallest positive of values that span most of a decade, for a logarithmic axis; else None."""
    positive = [value for value in values if value > 0]
    wide = bool(positive) and min(values) >= 0 and max(positive) / min(positive) >= 8
    return min(positive) if wide else None


def aside(value: float, steps: float, values: Sequence[float]) -> float:
    """Return a position a few small steps from a value, on the axis that `number_axis` gives these values."""
    smallest = _decades_from(values)
    if smallest is None:
        return value + steps * 0.015 * (max(values) - min(values))
    return value * 1.1**steps if value > 0 else steps * 0.1 * smallest


def _tick(value: float) -> str:
    return np.format_float_scientific(value, trim="-", exp_digits=1) if 0 < value < 1e-3 else f"{value:g}"


def wrapped(label: str) -> str:
    """Return a label with a key per line."""
    return label.replace(", ", ",\n")


def legend_below(figure: Figure, handles: Sequence[Any], labels: Sequence[str]) -> None:
    """Draw a legend below the axes, in as many columns as fit."""
    widest = max((len(label) for label in labels), default=1)
    columns = max(1, min(len(labels), int(figure.get_figwidth() * 11 / (widest + 6))))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, fontsize=8)
