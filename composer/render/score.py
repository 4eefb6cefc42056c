"""A piece as a score: MusicXML, and pages that Verovio engraves, with the identity of every notehead.

Verovio is the package `verovio` (the extra `score`); MusicXML needs nothing. https://www.verovio.org
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from composer.errors import ComposerError
from composer.events import Piece
from composer.render.layout import identity, layout
from composer.render.meter import Meter
from composer.render.musicxml import write_score
from composer.render.notes import Performance, from_piece
from composer.render.quantize import Quantized, quantize
from composer.render.spelling import Key, estimate_key, spell
from composer.render.staves import Arrangement, arrange

# A4 in tenths of a millimetre, and the size of a staff that is read at a desk.
_PAGE = {"pageWidth": 2100, "pageHeight": 2970, "scale": 40}
_MARGINS = {"pageMarginTop": 120, "pageMarginBottom": 120, "pageMarginLeft": 120, "pageMarginRight": 120}


@dataclass(frozen=True, slots=True)
class Notation:
    """A piece as it will be written.

    Attributes:
        quantized: bars and grid, with the error of both.
        arrangement: notes on staves.
        key: of the signature.
        musicxml: the score as text.
        notes: for a player: `id` and `ids` of the noteheads, `pitch`, `velocity`, `onset` and `duration` in seconds as
            performed, `staff`.
    """

    quantized: Quantized
    arrangement: Arrangement
    key: Key
    musicxml: str
    notes: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Engraving:
    """A score with its pages: `pages` are SVG texts whose note elements have the ids of `notes`."""

    musicxml: str
    pages: list[str]
    notes: list[dict[str, Any]]


def notate(performance: Performance, *, meter: str | None = None, key: str | None = None) -> Notation:
    """Write a performance as a score.

    Args:
        performance: what to write.
        meter: such as `3/4`, instead of the file's or the estimate.
        key: such as `F#m`, instead of the file's or the estimate.

    Raises:
        ComposerError: `meter` or `key` is none, or there are more bars than a score has.
    """
    quantized = quantize(performance, None if meter is None else Meter.parse(meter))
    arrangement = arrange(quantized)
    # Programs that know no key write C.
    stated = key or (None if performance.signatures.key == "C" else performance.signatures.key)
    chosen = Key.parse(stated) if stated else estimate_key(quantized.notes)
    names = spell([placed.note for placed in arrangement.placed], chosen)
    musicxml = write_score(quantized, arrangement, names, chosen, performance.title)
    heads: dict[int, list[str]] = {}
    for voices in layout(quantized, arrangement, names):
        for line in voices.values():
            for written in line:
                for head in written.heads:
                    heads.setdefault(head.note, []).append(head.identity)
    notes = []
    for index, placed in enumerate(arrangement.placed):
        for source in placed.note.sources:
            played = performance.notes[source]
            notes.append(
                {
                    "id": identity(index),
                    "ids": heads[index],
                    "pitch": played.pitch,
                    "velocity": played.velocity,
                    "onset": round(played.onset_seconds, 6),
                    "duration": round(played.duration_seconds, 6),
                    "staff": placed.staff,
                }
            )
    notes.sort(key=lambda note: (note["onset"], note["pitch"]))
    return Notation(quantized, arrangement, chosen, musicxml, notes)


def pages(musicxml: str) -> list[str]:
    """Engrave MusicXML: a list of pages as SVG text.

    Raises:
        ComposerError: Verovio is not installed, or refuses the score.
    """
    try:
        import verovio
    except ImportError as error:
        raise ComposerError("pages of the score need verovio: pip install 'composer[score]'") from error
    verovio.enableLog(verovio.LOG_OFF)
    toolkit = verovio.toolkit()
    toolkit.setOptions(
        {**_PAGE, **_MARGINS, "header": "auto", "footer": "none", "breaks": "auto", "justifyVertically": True}
    )
    if not toolkit.loadData(musicxml):
        raise ComposerError("verovio could not read the score")
    return [toolkit.renderToSVG(number) for number in range(1, toolkit.getPageCount() + 1)]


def engrave(piece: Piece | Performance) -> Engraving:
    """Engrave a piece; see `notate` and `pages` for what is chosen and the errors."""
    notation = notate(from_piece(piece) if isinstance(piece, Piece) else piece)
    return Engraving(notation.musicxml, pages(notation.musicxml), notation.notes)
