"""Tables of text for a terminal and for Markdown; `latex` has those for a paper."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from composer import terminal
from composer.files import printable


@dataclass(kw_only=True, slots=True)
class Table:
    """A table of text.

    Attributes:
        caption: what it shows.
        header: titles of the columns; the first is the arm's.
        rows: arms, and below them the predictors without a network.
        arms: how many of the rows are arms; a rule follows them.
        notes: lines below the table.
        below: what the other rows are.
    """

    caption: str
    header: list[str]
    rows: list[list[str]]
    arms: int
    notes: Sequence[str] = ()
    below: str = "without a network"


def text(table: Table, width: int | None = None) -> list[str]:
    """Return lines for a terminal, columns aligned; `width` None is any number of columns."""
    rest = [[f"  {label}", *cells] for label, *cells in table.rows[table.arms :]]
    rows = [*table.rows[: table.arms], *([[table.below]] if rest else []), *rest]
    return terminal.table(table.header, rows, width=width)


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
    lines = [f"**{markdown_text(table.caption)}**", "", line(table.header), rule, *rows, *rest]
    notes = sentences([*table.notes, *([f"in italics: {table.below}"] if rest else [])])
    return "\n".join([*lines, "", *([markdown_text(notes), ""] if notes else [])])


def sentences(notes: Sequence[str]) -> str:
    """Return notes as sentences of one paragraph."""
    return " ".join(f"{note[:1].upper()}{note[1:]}." for note in notes)
