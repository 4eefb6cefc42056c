"""Tables for LaTeX: floats with booktabs that fit a column of 3.15 inches.

A table that is wider than the column continues in further blocks below, each with its own head. The widths are computed
from the advance widths of Computer Modern Roman, which is wider than the Times of most journals.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Sequence

from composer.compare.rounding import NOTHING
from composer.compare.table_formats import Table, sentences
from composer.files import printable

# A column of LaTeX's class article is 3.17 inches wide, those of most journals are wider.
COLUMN_INCHES = 3.15
# Lines of a float, at 9.5 points each, below a caption of a few lines.
_MAX_LINES = 40
_POINTS_PER_INCH = 72.27
# Of `\fontsize{8}{9.5}`, whatever the size of the document's text.
_SIZE = 8
_GAP = 6.0
# The first column of a block wraps where it would take more than this share of the width from the others.
_FIRST = 0.25
_TEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$"}
_TEX |= {"<": r"\textless{}", ">": r"\textgreater{}", **{c: f"\\{c}" for c in "&%$#_{}"}}
# Advance widths of cmr10 in thousandths of the size; at 8 points its letters are wider by 6 %.
_WIDTHS = {
    **dict.fromkeys("ijl.,:;'!|", 278),
    **dict.fromkeys("ftrs()/[]", 394),
    **dict.fromkeys("0123456789acegoqvxyz", 500),
    **dict.fromkeys("bdhknpu?$", 556),
    **dict.fromkeys("mwMW%", 833),
    " ": 333,
    "-": 778,
}
_OTHER = 778
_NEW_LINE = r"\\"
# Where a label may break: at spaces, and after these signs within a word (`\_` is how an underscore is written).
_SIGNS = re.compile(r"((?:[=_,]|\.(?=[A-Za-z]))(?=[\w\\$]))")
_BREAKS = re.compile(r"(?<=[=_,])|(?<=\.)(?=[A-Za-z])|\s+")
_WIDER = 1.08


def latex(tables: Sequence[Table], name: str) -> str:
    """Return floats for a paper, each at most `COLUMN_INCHES` wide; they need the package booktabs.

    Args:
        tables: in their order.
        name: of the sweep, for the labels `tab:NAME-1`, `tab:NAME-2` ...
    """
    label = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")
    width = COLUMN_INCHES * _POINTS_PER_INCH
    parts = [
        "% Made by composer compare. In the preamble: \\usepackage{booktabs}\n"
        f"% Each table fits a column of {COLUMN_INCHES} inches."
    ]
    for k, table in enumerate(tables, start=1):
        parts += _floats(_with_short_labels(table), width, f"tab:{label}-{k}")
    return "\n\n".join(parts) + "\n"


def tex_escape(value: str) -> str:
    """Return text for LaTeX, with minus signs before numbers set as such."""
    value = " ".join(printable(value).split())
    escaped = "".join(_TEX.get(character, character) for character in value)
    return re.sub(r"(?<![\w.])([-+])(?=\d)|(?<= )(-)(?= )", lambda sign: f"${sign[0]}$", escaped)


def _floats(table: Table, width: float, label: str) -> list[str]:
    """Return a table as floats, of which none is higher than a page."""
    first, blocks = _blocks(table, width)
    # Labels wrap in the first column; of the head as many lines as its words, and two for the rules.
    labels = sum(math.ceil(_WIDER * _width(row[0]) / first) for row in table.rows)
    high = labels + max(len(head.split()) for head in table.header) + 2
    per_float = max(1, _MAX_LINES // high)
    parts = [blocks[k : k + per_float] for k in range(0, len(blocks), per_float)]
    return [
        _float(
            table if k == 0 else dataclasses.replace(table, caption=f"{table.caption}, continued", notes=()),
            first,
            part,
            label if k == 0 else f"{label}-{k + 1}",
        )
        for k, part in enumerate(parts)
    ]


def _float(table: Table, first: float, blocks: list[list[int]], label: str) -> str:
    count = max(map(len, blocks))
    body: list[str] = []
    below = table.rows[table.arms :]
    for block in blocks:
        heads = [_head(table, k) for k in block]
        empty = [""] * (count - len(block))
        lines = [
            " & ".join([_first(row[0]), *(tex_escape(row[k]) for k in block), *empty]) + f" {_NEW_LINE}"
            # Below the arms a row without a value in this block is left out.
            for row in [*table.rows[: table.arms], *(r for r in below if any(r[k] != NOTHING for k in block))]
        ]
        body += [r"\midrule"] if body else []
        body.append(
            " & ".join([_first(table.header[0]), *(_stacked(head) for head in heads), *empty]) + f" {_NEW_LINE}"
        )
        body += [r"\midrule", *lines[: table.arms]]
        body += [r"\addlinespace", *lines[table.arms :]] if lines[table.arms :] else []
    notes = [*table.notes, *([f"below the gap: {table.below}"] if below else [])]
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering\fontsize{8}{9.5}\selectfont\setlength{\tabcolsep}{3pt}\setlength{\belowcaptionskip}{4pt}",
            rf"\caption{{{tex_escape(sentences([table.caption, *notes]))}}}",
            rf"\label{{{label}}}",
            rf"\begin{{tabular}}{{@{{}}p{{{first:.1f}pt}}{'r' * count}@{{}}}}",
            r"\toprule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


def _blocks(table: Table, width: float) -> tuple[float, list[list[int]]]:
    """Return the width of the first column in points, and the other columns that stand in each block."""
    names = [table.header[0], *(row[0] for row in table.rows)]
    # What cannot be broken.
    words = max(_width(word) for name in names for word in _BREAKS.split(name))
    columns = list(range(1, len(table.header)))
    widths = {k: _GAP + max(map(_width, [*_head(table, k), *(row[k] for row in table.rows)])) for k in columns}
    longest = max(map(_width, names))
    least = min(longest, max(words, _FIRST * width))
    # As few blocks as possible; their columns have one width.
    for count in range(len(columns), 0, -1):
        blocks = [columns[k : k + count] for k in range(0, len(columns), count)]
        shared = sum(max(widths[block[k]] for block in blocks if k < len(block)) for k in range(count))
        if least + shared <= width:
            return min(longest, width - shared), blocks
    return max(words, width - max(widths.values(), default=0.0)), [[k] for k in columns]


def _head(table: Table, k: int) -> list[str]:
    """Return the head of a column, as lines no wider than its cells where words allow it."""
    head = table.header[k]
    room = max([_width(row[k]) for row in table.rows] + [max(_width(word) for word in head.split() or [""])])
    lines: list[str] = []
    for word in head.split():
        if lines and _width(f"{lines[-1]} {word}") <= room:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines or [""]


def _stacked(lines: Sequence[str]) -> str:
    shown = [tex_escape(line) for line in lines]
    return shown[0] if len(shown) == 1 else rf"\shortstack[r]{{{_NEW_LINE.join(shown)}}}"


def _first(name: str) -> str:
    """Return the first cell of a row, which may break after the signs of a label."""
    return r"\raggedright " + _SIGNS.sub(r"\1\\allowbreak{}", tex_escape(name))


def _width(text: str) -> float:
    """Return about how wide a text is at the tables' size, in points, never less than it is."""
    units = sum(_WIDTHS.get(character, _OTHER) for character in text)
    # The signs of numbers are set in mathematics, with room around them.
    return units * _SIZE * _WIDER / 1000 + 4.5 * text.count("±")


def _with_short_labels(table: Table) -> Table:
    """Return a table whose first column is headed by the swept key where one was swept, and has its values."""
    labels = [row[0] for row in table.rows[: table.arms]]
    key = labels[0].partition("=")[0] if labels else ""
    if table.header[0] != "arm" or not all(re.fullmatch(rf"{re.escape(key)}=[^=,]+", label) for label in labels):
        return table
    rows = [[row[0].partition("=")[2], *row[1:]] for row in table.rows[: table.arms]]
    rows += table.rows[table.arms :]
    return dataclasses.replace(table, header=[key, *table.header[1:]], rows=rows)
