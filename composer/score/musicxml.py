"""MusicXML 4.0 writer for notes on staves; the durations are exactly those of the grid.

https://www.w3.org/2021/06/musicxml40/
"""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree as ET

from composer.score.measures import Head, Voices, Written, accidentals, beams, layout, tuplets
from composer.score.meter import DIVISIONS, Measure
from composer.score.quantize import GridNote, Quantized
from composer.score.spelling import Key, Name
from composer.score.voices import Arrangement, Octave, System

_DOCTYPE = (
    '<!DOCTYPE score-partwise PUBLIC "-//Recordare//DTD MusicXML 4.0 Partwise//EN" '
    '"http://www.musicxml.org/dtds/partwise.dtd">\n'
)


def write_score(
    piece: Quantized, arrangement: Arrangement, names: Sequence[Name], keys: Sequence[Key], title: str
) -> str:
    """Write a score as MusicXML text, with one part per system.

    Args:
        piece: bars, triplets and tempo.
        arrangement: its notes on staves.
        names: written pitches of the arrangement's notes, in their order.
        keys: key of each bar.
        title: for the head of the score.
    """
    root = ET.Element("score-partwise", version="4.0")
    _text(ET.SubElement(root, "work"), "work-title", title)
    _text(ET.SubElement(ET.SubElement(root, "identification"), "encoding"), "software", "composer")
    parts = ET.SubElement(root, "part-list")
    several = len(arrangement.systems) > 1
    if several:
        group = ET.SubElement(parts, "part-group", type="start", number="1")
        _text(group, "group-symbol", "bracket")
        _text(group, "group-barline", "yes")
    written = layout(piece, arrangement, names)
    for number, system in enumerate(arrangement.systems, start=1):
        part = ET.SubElement(parts, "score-part", id=f"P{number}")
        name = ET.SubElement(part, "part-name")
        name.text = system.label or "Music"
        if not (several and system.label):
            name.set("print-object", "no")
        _part(ET.SubElement(root, "part", id=f"P{number}"), piece, arrangement, system, written, keys)
    if several:
        ET.SubElement(parts, "part-group", type="stop", number="1")
    ET.indent(root, " ")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + _DOCTYPE + ET.tostring(root, encoding="unicode") + "\n"


def _part(
    body: ET.Element,
    piece: Quantized,
    arrangement: Arrangement,
    system: System,
    written: Sequence[Voices],
    keys: Sequence[Key],
) -> None:
    """Write the measures of one system."""
    staves = range(system.first, system.first + system.staves)
    number = 0 if piece.measures[0].offset else 1
    before: Measure | None = None
    for index, (bar, everything) in enumerate(zip(piece.measures, written, strict=True)):
        # The second part of a divided bar has the number of the first part, marked with X.
        continued = bar.offset > 0 and index > 0
        measure = ET.SubElement(body, "measure", number=f"X{number - 1}" if continued else str(number))
        if bar.partial:
            measure.set("implicit", "yes")
        number += not continued
        clefs = [arrangement.clefs[staff - 1][max(index - 1, 0) : index + 1] for staff in staves]
        _attributes(measure, bar, before, clefs, keys[max(index - 1, 0) : index + 1])
        if before is None and system.first == 1:
            _tempo(measure, piece.beats_per_minute)
        voices = {place: line for place, line in everything.items() if place[0] in staves}
        _voices(measure, bar, voices, keys[index], piece, arrangement, system)
        if system.first == 1:
            _pedal(measure, bar, piece.pedal, system.staves)
        before = bar
    barline = ET.SubElement(measure, "barline", location="right")
    _text(barline, "bar-style", "light-heavy")


def _text(parent: ET.Element, tag: str, text: object) -> ET.Element:
    element = ET.SubElement(parent, tag)
    element.text = str(text)
    return element


def _attributes(
    measure: ET.Element,
    bar: Measure,
    before: Measure | None,
    clefs: Sequence[Sequence[str]],
    keys: Sequence[Key],
) -> None:
    attributes = ET.Element("attributes")
    if before is None:
        _text(attributes, "divisions", DIVISIONS)
    if before is None or keys[0] != keys[-1]:
        signature = ET.SubElement(attributes, "key")
        _text(signature, "fifths", keys[-1].fifths)
        _text(signature, "mode", "minor" if keys[-1].minor else "major")
    if before is None or before.meter != bar.meter:
        time = ET.SubElement(attributes, "time")
        _text(time, "beats", bar.meter.numerator)
        _text(time, "beat-type", bar.meter.denominator)
    if before is None and len(clefs) > 1:
        _text(attributes, "staves", len(clefs))
    for staff, around in enumerate(clefs, start=1):
        if before is None or around[0] != around[-1]:
            clef = ET.SubElement(attributes, "clef", number=str(staff))
            sign = around[-1][0]
            _text(clef, "sign", sign)
            _text(clef, "line", {"G": 2, "F": 4, "C": 3}[sign])
            if around[-1].endswith("8"):
                _text(clef, "clef-octave-change", -1)
    if len(attributes):
        measure.append(attributes)


