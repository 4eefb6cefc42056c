"""Text and tables that fit the width of a terminal: lines break between words, wide tables are stacked or split."""

from __future__ import annotations

import os
import re
import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import TextIO

# Columns of text that goes to no terminal and has to be wrapped.
DEFAULT_WIDTH = 100
MIN_WIDTH = 40
# A label and the spaces after it, which later lines of the same text are indented by.
_LABEL = re.compile(r" *\S+(?: \S+){0,3} {2,}")
_GAP = "  "
# Columns that a wrapped label has at least.
_MIN_LABEL = 30


def width_of(stream: TextIO | None = None) -> int | None:
    """Return the columns of the terminal that a stream writes to (None: standard output); None if it is no terminal."""
    output = sys.stdout if stream is None else stream
    try:
        if not output.isatty():
            return None
        columns = _columns_given() or os.get_terminal_size(output.fileno()).columns
    except (AttributeError, OSError, ValueError):  # closed, or a terminal that does not say
        return None
    return max(MIN_WIDTH, columns) if columns > 0 else None


def text_width() -> int:
    """Return the columns for text that is wrapped wherever it goes: of `COLUMNS`, of the terminal, or the default."""
    return max(MIN_WIDTH, shutil.get_terminal_size((DEFAULT_WIDTH, 24)).columns)


def _columns_given() -> int:
    columns = os.environ.get("COLUMNS", "")
    return int(columns) if columns.isdecimal() else 0


def wrap(text: str, width: int | None) -> str:
    """Break the lines of a text between words; no word is broken, so that paths stay whole.

    Args:
        text: lines. What follows a label and two spaces is continued below its beginning.
        width: columns of a line at most; None changes nothing.
    """
    if width is None:
        return text
    return "\n".join(part for line in text.split("\n") for part in _wrapped(line, width))


def _wrapped(line: str, width: int) -> list[str]:
    if len(line) <= width:
        return [line]
    label = _LABEL.match(line)
    indent = len(label[0]) if label else len(line) - len(line.lstrip()) + 2
    indent = indent if indent <= width // 2 else 2
    return textwrap.wrap(line, width, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False)


def one_line(text: str, width: int) -> str:
    """Return a text cut to a number of columns, between words where it can, with dots where something is left out."""
    if len(text) <= width:
        return text
    cut = text[: width - 3].rsplit(" ", 1)[0] if " " in text[: width - 3] else text[: width - 3]
    return cut.rstrip(" ,;:") + "..."


def table(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, labels: int = 1, width: int | None = None
) -> list[str]:
    """Return the lines of a table: labels to the left, figures to the right of their columns.

    A table that is wider than `width` gets the first of two labels on a line of its own, above its rows, or its labels
    wrapped. One that is still too wide is split into several with the same labels, one below the other.

    Args:
        header: titles of the columns.
        rows: cells. An empty first label belongs to the one above it.
        labels: number of columns, one or two, that hold labels.
        width: columns of a line at most; None is any number.
    """
    full = _lines(header, rows, labels)
    if width is None or max(map(len, full)) <= width:
        return full
    if labels == 2:
        stacked = _stacked(header, rows)
        return table(stacked[0], stacked[1:], width=width)
    room = width - (max(map(len, full)) - max(len(row[0]) for row in (header, *rows)))
    if room >= _MIN_LABEL:
        return _lines(header, [part for row in rows for part in _wrapped_label(row, room)], 1)
    # As many columns as fit, and at least one.
    count = next((n for n in range(len(header) - 1, 1, -1) if _width(header[:n], rows, n) <= width), 2)
    if count >= len(header):
        return full
    first = _lines(header[:count], [row[:count] for row in rows], 1)
    rest = [row[:1] + row[count:] if len(row) > 1 else row for row in map(list, rows)]
    return [*first, "", *table([header[0], *header[count:]], rest, width=width)]


def _stacked(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return header and rows of a table with two labels as one with one label, the first one on lines of its own."""
    stacked = [[header[0], *header[2:]]]
    for row in rows:
        if row[0]:
            stacked.append([row[0]])
        stacked.append([f"  {row[1]}", *row[2:]])
    return stacked


def _wrapped_label(row: Sequence[str], room: int) -> list[list[str]]:
    """Return a row with its label in several lines, the cells on the last one."""
    *above, last = textwrap.wrap(row[0], room, subsequent_indent="  ", break_on_hyphens=False) or [""]
    return [*([part] for part in above), [last, *row[1:]]]


def _width(header: Sequence[str], rows: Sequence[Sequence[str]], count: int) -> int:
    return max(map(len, _lines(header, [row[:count] for row in rows], 1)))


def _lines(header: Sequence[str], rows: Sequence[Sequence[str]], labels: int) -> list[str]:
    # A row with a label alone is a heading, and sets no width.
    full = [header, *(row for row in rows if len(row) > 1)]
    widths = [max(len(row[k]) for row in full) for k in range(len(header))]
    lines = []
    for row in (header, *rows):
        cells = [
            cell.ljust(w) if k < labels else cell.rjust(w) for k, (cell, w) in enumerate(zip(row, widths, strict=False))
        ]
        lines.append(_GAP.join(cells).rstrip())
    return lines
