"""Score engraving: MusicXML, and pages by Verovio, with the identity of every notehead.

Verovio is the package `verovio` (the extra `score`); MusicXML needs no package. https://www.verovio.org
"""

from __future__ import annotations

import io
import re
import zlib
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from composer.errors import ComposerError, MissingExtra
from composer.music.events import Piece
from composer.music.notes import Performance, from_piece
from composer.score.measures import identity, layout
from composer.score.meter import DIVISIONS, Meter
from composer.score.musicxml import write_score
from composer.score.quantize import Quantized, quantize
from composer.score.spelling import Key, Name, estimate_key, plain_key, spell
from composer.score.voices import Arrangement, arrange

# A4 in tenths of a millimetre, and a staff size for reading at a desk.
_PAGE = {"pageWidth": 2100, "pageHeight": 2970, "scale": 40}
# As wide as a phone at the same size of staff; a page is as high as its music.
_PHONE = {"pageWidth": 930, "pageHeight": 2400, "scale": 40, "adjustPageHeight": True, "justifyVertically": False}
_PHONE_MARGINS = {"pageMarginTop": 50, "pageMarginBottom": 50, "pageMarginLeft": 20, "pageMarginRight": 20}
_PIXELS_PER_INCH = 254 * _PAGE["scale"] / 100  # so that a PDF page is A4
_MARGINS = {"pageMarginTop": 120, "pageMarginBottom": 120, "pageMarginLeft": 120, "pageMarginRight": 120}
# Character of a quarter note: in music fonts (SMuFL; Verovio uses that of tempo marks), and in text fonts.
_MUSIC_FONT_QUARTERS, _TEXT_FONT_QUARTER = ("\ue1d5", "\ueca5"), "\u2669"

# A key signature this many beats after a barline still belongs to its bar.
_KEY_TOLERANCE = 0.1
# Half a staff space in Verovio's units; a score of more instruments has smaller staves.
_UNIT, _SMALL_UNIT, _MAX_LARGE_INSTRUMENTS = 9.0, 6.5, 4
_CREATED = re.compile(rb"(/CreationDate \(D:)\d{14}")
# The vertical position of a tempo mark on a page; it is raised by half a staff space.
_TEMPO = re.compile(r'(class="tempo">\s*<text x="\d+" y=")(\d+)(")')


@dataclass(frozen=True, slots=True)
class Notation:
    """The notation of a piece.

    Attributes:
        quantized: bars and grid, with the rounding error.
        arrangement: notes on staves.
        key: key of the first bar.
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
        meter: replaces the file's or the estimate, such as `3/4`.
        key: replaces the file's or the estimate, such as `F#m`.

    Raises:
        ComposerError: `meter` or `key` is invalid, or there are more than `MAX_MEASURES` bars.
    """
    quantized = quantize(performance, None if meter is None else Meter.parse(meter))
    arrangement = arrange(quantized)
    keys = _keys(performance, quantized, key)
    names = _names(arrangement, quantized, keys)
    musicxml = write_score(quantized, arrangement, names, keys, performance.title)
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
    return Notation(quantized, arrangement, keys[0], musicxml, notes)


def _keys(performance: Performance, quantized: Quantized, stated: str | None) -> list[Key]:
    """Return the key of each bar: the given one, else the file's, else the estimate for the piece."""
    count = len(quantized.measures)
    if stated:
        return [Key.parse(stated)] * count
    signatures = performance.markings.keys
    if not signatures:
        # Of a performance hardly more is known than its pitches: in doubt the signature that is easier to read.
        return [(plain_key if quantized.tracked else estimate_key)(quantized.notes)] * count
    if quantized.tracked:
        return [Key.parse(signatures[0][1])] * count
    keys = []
    for bar in quantized.measures:
        place = quantized.start + bar.start / DIVISIONS + _KEY_TOLERANCE
        keys.append(Key.parse(([name for at, name in signatures if at <= place] or [signatures[0][1]])[-1]))
    return keys


def _names(arrangement: Arrangement, quantized: Quantized, keys: Sequence[Key]) -> list[Name]:
    """Return the written pitch of each note of the arrangement; each passage of one key is spelled separately."""
    starts = [bar.start for bar in quantized.measures]
    following = _following(arrangement)
    names: list[Name] = []
    bar_keys = [keys[bisect_right(starts, placed.note.onset) - 1] for placed in arrangement.placed]
    for key, members in groupby(range(len(bar_keys)), key=bar_keys.__getitem__):
        passage = list(members)
        first, last = passage[0], passage[-1]
        within = [None if after is None or after > last else after - first for after in following[first : last + 1]]
        names += spell([arrangement.placed[index].note for index in passage], key, within)
    return names


