"""Which hand and which voice: two staves, at most two voices on each, with durations that can be read.

Pitches and onsets stay as they are. Durations change in two ways, both counted: a performer's releases are read as the
values that they stand for, and where a third voice would be needed a note is written shorter.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from composer.render.meter import DIVISIONS, Measure
from composer.render.quantize import GridNote, Quantized

# Where the staves may meet (the lowest pitch of the upper one), and what a choice costs, in semitones of discomfort.
_SPLITS = np.arange(45, 80)
_MIDDLE_C = 60
_AWAY_FROM_MIDDLE = 0.03
_LEDGER = 0.15
_STRETCH = 0.6  # a semitone more than a hand holds
_HAND = 12
# In the upper staff, in the lower (where accompaniment is held), and anywhere.
_SECOND_VOICES, _THIRD_VOICE = (0.8, 0.3), 4.0
_MOVE = 0.25
# Lowest and highest pitch that a clef writes with few ledger lines.
_CLEFS = {"G": (55, 84), "F": (36, 65)}
_CLEF_CHANGE = 24.0


@dataclass(frozen=True, slots=True)
class Placed:
    """A note as it will be written: `staff` 1 is the upper, `voice` 1 the upper of its staff."""

    note: GridNote
    staff: int
    voice: int


@dataclass(frozen=True, slots=True)
class Arrangement:
    """A piece on its staves.

    Attributes:
        placed: sorted by onset, then pitch.
        staves: 1 or 2.
        clefs: for each staff, the clef (`G` or `F`) of each measure.
        shortened: notes written shorter because a staff has two voices.
    """

    placed: tuple[Placed, ...]
    staves: int
    clefs: tuple[tuple[str, ...], ...]
    shortened: int


def arrange(piece: Quantized) -> Arrangement:
    """Divide the notes among staves and voices."""
    notes = list(piece.notes)
    staff_of = [1] * len(notes) if _one_line(notes) else _split(notes)
    placed: list[Placed] = []
    shortened = 0
    for staff in sorted(set(staff_of)):
        here = [note for note, of in zip(notes, staff_of, strict=True) if of == staff]
        written = tidy(here, piece.measures[-1].end)
        voiced = _voices(written)
        shortened += sum(a.duration > b.note.duration for a, b in zip(written, voiced, strict=True))
        placed += [replace(entry, staff=staff) for entry in voiced]
    staves = 1 if _one_line(notes) else 2
    placed.sort(key=lambda entry: (entry.note.onset, entry.note.pitch))
    clefs = tuple(_clefs([p.note for p in placed if p.staff == s + 1], piece.measures, s) for s in range(staves))
    return Arrangement(tuple(placed), staves, clefs, shortened)


def _one_line(notes: Sequence[GridNote]) -> bool:
    """Whether one staff holds it: a melody, with chords perhaps, within two and a half octaves."""
    pitches = [note.pitch for note in notes]
    if max(pitches) - min(pitches) > 30:
        return False
    ordered = sorted(notes, key=lambda note: note.onset)
    pairs = list(zip(ordered, ordered[1:], strict=False))
    held = sum(a.onset < b.onset < a.onset + a.duration * 3 // 4 for a, b in pairs)
    wide = sum(a.onset == b.onset and abs(a.pitch - b.pitch) > _HAND for a, b in pairs)
    return held + wide <= 0.05 * len(notes)


def _split(notes: Sequence[GridNote]) -> list[int]:
    """Staff of each note: the cheapest path of the place where the staves meet, by dynamic programming."""
    by_onset: dict[int, list[int]] = {}
    for index, note in enumerate(notes):
        by_onset.setdefault(note.onset, []).append(index)
    moving = _MOVE * np.abs(_SPLITS[:, None] - _SPLITS[None, :])
    total = np.zeros(len(_SPLITS))
    came_from = []
    sounding: list[GridNote] = []
    for onset, indices in by_onset.items():
        struck = [notes[index] for index in indices]
        sounding = [note for note in sounding if note.end > onset] + struck
        step = total[:, None] + moving
        best = step.argmin(axis=0)
        came_from.append(best)
        total = step[best, np.arange(len(_SPLITS))] + _discomfort(struck, sounding)
    state = int(total.argmin())
    staff_of = [1] * len(notes)
    for indices, best in zip(reversed(by_onset.values()), reversed(came_from), strict=True):
        for index in indices:
            staff_of[index] = 1 if notes[index].pitch >= _SPLITS[state] else 2
        state = int(best[state])
    return staff_of


def _discomfort(struck: Sequence[GridNote], sounding: Sequence[GridNote]) -> np.ndarray:
    """(S,) cost of each place where the staves may meet, for what sounds at one onset."""
    cost = _AWAY_FROM_MIDDLE * np.abs(_SPLITS - _MIDDLE_C).astype(float)
    for note in struck:
        upper = note.pitch >= _SPLITS
        low, high = _CLEFS["G"][0], _CLEFS["F"][1]
        cost += _LEDGER * np.where(upper, max(low - note.pitch, 0), max(note.pitch - high, 0))
    pitches = np.array([note.pitch for note in sounding])
    upper = pitches >= _SPLITS[:, None]
    for mask, second_voice in zip((upper, ~upper), _SECOND_VOICES, strict=True):
        highest = np.where(mask, pitches, -1000).max(axis=1)
        lowest = np.where(mask, pitches, 1000).min(axis=1)
        cost += _STRETCH * np.maximum(highest - lowest - _HAND, 0)
        layers = np.zeros(len(_SPLITS))
        for times in {(note.onset, note.end) for note in sounding}:
            layer = np.array([(note.onset, note.end) == times for note in sounding])
            layers += (mask & layer).any(axis=1)
        cost += second_voice * np.maximum(layers - 1, 0) + _THIRD_VOICE * np.maximum(layers - 2, 0)
    return cost


def tidy(notes: Sequence[GridNote], end: int) -> list[GridNote]:
    """Durations of one staff as they would be written, for releases that a hand (or a network) made.

    A note that nearly reaches the next onset, or overlaps it a little, ends there; a short note alone lasts to the end
    of its beat, and one that is held over ends on a beat. Exact releases stay. Nothing lasts beyond `end`.
    """
    onsets = sorted({note.onset for note in notes})
    following = dict(zip(onsets, [*onsets[1:], end], strict=True))
    written = []
    for note in notes:
        gap = following[note.onset] - note.onset
        over = note.duration - gap
        if note.exact:
            duration = note.duration
        elif over >= max(gap, DIVISIONS // 2):
            beat = round(note.end / DIVISIONS) * DIVISIONS
            duration = max(beat - note.onset, gap)
        elif over >= 0 or gap <= DIVISIONS or note.duration >= 0.6 * gap:
            duration = gap
        else:
            beat_end = (max(note.end, note.onset + 1) + DIVISIONS - 1) // DIVISIONS * DIVISIONS
            duration = min(gap, beat_end - note.onset)
        written.append(replace(note, duration=min(duration, end - note.onset)))
    return _unbroken(written)


def _unbroken(notes: Iterable[GridNote]) -> list[GridNote]:
    """Cut a note where its own pitch is struck again."""
    ordered = list(notes)
    coming: dict[int, int] = {}
    for index in range(len(ordered) - 1, -1, -1):
        note = ordered[index]
        if note.pitch in coming and note.end > coming[note.pitch]:
            ordered[index] = replace(note, duration=coming[note.pitch] - note.onset)
        coming[note.pitch] = note.onset
    return ordered


def _voices(notes: Sequence[GridNote]) -> list[Placed]:
    """Two voices: of chords that overlap the higher goes up, and where a third would be needed one is cut short."""
    chords: dict[tuple[int, int], list[int]] = {}
    for index, note in enumerate(notes):
        chords.setdefault((note.onset, note.end), []).append(index)
    keys = sorted(chords)
    wanted = _wanted(keys, {key: sum(notes[i].pitch for i in chords[key]) / len(chords[key]) for key in keys})
    running: dict[int, tuple[int, int, list[int]]] = {}  # voice: onset, end, notes
    finished: list[tuple[int, int, int, list[int]]] = []
    for key in keys:
        onset, end = key
        voice = wanted[key]
        if (
            voice in running
            and running[voice][1] > onset
            and (3 - voice not in running or running[3 - voice][1] <= onset)
        ):
            voice = 3 - voice
        members = chords[key]
        if voice in running:
            before, until, others = running.pop(voice)
            if before == onset:
                # A third duration at one onset: it joins the chord, which ends with its shorter note.
                members, end = others + members, min(until, end)
            else:
                finished.append((voice, before, min(until, onset), others))
        running[voice] = (onset, end, members)
    finished += [(voice, *chord) for voice, chord in running.items()]
    placed = {
        index: Placed(replace(notes[index], duration=end - onset), 1, voice)
        for voice, onset, end, members in finished
        for index in members
    }
    return [placed[index] for index in range(len(notes))]


def _wanted(keys: Sequence[tuple[int, int]], pitch: dict[tuple[int, int], float]) -> dict[tuple[int, int], int]:
    """For each chord (onset, end): 2 where what overlaps it is higher, else 1."""
    above = dict.fromkeys(keys, 0.0)
    open_keys: list[tuple[int, int]] = []
    for key in keys:
        open_keys = [other for other in open_keys if other[1] > key[0]]
        for other in open_keys:
            shared = min(key[1], other[1]) - key[0]
            higher = float(np.sign(pitch[other] - pitch[key])) * shared
            above[key] += higher
            above[other] -= higher
        open_keys.append(key)
    return {key: 2 if above[key] > 0 else 1 for key in keys}


def _clefs(notes: Sequence[GridNote], bars: Sequence[Measure], staff: int) -> tuple[str, ...]:
    """The clef of each bar: few ledger lines, few changes."""
    names = ("G", "F")
    strain = np.zeros((len(bars), 2))
    starts = [bar.start for bar in bars]
    for note in notes:
        bar = int(np.searchsorted(starts, note.onset, side="right")) - 1
        for column, name in enumerate(names):
            low, high = _CLEFS[name]
            strain[bar, column] += max(low - note.pitch, 0) + max(note.pitch - high, 0)
    # The usual clef of the staff, where nothing speaks against it.
    usual = staff
    strain[:, 1 - usual] += 0.5
    total, came_from = strain[0].copy(), []
    change = _CLEF_CHANGE * (1 - np.eye(2))
    for row in strain[1:]:
        step = total[:, None] + change
        came_from.append(step.argmin(axis=0))
        total = step.min(axis=0) + row
    state = int(total.argmin())
    path = [state]
    for best in reversed(came_from):
        state = int(best[state])
        path.append(state)
    return tuple(names[state] for state in reversed(path))
