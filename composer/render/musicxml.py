"""MusicXML 4.0, written from notes on their staves; what it says is exactly what the grid says.

https://www.w3.org/2021/06/musicxml40/
"""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree as ET

from composer.render.layout import Head, Voices, accidentals, beams, layout, tuplets
from composer.render.meter import DIVISIONS, Measure
from composer.render.quantize import GridNote, Quantized
from composer.render.spelling import Key, Name
from composer.render.staves import Arrangement

_DOCTYPE = (
    '<!DOCTYPE score-partwise PUBLIC "-//Recordare//DTD MusicXML 4.0 Partwise//EN" '
    '"http://www.musicxml.org/dtds/partwise.dtd">\n'
)


def write_score(piece: Quantized, arrangement: Arrangement, names: Sequence[Name], key: Key, title: str) -> str:
    """A score as MusicXML text.

    Args:
        piece: bars, triplets and tempo.
        arrangement: its notes on staves.
        names: of the arrangement's notes, in their order.
        key: for the key signature.
        title: for the head of the score.
    """
    root = ET.Element("score-partwise", version="4.0")
    _text(ET.SubElement(root, "work"), "work-title", title)
    _text(ET.SubElement(ET.SubElement(root, "identification"), "encoding"), "software", "composer")
    part = ET.SubElement(ET.SubElement(root, "part-list"), "score-part", id="P1")
    ET.SubElement(part, "part-name", {"print-object": "no"}).text = "Music"
    body = ET.SubElement(root, "part", id="P1")
    before: Measure | None = None
    bars = zip(piece.measures, layout(piece, arrangement, names), strict=True)
    number = 0 if piece.measures[0].partial else 1
    for index, (bar, voices) in enumerate(bars):
        measure = ET.SubElement(body, "measure", number=str(number))
        if bar.partial:
            measure.set("implicit", "yes")
        number += 1
        _attributes(measure, bar, before, [clefs[max(index - 1, 0) : index + 1] for clefs in arrangement.clefs], key)
        if before is None:
            _tempo(measure, piece.beats_per_minute)
        _voices(measure, bar, voices, key, piece)
        before = bar
    barline = ET.SubElement(measure, "barline", location="right")
    _text(barline, "bar-style", "light-heavy")
    ET.indent(root, " ")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + _DOCTYPE + ET.tostring(root, encoding="unicode") + "\n"


def _text(parent: ET.Element, tag: str, text: object) -> ET.Element:
    element = ET.SubElement(parent, tag)
    element.text = str(text)
    return element


def _attributes(
    measure: ET.Element, bar: Measure, before: Measure | None, clefs: Sequence[Sequence[str]], key: Key
) -> None:
    attributes = ET.Element("attributes")
    if before is None:
        _text(attributes, "divisions", DIVISIONS)
        signature = ET.SubElement(attributes, "key")
        _text(signature, "fifths", key.fifths)
        _text(signature, "mode", "minor" if key.minor else "major")
    if before is None or before.meter != bar.meter:
        time = ET.SubElement(attributes, "time")
        _text(time, "beats", bar.meter.numerator)
        _text(time, "beat-type", bar.meter.denominator)
    if before is None and len(clefs) > 1:
        _text(attributes, "staves", len(clefs))
    for staff, around in enumerate(clefs, start=1):
        if before is None or around[0] != around[-1]:
            clef = ET.SubElement(attributes, "clef", number=str(staff))
            _text(clef, "sign", around[-1])
            _text(clef, "line", {"G": 2, "F": 4}[around[-1]])
    if len(attributes):
        measure.append(attributes)


def _tempo(measure: ET.Element, beats_per_minute: float) -> None:
    direction = ET.SubElement(measure, "direction", placement="above")
    metronome = ET.SubElement(ET.SubElement(direction, "direction-type"), "metronome")
    _text(metronome, "beat-unit", "quarter")
    _text(metronome, "per-minute", round(beats_per_minute))
    ET.SubElement(direction, "sound", tempo=f"{beats_per_minute:.6g}")


def _voices(measure: ET.Element, bar: Measure, voices: Voices, key: Key, piece: Quantized) -> None:
    shown = {staff: accidentals(voices, staff, key) for staff in {staff for staff, _ in voices}}
    for number, ((staff, voice), line) in enumerate(sorted(voices.items())):
        if number:
            _text(ET.SubElement(measure, "backup"), "duration", bar.length)
        # The usual numbers: 1 to 4 on the upper staff, 5 to 8 on the lower.
        where = (str(voice + 4 * (staff - 1)), str(staff))
        if not line:
            note = ET.SubElement(measure, "note")
            ET.SubElement(note, "rest", measure="yes")
            _text(note, "duration", bar.length)
            _text(note, "voice", where[0])
            _text(note, "staff", where[1])
            continue
        joined, threes = beams(line, bar), tuplets(line, piece)
        for position, written in enumerate(line):
            heads: Sequence[Head | None] = written.heads or (None,)
            for order, head in enumerate(heads):
                note = ET.SubElement(measure, "note")
                if head is None:
                    # A rest of the second voice says nothing that the first does not, and crowds the staff.
                    if voice == 2 and (staff, 1) in voices:
                        note.set("print-object", "no")
                    ET.SubElement(note, "rest")
                else:
                    _head(note, head, order > 0)
                _text(note, "duration", written.value.duration)
                for tied, kind in ((head and head.tied_from, "stop"), (head and head.tied_to, "start")):
                    if tied:
                        ET.SubElement(note, "tie", type=kind)
                _text(note, "voice", where[0])
                _text(note, "type", written.value.kind)
                for _ in range(written.value.dots):
                    ET.SubElement(note, "dot")
                if head is not None and (accidental := shown[staff].get(head.identity)):
                    _text(note, "accidental", accidental)
                if written.value.triplet:
                    ratio = ET.SubElement(note, "time-modification")
                    _text(ratio, "actual-notes", 3)
                    _text(ratio, "normal-notes", 2)
                _text(note, "staff", where[1])
                if order == 0:
                    for level, text in enumerate(joined[position], start=1):
                        ET.SubElement(note, "beam", number=str(level)).text = text
                _notations(note, head, threes.get(position, ()) if order == 0 else ())


def _head(note: ET.Element, head: Head, chord: bool) -> None:
    note.set("id", head.identity)
    if chord:
        ET.SubElement(note, "chord")
    pitch = ET.SubElement(note, "pitch")
    _text(pitch, "step", head.name.letter)
    if head.name.alter:
        _text(pitch, "alter", head.name.alter)
    _text(pitch, "octave", head.name.octave)


def _notations(note: ET.Element, head: Head | None, tuplet: Sequence[str]) -> None:
    notations = ET.Element("notations")
    for tied, kind in ((head and head.tied_from, "stop"), (head and head.tied_to, "start")):
        if tied:
            ET.SubElement(notations, "tied", type=kind)
    for kind in tuplet:
        ET.SubElement(notations, "tuplet", type=kind)
    if len(notations):
        note.append(notations)


def sounding(notes: Sequence[GridNote]) -> list[tuple[int, int, int]]:
    """(onset, duration, pitch) of every note, sorted: what the MusicXML must say again."""
    return sorted((note.onset, note.duration, note.pitch) for note in notes)
