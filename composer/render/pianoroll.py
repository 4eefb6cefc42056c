"""Piano rolls: pitch over time, with the velocity as colour, one piece below the other."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from composer.errors import MissingExtra
from composer.music.notes import Performance

_NAMES = ("C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B")
_BLACK = {1, 3, 6, 8, 10}
# A colour map from light to dark in even steps, which also works in grey; its palest part is invisible on white.
_COLOURS, _PALEST = "viridis_r", 0.12
_INCHES_PER_ROLL, _INCHES_WIDE = 3.2, 11.0


def note_name(pitch: int) -> str:
    """Return the name of a pitch, such as `C4` for 60."""
    return f"{_NAMES[pitch % 12]}{pitch // 12 - 1}"


def draw(performances: Sequence[Performance], suffixes: Sequence[str] = ("png", "svg")) -> dict[str, bytes]:
    """Draw one roll below the other, with one scale of velocity; return the bytes of each file by suffix.

    Args:
        performances: from the top down; the titles are shown.
        suffixes: any of `png` and `svg`.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    matplotlib = _matplotlib()
    rows = len(performances)
    # Text stays text in the SVG, and the same piece gives the same file.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "composer", "font.size": 9}):
        size = (_INCHES_WIDE, _INCHES_PER_ROLL * rows + 0.4)
        figure = matplotlib.figure.Figure(figsize=size, layout="constrained")
        axes = figure.subplots(rows, 1, squeeze=False)[:, 0]
        bars = [_roll(ax, performance) for ax, performance in zip(axes, performances, strict=True)]
        axes[-1].set_xlabel("seconds")
        figure.colorbar(bars[0], ax=list(axes), label="velocity", aspect=12 * rows, pad=0.01)
        return {suffix: _saved(figure, suffix) for suffix in suffixes}


def notice(text: str) -> bytes:
    """Draw a line of text, in place of a roll without a note; return the bytes of a PNG file.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    figure = _matplotlib().figure.Figure(figsize=(_INCHES_WIDE, 1))
    figure.text(0.5, 0.5, text, ha="center", va="center")
    return _saved(figure, "png")


def _matplotlib() -> Any:
    try:
        import matplotlib.figure
    except ImportError as error:
        raise MissingExtra("the piano roll needs matplotlib: pip install matplotlib") from error
    return matplotlib


def _saved(figure: Any, suffix: str) -> bytes:
    """Return a figure as a file that is the same each time."""
    stream = io.BytesIO()
    metadata = {"Software": None} if suffix == "png" else {"Date": None, "Creator": None}
    figure.savefig(stream, format=suffix, dpi=150, metadata=metadata)
    return stream.getvalue()


def _roll(ax: Any, performance: Performance) -> Any:
    """Draw one roll; return matplotlib's collection of its notes."""
    from matplotlib import colormaps
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import ListedColormap, Normalize

    shades = colormaps[_COLOURS]([_PALEST + (1 - _PALEST) * step / 255 for step in range(256)])
    notes = performance.notes
    boxes = []
    for note in notes:
        left, right = note.onset_seconds, max(note.end_seconds, note.onset_seconds + 0.02)
        low, high = note.pitch - 0.42, note.pitch + 0.42
        boxes.append([(left, low), (left, high), (right, high), (right, low)])
    drawn = PolyCollection(boxes, cmap=ListedColormap(shades), norm=Normalize(1, 127), edgecolors="none")
    drawn.set_array([note.velocity for note in notes])
    low = min(note.pitch for note in notes) - 2
    high = max(note.pitch for note in notes) + 2
    for pitch in range(low, high + 1):
        if pitch % 12 in _BLACK:
            ax.axhspan(pitch - 0.5, pitch + 0.5, color="0.955", linewidth=0, zorder=0)
    ax.add_collection(drawn)
    # A name with dollar signs is not mathematics.
    ax.set_title(performance.title, loc="left", fontsize=10, parse_math=False)
    ax.set_xlim(0, max(performance.end_seconds, 0.1))
    ax.set_ylim(low - 0.5, high + 0.5)
    ticks = [pitch for pitch in range(low, high + 1) if pitch % 12 == 0]
    ticks = ticks if len(ticks) > 1 else [pitch for pitch in range(low, high + 1) if pitch % 12 in (0, 4, 7)]
    ax.set_yticks(ticks, [note_name(pitch) for pitch in ticks])
    ax.grid(axis="both", color="0.85", linewidth=0.5)
    ax.set_axisbelow(True)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    return drawn
