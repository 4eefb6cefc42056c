"""Histograms: counted, drawn as characters for a terminal, and drawn by matplotlib for a page."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Characters of a terminal that every chart fits into, and of the label left of its bars.
WIDTH = 80
_LABEL = 10
_EIGHTHS = " ▁▂▃▄▅▆▇█"
FORMATS = ("png", "svg")
# Readable by eyes that do not tell red from green (Okabe and Ito 2008).
_BLUE, _ORANGE = "#0072B2", "#D55E00"


@dataclass(frozen=True, slots=True)
class Histogram:
    """How many values lie between neighbouring edges.

    Attributes:
        edges: (K + 1,) rising; the last bin holds its upper edge too.
        counts: (K,) values in each.
    """

    edges: list[float]
    counts: list[int]


def whole_numbers(counts: NDArray[np.int64], low: int, high: int) -> Histogram:
    """Return a bin for each whole number from `low` to `high`, of (K,) counts by number."""
    return Histogram([k - 0.5 for k in range(low, high + 2)], counts[low : high + 1].tolist())


def equal_bins(values: NDArray[np.float64], counts: NDArray[np.int64], bins: int) -> Histogram:
    """Return `bins` bins of one width from the smallest to the largest of values (U,) with counts (U,).

    A single bin where all are equal.
    """
    return _between(values, counts, np.linspace(values.min(), values.max(), bins + 1))


def equal_ratios(values: NDArray[np.float64], counts: NDArray[np.int64], bins: int) -> Histogram:
    """Return bins with edges of one ratio; for positive values over several powers of ten."""
    return _between(values, counts, np.geomspace(values.min(), values.max(), bins + 1))


def _between(values: NDArray[np.float64], counts: NDArray[np.int64], edges: NDArray[np.float64]) -> Histogram:
    # Rounding must not leave the extremes out.
    edges[0], edges[-1] = values.min(), values.max()
    if edges[0] == edges[-1]:
        return Histogram([float(edges[0]), float(edges[-1])], [int(counts.sum())])
    found, _ = np.histogram(values, edges, weights=counts)
    return Histogram(edges.tolist(), found.astype(np.int64).tolist())


def bars(counts: Sequence[int], low: str, high: str, rows: int = 5) -> list[str]:
    """Return lines of a chart: columns for the counts, with the largest as a label, and the range below.

    Neighbours share a column where there are more than fit, and few are drawn wide.

    Args:
        counts: at least one, of neighbouring bins.
        low: what the first bin begins with.
        high: what the last ends with.
        rows: lines of the columns, each of eight distinguishable levels.
    """
    room = WIDTH - _LABEL
    together = math.ceil(len(counts) / room)
    columns = [sum(counts[k : k + together]) for k in range(0, len(counts), together)]
    wide = min(8, room // len(columns))
    most = max(columns)
    # What occurs is seen, however seldom.
    eighths = [max(int(count > 0), round(8 * rows * count / most)) if most else 0 for count in columns]
    lines = []
    for row in reversed(range(rows)):
        label = f"{most:>{_LABEL - 2},}" if row == rows - 1 else " " * (_LABEL - 2)
        cells = "".join(_EIGHTHS[min(8, max(0, height - 8 * row))] * wide for height in eighths)
        lines.append(f"{label} │{cells}".rstrip())
    length = wide * len(columns)
    lines.append(" " * (_LABEL - 1) + "└" + "─" * length)
    # Both numbers are read even where the chart is narrower than they are.
    lines.append(" " * _LABEL + low + high.rjust(max(length - len(low), len(high) + 2)))
    return lines


@dataclass(frozen=True, slots=True)
class Panel:
    """One chart of a page.

    Attributes:
        histogram: what it shows.
        label: the axis below.
        log: whether that axis is logarithmic.
        marks: values to mark by a thin line.
        marks_label: what they are, for a legend.
        limits: ends of that axis; None fits it to the histogram and the marks.
    """

    histogram: Histogram
    label: str
    log: bool = False
    marks: Sequence[float] = ()
    marks_label: str = ""
    limits: tuple[float, float] | None = None


def draw(title: str, panels: Sequence[Panel], form: str) -> bytes:
    """Return a page of charts, one below another, as a PNG or SVG file.

    Args:
        title: over all; taken as it is.
        panels: at least one.
        form: one of `FORMATS`.
    """
    # Imported late: it takes a second, and only the page needs it. Without pyplot no display is looked for.
    # It says at level INFO that it looks for fonts, already when it is imported.
    logging.getLogger("matplotlib").setLevel(logging.WARNING)
    import matplotlib
    from matplotlib.figure import Figure

    stream = BytesIO()
    # The same figures give the same file.
    with matplotlib.rc_context({"svg.hashsalt": "composer", "svg.fonttype": "path"}), warnings.catch_warnings():
        # The font may lack a letter of the file's name.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure = Figure(figsize=(9, 0.8 + 2.9 * len(panels)), layout="constrained")
        _fill(figure, title, panels)
        figure.savefig(stream, format=form, dpi=110, metadata={"Date": None} if form == "svg" else None)
    return stream.getvalue()


def _fill(figure: Figure, title: str, panels: Sequence[Panel]) -> None:
    figure.suptitle(title, parse_math=False)
    axes = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    for axis, panel in zip(axes, panels, strict=True):
        _chart(axis, panel)


def _chart(axis: Axes, panel: Panel) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    edges = np.array(panel.histogram.edges)
    if len(edges) == 2 and edges[0] == edges[1]:
        # A single value: a bar that can be seen.
        edges = edges[0] * np.array([0.95, 1.05]) if panel.log else edges + np.array([-0.5, 0.5])
    axis.stairs(panel.histogram.counts, edges, fill=True, color=_BLUE)
    if panel.log:
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_major_formatter("{x:g}")
        axis.xaxis.set_minor_formatter(NullFormatter())
    for k, mark in enumerate(panel.marks):
        axis.axvline(mark, color=_ORANGE, linewidth=0.7, zorder=0, label=panel.marks_label if k == 0 else None)
    if panel.marks and panel.marks_label:
        # Above the chart, where it hides nothing.
        axis.legend(loc="lower right", bbox_to_anchor=(1, 0.98), frameon=False)
    if panel.limits is not None:
        axis.set_xlim(panel.limits)
    axis.set_xlabel(panel.label)
    axis.set_ylabel("events")
    axis.spines[["top", "right"]].set_visible(False)
