"""Tables of text for a terminal, for Markdown and for LaTeX."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from composer.compare.effects import Estimate
from composer.evaluation.statistics import Paired
from composer.files import printable

NOTHING = "-"
_TEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$"}
_TEX |= {"<": r"\textless{}", ">": r"\textgreater{}", **{c: f"\\{c}" for c in "&%$#_{}"}}


@dataclass(kw_only=True, slots=True)
class Table:
    """A table of text.

    Attributes:
        caption: what it shows.
        header: titles of the columns; the first is the arm's.
        rows: arms, and below them the predictors without a network.
        arms: how many of the rows are arms; a rule follows them.
        notes: lines below the table.
    """

    caption: str
    header: list[str]
    rows: list[list[str]]
    arms: int
    notes: Sequence[str] = ()


def digits(spreads: Iterable[float | None]) -> int:
    """Return decimals that show the largest spread with two figures; 3 to 6."""
    largest = max((s for s in spreads if s), default=0.0)
    return 3 if largest == 0 else min(6, max(3, 1 - math.floor(math.log10(largest))))


def text(table: Table) -> list[str]:
    """Return lines for a terminal, columns aligned."""
    widths = [max(len(row[k]) for row in (table.header, *table.rows)) for k in range(len(table.header))]

    def line(row: list[str]) -> str:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))]
        return "  ".join(cells).rstrip()

    arms = [line(row) for row in table.rows[: table.arms]]
    rest = [line(row) for row in table.rows[table.arms :]]
    return [
        line(table.header),
        *arms,
        *(["without a network"] if rest else []),
        *(f"  {row}"[: len(row) + 2] for row in rest),
    ]


def markdown_text(text: str) -> str:
    """Return text from outside, such as the name of a run, for a line or a table of Markdown: no markup, one line."""
    shown = " ".join(printable(text).split("\n"))
    return re.sub(r"([|`\[\]])", r"\\\1", shown).replace("<", "&lt;")


def markdown(table: Table) -> str:
    """Return a Markdown table with its caption and notes."""

    def line(row: list[str]) -> str:
        return "| " + " | ".join(map(markdown_text, row)) + " |"

    rows = [line(row) for row in table.rows[: table.arms]]
    rest = [line([f"*{row[0]}*", *row[1:]]) for row in table.rows[table.arms :]]
    rule = "|" + "---|" * len(table.header)
    lines = [f"**{table.caption}**", "", line(table.header), rule, *rows, *rest]
    notes = [*table.notes, *(["in italics: without a network"] if rest else [])]
    return "\n".join([*lines, "", *([f"{'. '.join(_sentence(note) for note in notes)}.", ""] if notes else [])])


def _sentence(note: str) -> str:
    return note[:1].upper() + note[1:]


def tex_escape(value: str) -> str:
    """Return text for LaTeX, with minus signs before numbers set as such."""
    value = " ".join(printable(value).split())
    escaped = "".join(_TEX.get(character, character) for character in value)
    return re.sub(r"(?<![\w.])([-+])(?=\d)", r"$\1$", escaped)


def latex(tables: Sequence[Table], name: str) -> str:
    """Return floats for a paper; they need the package booktabs."""
    parts = ["% Made by composer compare. In the preamble: \\usepackage{booktabs}"]
    for k, table in enumerate(tables, start=1):
        lines = [[tex_escape(cell) for cell in row] for row in (table.header, *table.rows)]
        head, *rows = [" & ".join(cells) + r" \\" for cells in lines]
        rest = [r"\midrule", *rows[table.arms :]] if rows[table.arms :] else []
        notes = "".join(f" {tex_escape(_sentence(note))}." for note in table.notes)
        parts.append(
            "\n".join(
                [
                    r"\begin{table}",
                    r"\centering\footnotesize\setlength{\tabcolsep}{4pt}",
                    rf"\caption{{{tex_escape(table.caption)}.{notes}}}",
                    rf"\label{{tab:{re.sub(r'[^A-Za-z0-9]+', '-', name)}-{k}}}",
                    rf"\begin{{tabular}}{{l{'r' * (len(table.header) - 1)}}}",
                    r"\toprule",
                    head,
                    r"\midrule",
                    *rows[: table.arms],
                    *rest,
                    r"\bottomrule",
                    r"\end{tabular}",
                    r"\end{table}",
                ]
            )
        )
    return "\n\n".join(parts) + "\n"


def mean_text(value: Estimate | None, places: int) -> str:
    """Return `0.917 ± 0.020`; without the deviation where there is one run."""
    if value is None:
        return NOTHING
    return f"{value.mean:.{places}f}" + ("" if value.sd is None else f" ± {value.sd:.{places}f}")


def interval_text(difference: Paired, places: int) -> str:
    """Return `-0.019 to +0.007`, with a t where it is Student's."""
    if difference.interval is None:
        return "too few seeds"
    low, high = difference.interval
    return f"{low:+.{places}f} to {high:+.{places}f}" + (" (t)" if difference.method == "t" else "")


def spread(difference: Paired) -> float:
    """Return a size to round a difference by."""
    return difference.sd or abs(difference.mean)