def _following(arrangement: Arrangement) -> list[int | None]:
    """Return for each note the note of its voice's next chord, within a beat, that is at most a semitone away."""
    chords: dict[tuple[int, int], dict[int, list[int]]] = {}
    for index, placed in enumerate(arrangement.placed):
        chords.setdefault((placed.staff, placed.voice), {}).setdefault(placed.note.onset, []).append(index)
    following: list[int | None] = [None] * len(arrangement.placed)
    for line in chords.values():
        onsets = list(line)
        for onset, then in zip(onsets, onsets[1:], strict=False):
            for index in line[onset]:
                note = arrangement.placed[index].note
                distance = {other: abs(arrangement.placed[other].note.pitch - note.pitch) for other in line[then]}
                nearest = min(line[then], key=distance.__getitem__)
                if distance[nearest] <= 1 and then - note.end <= DIVISIONS:
                    following[index] = nearest
    return following


def pages(musicxml: str, *, phone: bool = False) -> list[str]:
    """Engrave MusicXML; return the pages as SVG texts, of A4 or as wide as a `phone`.

    The notes have the same identities in both.

    Raises:
        MissingExtra: Verovio is not installed.
        ComposerError: Verovio cannot read the score.
    """
    try:
        import verovio
    except ImportError as error:
        raise MissingExtra("pages of the score need verovio: pip install 'lstm-composer[score]'") from error
    verovio.enableLog(verovio.LOG_OFF)
    toolkit = verovio.toolkit()
    # Verovio's identities are random: a seed from the content repeats them, and scores in one document differ.
    seed = zlib.crc32(musicxml.encode()) & 0x7FFFFFFF or 1
    unit = _UNIT if musicxml.count("<score-part ") <= _MAX_LARGE_INSTRUMENTS else _SMALL_UNIT
    toolkit.setOptions(
        {
            "unit": unit,
            "justifyVertically": True,
            # The player's heading is wrapped to a phone's width, a title in the score is not.
            "header": "none" if phone else "auto",
            **(_PHONE | _PHONE_MARGINS if phone else _PAGE | _MARGINS),
            "footer": "none",
            "breaks": "auto",
            "xmlIdSeed": seed + phone,
        }
    )
    if not toolkit.loadData(musicxml):
        raise ComposerError("verovio could not read the score")
    return [_raised(toolkit.renderToSVG(number), round(10 * unit)) for number in range(1, toolkit.getPageCount() + 1)]


def _raised(svg: str, raised_by: int) -> str:
    """Return a page with a raised tempo mark: in Verovio the mark's notehead touches the time signature."""
    return _TEMPO.sub(lambda found: f"{found[1]}{int(found[2]) - raised_by}{found[3]}", svg)


def _in_text_fonts(page: str) -> str:
    """Return a page for CairoSVG, which ignores fonts in an SVG: the note of the tempo would be an empty box."""
    for quarter in _MUSIC_FONT_QUARTERS:
        page = page.replace(quarter, _TEXT_FONT_QUARTER)
    return page


def to_pdf(pages: list[str]) -> bytes:
    """Return SVG pages as one PDF document.

    Raises:
        MissingExtra: CairoSVG or the library cairo is not installed.
    """
    try:
        from cairosvg.parser import Tree
        from cairosvg.surface import PDFSurface
    except (ImportError, OSError) as error:
        raise MissingExtra(
            "score.pdf needs cairosvg and the library cairo: pip install 'lstm-composer[score]'"
        ) from error
    stream = io.BytesIO()
    document: Any = None

    class Page(PDFSurface):  # type: ignore[misc]
        """A page drawn on the surface of the first: CairoSVG alone makes one document per page."""

        def _create_surface(self, width: float, height: float) -> tuple[Any, float, float]:
            nonlocal document
            if document is None:
                document, width, height = super()._create_surface(width, height)
                return document, width, height
            document.show_page()
            return document, width, height

    for page in pages:
        Page(Tree(bytestring=_in_text_fonts(page).encode()), stream, _PIXELS_PER_INCH)
    document.finish()
    # Cairo writes the time of day; the same score is the same file.
    return _CREATED.sub(rb"\g<1>20000101000000", stream.getvalue())


def to_png(page: str, width: int = 1000) -> bytes:
    """Return an SVG page as a PNG picture on white.

    Args:
        page: a page that `pages` returns.
        width: in pixels.

    Raises:
        MissingExtra: CairoSVG or the library cairo is not installed.
    """
    try:
        import cairosvg
    except (ImportError, OSError) as error:
        raise MissingExtra(
            "a picture of the score needs cairosvg and the library cairo: pip install 'lstm-composer[score]'"
        ) from error
    plain = _in_text_fonts(page).encode()
    picture: bytes = cairosvg.svg2png(bytestring=plain, background_color="white", output_width=width)
    return picture


def engrave(piece: Piece | Performance) -> Engraving:
    """Engrave a piece with the estimates of `notate`; see there and `pages` for the errors."""
    notation = notate(from_piece(piece) if isinstance(piece, Piece) else piece)
    return Engraving(notation.musicxml, pages(notation.musicxml), notation.notes)
