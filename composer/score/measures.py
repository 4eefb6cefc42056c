"""Layout of bars: chords and rests as note values with ties, beams and accidentals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from composer.score.meter import KINDS, Measure, Value, beam_window, values
from composer.score.quantize import Quantized
from composer.score.spelling import Key, Name, key_alterations
from composer.score.voices import Arrangement

_ACCIDENTALS = {-2: "flat-flat", -1: "flat", 0: "natural", 1: "sharp", 2: "double-sharp"}
_EIGHTH = KINDS.index("eighth")


@dataclass(frozen=True, slots=True)
class Head:
    """One written notehead.

    Attributes:
        note: number of the note in the arrangement.
        identity: id of its element, unique in the score.
        name: letter, alteration, octave.
        tied_from: whether a tie connects it to the notehead before.
        tied_to: whether a tie connects it to the notehead after.
    """

    note: int
    identity: str
    name: Name
    tied_from: bool
    tied_to: bool


@dataclass(frozen=True, slots=True)
class Written:
    """A chord (or, without heads, a rest) with its value, in one voice of one bar."""

    value: Value
    heads: tuple[Head, ...]


Voices = dict[tuple[int, int], list[Written]]


def identity(note: int, part: int = 0) -> str:
    """Return the id of notehead `part` of note `note`; a tied note has several noteheads."""
    return f"n{note}" if part == 0 else f"n{note}-{part}"


def layout(piece: Quantized, arrangement: Arrangement, names: Sequence[Name]) -> list[Voices]:
    """Return for each bar the chords and rests of each (staff, voice); every voice fills its bar.

    An empty voice is a rest of the whole bar.
    """
    chords: dict[tuple[int, int], dict[tuple[int, int], list[int]]] = {}
    for index, placed in enumerate(arrangement.placed):
        line = chords.setdefault((placed.staff, placed.voice), {})
        line.setdefault((placed.note.onset, placed.note.end), []).append(index)
    parts = [0] * len(arrangement.placed)
    bars: list[Voices] = [{} for _ in piece.measures]
    unit = piece.pulse

    def write(
        start: int, end: int, bar: Measure, notes: Sequence[int], last: int, triplets: frozenset[int]
    ) -> Iterator[Written]:
        for value in values(start, end, bar, triplets, unit, rest=not notes):
            heads = []
            for note in notes:
                onset = arrangement.placed[note].note.onset
                tied_to = value.start + value.duration < last
                heads.append(Head(note, identity(note, parts[note]), names[note], value.start > onset, tied_to))
                parts[note] += 1
            yield Written(value, tuple(heads))

    for (staff, voice), line in sorted(chords.items()):
        # Parts that share a voice share a grid.
        threes = piece.triplets[arrangement.placed[next(iter(line.values()))[0]].note.part]
        spans = iter([(*span, line[span]) for span in sorted(line)])
        span = next(spans, None)
        for bar, voices in zip(piece.measures, bars, strict=True):
            written: list[Written] = []
            place = bar.start
            while span is not None and span[0] < bar.end:
                start, end, notes = span
                written += write(place, max(start, bar.start), bar, (), 0, threes)
                place = min(end, bar.end)
                written += write(max(start, bar.start), place, bar, notes, end, threes)
                if end > bar.end:
                    break
                span = next(spans, None)
            if written:
                voices[staff, voice] = written + list(write(place, bar.end, bar, (), 0, threes))
    for bar, voices in zip(piece.measures, bars, strict=True):
        for staff in range(1, arrangement.staves + 1):
            if (staff, 1) not in voices and (staff, 2) not in voices:
                # Programs give a whole-bar rest the length of the meter.
                voices[staff, 1] = list(write(bar.start, bar.end, bar, (), 0, frozenset())) if bar.partial else []
    return bars


def accidentals(voices: Voices, staff: int, key: Key) -> dict[str, str]:
    """Return the accidentals of a staff's bar by notehead, where it differs from the signature or the last one."""
    signature = key_alterations(key)
    state: dict[tuple[int, int], int] = {}
    shown: dict[str, str] = {}
    line = [written for (of, _), line in voices.items() if of == staff for written in line]
    for written in sorted(line, key=lambda written: written.value.start):
        for head in written.heads:
            place = (head.name.step, head.name.octave)
            if head.tied_from:
                continue  # a tie keeps the accidental, also across the barline
            if state.get(place, signature[head.name.step]) != head.name.alter:
                shown[head.identity] = _ACCIDENTALS[head.name.alter]
            state[place] = head.name.alter
    return shown


def beams(line: Sequence[Written], bar: Measure) -> list[list[str]]:
    """Return for each chord of a voice `begin`, `continue`, `end` or a hook for each of its beams."""
    flags = [max(KINDS.index(w.value.kind) - _EIGHTH + 1, 0) if w.heads else 0 for w in line]
    half = bar.meter.length // 2
    plain = {}
    for side in (0, 1):
        within = [w for w in line if (w.value.start - bar.origin) // half == side] if half else []
        plain[side] = all(w.value.kind == "eighth" and w.value.dots == 0 and not w.value.triplet for w in within)

    def group(index: int) -> tuple[bool, int]:
        start = line[index].value.start
        return flags[index] > 0, beam_window(bar, start, plain[min((start - bar.origin) // half, 1)] if half else False)

    beams: list[list[str]] = [[] for _ in line]
    for (short, _), members in groupby(range(len(line)), key=group):
        indices = list(members)
        if not short or len(indices) < 2:
            continue
        for place, index in enumerate(indices):
            for level in range(1, flags[index] + 1):
                left = place > 0 and flags[indices[place - 1]] >= level
                right = place + 1 < len(indices) and flags[indices[place + 1]] >= level
                hook = "forward hook" if place == 0 else "backward hook"
                text = {(True, True): "continue", (True, False): "end", (False, True): "begin"}.get((left, right), hook)
                beams[index].append(text)
    return beams


def tuplets(line: Sequence[Written], bar: Measure, piece: Quantized) -> dict[int, list[str]]:
    """Return the begins and ends of triplets in a voice; each fills its pulse."""
    unit = piece.pulse
    marks: dict[int, list[str]] = {}
    threes = [(index, (w.value.start - bar.origin) // unit) for index, w in enumerate(line) if w.value.triplet]
    for _, members in groupby(threes, key=lambda entry: entry[1]):
        indices = [index for index, _ in members]
        marks.setdefault(indices[0], []).append("start")
        marks.setdefault(indices[-1], []).append("stop")
    return marks
