"""Assignment of the parts of a file to staves: one system per instrument, with one or two staves.

The parts are those of `composer.music.midi.read_parts`. Keyboard parts that each fit one hand share a grand staff,
single lines share it as voices (closed score), a single line above two hands is a soloist, and every other instrument
has its own staff. Nothing here depends on the grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from composer.music.midi import FAMILIES
from composer.music.notes import Note, Performance

# General MIDI programs from 0 of instruments with two staves: pianos, organs, harp.
_KEYBOARDS = frozenset([*range(8), *range(16, 24), 46])
_CHOIR = frozenset([52, 53, 54])
_GUITARS = range(24, 32)
_VIOLA = 41
# Notes of a single line may overlap for a quarter of the first, as in legato, and a few may form chords.
_LEGATO, _MAX_CHORD_SHARE = 0.25, 0.05
# Semitones that one hand spans, and the share of moments with two or more notes at which one hand's part exceeds it.
_MAX_HAND_SEMITONES, _MAX_WIDE_SHARE = 16, 0.25
# Lines that share a grand staff, two on a staff.
_MAX_CLOSED_LINES = 4
# Staves of one page of a score; more parts are reduced to a grand staff.
_MAX_STAVES = 20
_MIDDLE_C = 60
# Mean pitch below which a part is written in the bass clef an octave lower, as double basses are.
_MAX_CONTRABASS_PITCH = 41
# Range in semitones above which many parts of one instrument together are written for two hands.
_MAX_PART_SEMITONES = 36
# Onsets within this many beats are simultaneous.
_CHORD_BEATS = 0.02


@dataclass(frozen=True, slots=True)
class Place:
    """System, staff and voice of a part of the file.

    Attributes:
        system: number of its instrument, from 0 at the top of the page.
        staff: 1 for the upper and 2 for the lower staff of the system; 0: chosen note by note.
        voice: 1 or 2; 0: chosen note by note.
        label: name of the instrument, printed where there are several.
        clefs: clefs that its staff may use; empty: those of keyboard music.
    """

    system: int
    staff: int = 0
    voice: int = 0
    label: str = ""
    clefs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Part:
    """Traits of a part: its number in the file, mean pitch, whether it is a single line, and fits one hand."""

    number: int
    program: int
    pitch: float
    lowest: int
    highest: int
    single: bool
    one_hand: bool


def plan(performance: Performance) -> tuple[Place, ...]:
    """Return the place of each part of a performance, by part number.

    Args:
        performance: at least one note; a single part is not divided here.

    Returns:
        (P,) places, for parts 0 to P - 1. Parts with equal places share staves and voices.
    """
    count = max(note.part for note in performance.notes) + 1
    by_part: list[list[Note]] = [[] for _ in range(count)]
    for note in performance.notes:
        by_part[note.part].append(note)
    programs = performance.programs or (performance.program,) * count
    parts = [_describe(number, programs[number], notes) for number, notes in enumerate(by_part) if notes]
    free = (Place(0),) * count
    if len(parts) < 2:
        return free
    choir = all(part.program in _CHOIR and part.single for part in parts) and len(parts) <= _MAX_CLOSED_LINES
    systems: list[list[tuple[int, int, int]]] = []  # of each system: (part, staff, voice)
    grouped: set[int] = set()
    for part in parts:
        if part.number in grouped:
            continue
        if choir or part.program in _KEYBOARDS:
            same = parts if choir else [other for other in parts if other.program == part.program]
            grouped.update(other.number for other in same)
            systems += _keyboard(same)
        else:
            wide = part.highest - part.lowest > _MAX_PART_SEMITONES and not part.one_hand
            systems.append([(part.number, 0 if wide else 1, 0)])
    if sum(max(max(staff for _, staff, _ in system), 1) for system in systems) > _MAX_STAVES:
        return free
    places = list(free)
    described = {part.number: part for part in parts}
    for number, system in enumerate(systems):
        for which, staff, voice in system:
            part = described[which]
            alone = len(system) == 1 and staff == 1
            label = FAMILIES[part.program // 8].replace("_", " ").capitalize() if len(systems) > 1 else ""
            places[which] = Place(number, staff, voice, label, _clefs(part) if alone else ())
    return tuple(places)


def _keyboard(parts: Sequence[_Part]) -> list[list[tuple[int, int, int]]]:
    """Return the systems, as (part, staff, voice), of parts of one kind of keyboard instrument (or of a choir)."""
    hands = [part for part in parts if part.one_hand]
    systems = [[(part.number, 0, 0)] for part in parts if not part.one_hand]
    singles = [part for part in hands if part.single]
    by_pitch = sorted(hands, key=lambda part: -part.pitch)
    if len(hands) == 1:
        return [*systems, [(hands[0].number, 0, 0)]]
    if len(hands) > _MAX_CLOSED_LINES and len(singles) == len(hands):
        return [*systems, *([(part.number, 1, 0)] for part in hands)]
    if len(hands) == 3 and len(singles) < 3 and hands[0].single:
        upper, lower = sorted(hands[1:], key=lambda part: -part.pitch)
        return [*systems, [(hands[0].number, 1, 0)], [(upper.number, 1, 0), (lower.number, 2, 0)]]
    if not hands:
        return systems
    # The upper staff ends where the parts' pitches are farthest apart, or halves four lines.
    cuts = range(1, len(by_pitch))
    if len(by_pitch) == _MAX_CLOSED_LINES:
        cut = 2
    elif len(by_pitch) > _MAX_CLOSED_LINES:
        cut = min(max(sum(part.pitch >= _MIDDLE_C for part in by_pitch), 1), len(by_pitch) - 1)
    else:
        cut = max(cuts, key=lambda cut: by_pitch[cut - 1].pitch - by_pitch[cut].pitch)
    system: list[tuple[int, int, int]] = []
    for staff, members in ((1, by_pitch[:cut]), (2, by_pitch[cut:])):
        voices = len(members) == 2 and all(part.single for part in members)
        system += [(part.number, staff, order if voices else 0) for order, part in enumerate(members, start=1)]
    return [*systems, system]


def _describe(number: int, program: int, notes: Sequence[Note]) -> _Part:
    ordered = sorted(notes, key=lambda note: (note.onset_beats, note.pitch))
    chords = 0
    for before, note in zip(ordered, ordered[1:], strict=False):
        together = note.onset_beats - before.onset_beats < _CHORD_BEATS
        held = note.onset_beats < before.onset_beats + (1 - _LEGATO) * before.duration_beats
        chords += (together and note.pitch != before.pitch) or (held and not together)
    wide, several = 0, 0
    sounding: list[Note] = []
    for index, note in enumerate(ordered):
        sounding = [n for n in sounding if n.onset_beats + n.duration_beats > note.onset_beats + _CHORD_BEATS] + [note]
        last = index + 1 == len(ordered) or ordered[index + 1].onset_beats - note.onset_beats >= _CHORD_BEATS
        if last and len(sounding) > 1:
            several += 1
            wide += max(n.pitch for n in sounding) - min(n.pitch for n in sounding) > _MAX_HAND_SEMITONES
    pitches = [note.pitch for note in notes]
    return _Part(
        number,
        program,
        sum(pitches) / len(pitches),
        min(pitches),
        max(pitches),
        chords <= _MAX_CHORD_SHARE * len(notes),
        wide <= _MAX_WIDE_SHARE * max(several, 1),
    )


def _clefs(part: _Part) -> tuple[str, ...]:
    """Return the clefs of an instrument with one staff, the usual one first."""
    if part.program in _GUITARS:
        return ("G8",)
    if part.program == _VIOLA:
        return ("C", "G")
    if part.program not in _KEYBOARDS and part.pitch < _MAX_CONTRABASS_PITCH:
        return ("F8",)
    return ("G", "F") if part.pitch >= _MIDDLE_C else ("F", "G")