def _tempo(measure: ET.Element, beats_per_minute: float) -> None:
    direction = ET.SubElement(measure, "direction", placement="above")
    metronome = ET.SubElement(ET.SubElement(direction, "direction-type"), "metronome")
    _text(metronome, "beat-unit", "quarter")
    _text(metronome, "per-minute", round(beats_per_minute))
    ET.SubElement(direction, "sound", tempo=f"{beats_per_minute:.6g}")


def _pedal(measure: ET.Element, bar: Measure, pedal: Sequence[tuple[int, int]], staff: int) -> None:
    """Write the marks of the sustain pedal below a staff; where it goes up and down at one place, as a change."""
    downs, ups = {down for down, _ in pedal}, {up for _, up in pedal}
    # At a bar line the pedal goes up in the bar that ends, and down in the next.
    ends = {place for place in ups if bar.start < place <= bar.end}
    places = sorted(ends | {place for place in downs if bar.start <= place < bar.end})
    if not places:
        return
    _text(ET.SubElement(measure, "backup"), "duration", bar.length)
    now = bar.start
    for place in places:
        if place > now:
            _text(ET.SubElement(measure, "forward"), "duration", place - now)
        now = place
        # Up and down again at one place is a change.
        both = "change" if place in ups else "start"
        kinds = [both] if place in downs and place < bar.end else ["stop"] if place not in downs else []
        for kind in kinds:
            direction = ET.SubElement(measure, "direction", placement="below")
            ET.SubElement(ET.SubElement(direction, "direction-type"), "pedal", type=kind, line="no", sign="yes")
            _text(direction, "staff", staff)
    if now < bar.end:
        _text(ET.SubElement(measure, "forward"), "duration", bar.end - now)


def _last_onset(line: Sequence[Written]) -> int:
    """Return the place of the last chord of a voice, -1 without any."""
    return max((written.value.start for written in line if written.heads), default=-1)


def _octave(measure: ET.Element, octave: Octave, staff: int, kind: str) -> None:
    """Write the begin (`down` for 8va, `up` for 8vb: how the notes are moved) or the `stop` of an octave mark."""
    direction = ET.SubElement(measure, "direction", placement="above" if octave.shift > 0 else "below")
    ET.SubElement(ET.SubElement(direction, "direction-type"), "octave-shift", type=kind, size="8", number=str(staff))
    _text(direction, "staff", staff)


def _voices(
    measure: ET.Element,
    bar: Measure,
    voices: Voices,
    key: Key,
    piece: Quantized,
    arrangement: Arrangement,
    system: System,
) -> None:
    shown = {staff: accidentals(voices, staff, key) for staff in {staff for staff, _ in voices}}
    # An octave mark ends in the voice that is written last: the voice with the last onset.
    ending = {staff for staff in shown if any(bar.start < o.end <= bar.end for o in arrangement.octaves[staff - 1])}
    order_of_lines = sorted(
        voices.items(), key=lambda item: (item[0][0], _last_onset(item[1]) if item[0][0] in ending else 0, item[0][1])
    )
    for number, ((staff, voice), line) in enumerate(order_of_lines):
        if number:
            _text(ET.SubElement(measure, "backup"), "duration", bar.length)
        of_system = staff - system.first + 1
        # Conventional numbers: 1 to 4 on the upper staff, 5 to 8 on the lower.
        where = (str(voice + 4 * (of_system - 1)), str(of_system))
        first = number == 0 or order_of_lines[number - 1][0][0] != staff
        last = number + 1 == len(order_of_lines) or order_of_lines[number + 1][0][0] != staff
        marks = arrangement.octaves[staff - 1]
        begins = [octave for octave in marks if first and bar.start <= octave.start < bar.end]
        ends = [octave for octave in marks if last and bar.start < octave.end <= bar.end]
        if not line:
            note = ET.SubElement(measure, "note")
            ET.SubElement(note, "rest", measure="yes")
            _text(note, "duration", bar.length)
            _text(note, "voice", where[0])
            _text(note, "staff", where[1])
            for octave in ends:
                _octave(measure, octave, of_system, "stop")
            continue
        joined, threes = beams(line, bar), tuplets(line, bar, piece)
        above = {(w.value.start, w.value.duration) for w in voices.get((staff, 1), ()) if not w.heads}
        for position, written in enumerate(line):
            start = written.value.start
            while ends and ends[0].end <= start and ends[0].end < bar.end:
                _octave(measure, ends.pop(0), of_system, "stop")
            while begins and (begins[0].start <= start or not last):
                octave = begins.pop(0)
                _octave(measure, octave, of_system, "down" if octave.shift > 0 else "up")
            heads: Sequence[Head | None] = written.heads or (None,)
            for order, head in enumerate(heads):
                note = ET.SubElement(measure, "note")
                if head is None:
                    # A rest of the second voice crowds the staff, unless that voice is another part and the first has
                    # no such rest.
                    needless = not system.parts_as_voices or (start, written.value.duration) in above
                    if voice == 2 and (staff, 1) in voices and needless:
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
        for octave in ends:
            _octave(measure, octave, of_system, "stop")


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
    """Return (onset, duration, pitch) of every note, sorted, for comparison with the MusicXML."""
    return sorted((note.onset, note.duration, note.pitch) for note in notes)
