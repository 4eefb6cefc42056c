"""Assignment of notes to staves and voices: by part (`composer.score.parts`), or by pitch into two hands.

A staff has at most two voices, with readable durations.

Pitches and onsets do not change. Durations change in two ways, both counted: the note-offs of a performer are moved to
the note values that they represent, and a note is shortened where a third voice would be needed.

One file of some 400 lines, because its parts share the notation of a staff.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from composer.score.meter import DIVISIONS, Measure
from composer.score.parts import Place
from composer.score.quantize import GridNote, Quantized

# Split points of the staves (the lowest pitch of the upper one), and the costs of a choice, in semitones of discomfort.
_SPLITS = np.arange(45, 80)
_MIDDLE_C = 60
_OFF_MIDDLE_COST = 0.03
_LEDGER_COST = 0.15
_STRETCH_COST = 0.6  # per semitone beyond the span of a hand
_MAX_HAND_SEMITONES = 12
# Beats beyond the next onset from which a performer's note is held, and not only played legato or in the pedal.
_HELD_BEATS = 2
# Costs of a second voice in the upper and the lower staff (where accompaniment is held), and of a third in either.
_SECOND_VOICE_COSTS, _THIRD_VOICE_COST = (0.8, 0.3), 4.0
_MOVE_COST = 0.25
# Lowest and highest pitch of a clef with few ledger lines. `G8` and `F8` sound an octave lower than written.
_CLEFS = {"G": (55, 84), "F": (36, 65), "C": (48, 77), "G8": (43, 72), "F8": (24, 53)}
_CLEF_CHANGE_COST = 24.0
# Cost of an unusual clef, in semitones of ledger lines per bar.
_UNUSUAL_CLEF_COST = 0.5
# Octave marks: costs, in ledger lines, of a change and of each note under an unnecessary mark; number of ledger lines
# that are easy to read.
_OCTAVE_CHANGE_COST, _OCTAVE_NEEDLESS_COST, _MAX_EASY_LEDGERS = 4.0, 1.0, 3
# Staff positions (steps from middle C) of the outer lines, by clef.
_LINES = {"G": (2, 10), "F": (-10, -2), "C": (-4, 4), "G8": (-5, 3), "F8": (-17, -9)}


@dataclass(frozen=True, slots=True)
class Placed:
    """A note on its staff: `staff` 1 is the top of the page, `voice` 1 the upper of its staff."""

    note: GridNote
    staff: int
    voice: int


@dataclass(frozen=True, slots=True)
class System:
    """The staves of one instrument, with a brace where there are two.

    Attributes:
        first: number of its upper staff, from 1.
        staves: 1 or 2.
        label: name of the instrument, or empty.
        parts_as_voices: whether two parts of the file share a staff, so that the rests of both are written.
    """

    first: int
    staves: int
    label: str
    parts_as_voices: bool


@dataclass(frozen=True, slots=True)
class Octave:
    """A passage written an octave above or below its sound.

    Attributes:
        start, end: places, in `DIVISIONS` per quarter note.
        shift: 1 for 8va (written an octave lower than it sounds), -1 for 8vb.
    """

    start: int
    end: int
    shift: int


@dataclass(frozen=True, slots=True)
class Arrangement:
    """A piece on its staves.

    Attributes:
        placed: sorted by onset, then pitch.
        systems: instruments, from the top of the page.
        clefs: for each staff, the clef (of `G`, `F`, `C`, `G8`, `F8`) of each measure.
        octaves: for each staff, its octave marks in order.
        shortened: notes written shorter because a staff has two voices.
    """

    placed: tuple[Placed, ...]
    systems: tuple[System, ...]
    clefs: tuple[tuple[str, ...], ...]
    octaves: tuple[tuple[Octave, ...], ...]
    shortened: int

    @property
    def staves(self) -> int:
        """Number of staves on the page."""
        return sum(system.staves for system in self.systems)


def arrange(piece: Quantized) -> Arrangement:
    """Divide the notes among staves and voices."""
    placed: list[Placed] = []
    systems: list[System] = []
    clefs: list[tuple[str, ...]] = []
    shortened = 0
    present = {note.part for note in piece.notes}
    for number in sorted({piece.places[part].system for part in present}):
        parts = [part for part in sorted(present) if piece.places[part].system == number]
        notes = [note for note in piece.notes if note.part in parts]
        first = len(clefs) + 1
        staff_of = _staves(notes, piece.places)
        staves = max(staff_of)
        for staff in range(1, staves + 1):
            here = [note for note, of in zip(notes, staff_of, strict=True) if of == staff]
            written, voiced = _on_staff(here, piece)
            shortened += sum(a.duration > b.note.duration for a, b in zip(written, voiced, strict=True))
            placed += [replace(entry, staff=first + staff - 1) for entry in voiced]
            allowed = (piece.places[parts[0]].clefs if staves == 1 else ()) or ("G", "F")
            usual = allowed[0] if staves == 1 else ("G", "F")[staff - 1]
            clefs.append(_clefs([entry.note for entry in voiced], piece.measures, allowed, usual))
        voices = any(piece.places[part].voice for part in parts)
        systems.append(System(first, staves, piece.places[parts[0]].label, voices))
    placed.sort(key=lambda entry: (entry.note.onset, entry.note.pitch, entry.staff, entry.voice))
    octaves = tuple(
        _octaves([entry for entry in placed if entry.staff == staff], piece.measures, bars)
        for staff, bars in enumerate(clefs, start=1)
    )
    return Arrangement(tuple(placed), tuple(systems), tuple(clefs), octaves, shortened)


def _staves(notes: Sequence[GridNote], places: Sequence[Place]) -> list[int]:
    """Return the staff of each note of a system, from 1: its part's, or one of two by pitch."""
    fixed = [places[note.part].staff for note in notes]
    if all(fixed):
        return fixed
    return [1] * len(notes) if _one_line(notes) else _split(notes)


def _on_staff(notes: list[GridNote], piece: Quantized) -> tuple[list[GridNote], list[Placed]]:
    """Return the notes of one staff with their intended durations, and in voices with their written ones."""
    bars = piece.measures
    by_voice: dict[int, list[int]] = {}
    for index, note in enumerate(notes):
        by_voice.setdefault(piece.places[note.part].voice, []).append(index)
    if set(by_voice) - {1, 2}:
        written = reduced(notes, bars) if piece.tracked else tidy(notes, bars)
        return written, _voices(written)
    wanted: dict[int, GridNote] = {}
    found: dict[int, Placed] = {}
    for voice, indices in by_voice.items():
        line = tidy([notes[index] for index in indices], bars)
        wanted.update(zip(indices, line, strict=True))
        found.update(zip(indices, _single_voice(line, voice), strict=True))
    return [wanted[index] for index in range(len(notes))], [found[index] for index in range(len(notes))]


def _single_voice(notes: Sequence[GridNote], voice: int) -> list[Placed]:
    """Write one voice: simultaneous notes are a chord that ends with its shortest note, or at the next chord."""
    onsets = sorted({note.onset for note in notes})
    following = dict(zip(onsets, [*onsets[1:], max(note.end for note in notes)], strict=True))
    length: dict[int, int] = {}
    for note in notes:
        limit = min(note.duration, following[note.onset] - note.onset)
        length[note.onset] = min(limit, length.get(note.onset, limit))
    return [Placed(replace(note, duration=length[note.onset]), 1, voice) for note in notes]


def _one_line(notes: Sequence[GridNote]) -> bool:
    """Return whether one staff suffices: a melody, also with chords, within two and a half octaves."""
    pitches = [note.pitch for note in notes]
    if max(pitches) - min(pitches) > 30:
        return False
    ordered = sorted(notes, key=lambda note: note.onset)
    pairs = list(zip(ordered, ordered[1:], strict=False))
    held = sum(a.onset < b.onset < a.onset + a.duration * 3 // 4 for a, b in pairs)
    wide = sum(a.onset == b.onset and abs(a.pitch - b.pitch) > _MAX_HAND_SEMITONES for a, b in pairs)
    return held + wide <= 0.05 * len(notes)


def _split(notes: Sequence[GridNote]) -> list[int]:
    """Return the staff of each note, by the cheapest path of the split point (dynamic programming)."""
    by_onset: dict[int, list[int]] = {}
    for index, note in enumerate(notes):
        by_onset.setdefault(note.onset, []).append(index)
    moving = _MOVE_COST * np.abs(_SPLITS[:, None] - _SPLITS[None, :])
    total = np.zeros(len(_SPLITS))
    came_from = []
    sounding: list[GridNote] = []
    for onset, indices in by_onset.items():
        starting = [notes[index] for index in indices]
        sounding = [note for note in sounding if note.end > onset] + starting
        step = total[:, None] + moving
        best = step.argmin(axis=0)
        came_from.append(best)
        total = step[best, np.arange(len(_SPLITS))] + _discomfort(starting, sounding)
    state = int(total.argmin())
    staff_of = [1] * len(notes)
    for indices, best in zip(reversed(by_onset.values()), reversed(came_from), strict=True):
        for index in indices:
            staff_of[index] = 1 if notes[index].pitch >= _SPLITS[state] else 2
        state = int(best[state])
    return staff_of


def _discomfort(starting: Sequence[GridNote], sounding: Sequence[GridNote]) -> np.ndarray:
    """Return the cost (S,) of each split point for the notes sounding at one onset."""
    cost = _OFF_MIDDLE_COST * np.abs(_SPLITS - _MIDDLE_C).astype(float)
    for note in starting:
        upper = note.pitch >= _SPLITS
        low, high = _CLEFS["G"][0], _CLEFS["F"][1]
        cost += _LEDGER_COST * np.where(upper, max(low - note.pitch, 0), max(note.pitch - high, 0))
    pitches = np.array([note.pitch for note in sounding])
    upper = pitches >= _SPLITS[:, None]
    for mask, second_voice in zip((upper, ~upper), _SECOND_VOICE_COSTS, strict=True):
        highest = np.where(mask, pitches, -1000).max(axis=1)
        lowest = np.where(mask, pitches, 1000).min(axis=1)
        cost += _STRETCH_COST * np.maximum(highest - lowest - _MAX_HAND_SEMITONES, 0)
        layers = np.zeros(len(_SPLITS))
        for times in {(note.onset, note.end) for note in sounding}:
            layer = np.array([(note.onset, note.end) == times for note in sounding])
            layers += (mask & layer).any(axis=1)
        cost += second_voice * np.maximum(layers - 1, 0) + _THIRD_VOICE_COST * np.maximum(layers - 2, 0)
    return cost


def tidy(notes: Sequence[GridNote], bars: Sequence[Measure]) -> list[GridNote]:
    """Return the notes of one staff with durations as in a score, for the note-offs of a performer or a network.

    A note that nearly reaches the next onset, or overlaps it a little, ends there; a short note alone lasts to the end
    of its beat, and one that is held over ends on a beat. Exact note-offs stay. No note lasts beyond the last of
    `bars`.
    """
    onsets = sorted({note.onset for note in notes})
    end, starts = bars[-1].end, [bar.start for bar in bars]
    following = dict(zip(onsets, [*onsets[1:], end], strict=True))
    written = []
    for note in notes:
        gap = following[note.onset] - note.onset
        over = note.duration - gap
        if note.exact:
            duration = note.duration
        elif over >= max(gap, DIVISIONS // 2):
            origin = bars[bisect_right(starts, note.end) - 1].origin
            beat = origin + round((note.end - origin) / DIVISIONS) * DIVISIONS
            duration = max(beat - note.onset, gap)
        elif over >= 0 or gap <= DIVISIONS or note.duration >= 0.6 * gap:
            duration = gap
        else:
            origin = bars[bisect_right(starts, note.onset) - 1].origin
            beats = -(-(max(note.end, note.onset + 1) - origin) // DIVISIONS)
            beat_end = origin + beats * DIVISIONS
            duration = min(gap, beat_end - note.onset)
        written.append(replace(note, duration=min(duration, end - note.onset)))
    return _unbroken(written)


def reduced(notes: Sequence[GridNote], bars: Sequence[Measure]) -> list[GridNote]:
    """Return the notes of one staff of a performance with durations that need few ties; the pedal says the rest.

    A note lasts to the next onset of its staff, or to the end of its bar. One that is held for `_HELD_BEATS` beyond the
    next onset is written as a second voice, down to a whole beat within its bar: less is the overlap of legato.
    """
    onsets = sorted({note.onset for note in notes})
    end, starts = bars[-1].end, [bar.start for bar in bars]
    following = dict(zip(onsets, [*onsets[1:], end], strict=True))
    written = []
    for note in notes:
        bar = bars[bisect_right(starts, note.onset) - 1]
        gap = following[note.onset] - note.onset
        rest = bar.end - note.onset
        duration = min(gap, rest)
        held = min(note.duration, rest)
        if held - duration >= _HELD_BEATS * DIVISIONS:
            beat = bar.origin + (note.onset + held - bar.origin) // DIVISIONS * DIVISIONS
            duration = max(beat - note.onset, duration)
        elif duration > DIVISIONS and note.duration < 0.6 * duration:
            # A short note before a long silence lasts to the end of its beat.
            beats = -(-(note.onset + max(note.duration, 1) - bar.origin) // DIVISIONS)
            duration = min(duration, bar.origin + beats * DIVISIONS - note.onset)
        written.append(replace(note, duration=duration))
    return _unbroken(written)


def _unbroken(notes: Iterable[GridNote]) -> list[GridNote]:
    """Cut each note where its pitch begins again."""
    ordered = list(notes)
    coming: dict[int, int] = {}
    for index in range(len(ordered) - 1, -1, -1):
        note = ordered[index]
        if note.pitch in coming and note.end > coming[note.pitch]:
            ordered[index] = replace(note, duration=coming[note.pitch] - note.onset)
        coming[note.pitch] = note.onset
    return ordered


def _voices(notes: Sequence[GridNote]) -> list[Placed]:
    """Divide notes into two voices: the higher of overlapping chords is the upper; a chord is cut to avoid a third."""
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
    """Return the voice of each chord (onset, end): 2 if the chords that overlap it are higher, else 1."""
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


def _clefs(notes: Sequence[GridNote], bars: Sequence[Measure], allowed: Sequence[str], usual: str) -> tuple[str, ...]:
    """Return the clef of each bar: few ledger lines, few changes, the usual clef in doubt."""
    strain = np.zeros((len(bars), len(allowed)))
    starts = [bar.start for bar in bars]
    for note in notes:
        bar = int(np.searchsorted(starts, note.onset, side="right")) - 1
        for column, name in enumerate(allowed):
            low, high = _CLEFS[name]
            strain[bar, column] += max(low - note.pitch, 0) + max(note.pitch - high, 0)
    # The usual clef of the staff is preferred.
    strain += [0.0 if name == usual else _UNUSUAL_CLEF_COST for name in allowed]
    return tuple(allowed[state] for state in _cheapest_path(strain, _CLEF_CHANGE_COST * (1 - np.eye(len(allowed)))))


def _cheapest_path(costs: NDArray[np.float64], change: NDArray[np.float64]) -> list[int]:
    """Return the states (T,) of least cost for state costs (T, S) and changes ([T,] S, S) from row to column."""
    steps = np.broadcast_to(change, (len(costs), *change.shape[-2:]))
    total, came_from = costs[0].copy(), []
    for row, step in zip(costs[1:], steps[1:], strict=True):
        reached = total[:, None] + step
        came_from.append(reached.argmin(axis=0))
        total = reached.min(axis=0) + row
    state = int(total.argmin())
    path = [state]
    for best in reversed(came_from):
        state = int(best[state])
        path.append(state)
    return path[::-1]


def _octaves(placed: Sequence[Placed], bars: Sequence[Measure], clefs: Sequence[str]) -> tuple[Octave, ...]:
    """Return the passages of a staff that are easier to read an octave away.

    A mark begins and ends where no note is held; inside a bar only where the staff has one voice, since programs read a
    bar voice by voice.
    """
    starts = [bar.start for bar in bars]
    by_onset: dict[int, list[GridNote]] = {}
    two_voices: dict[int, set[int]] = {}
    for entry in placed:
        by_onset.setdefault(entry.note.onset, []).append(entry.note)
        first, last = np.searchsorted(starts, [entry.note.onset, entry.note.end - 1], side="right") - 1
        for bar in range(int(first), int(last) + 1):
            two_voices.setdefault(bar, set()).add(entry.voice)
    onsets = sorted(by_onset)
    if not onsets:
        return ()
    shifts = (0, 1, -1)
    costs = np.zeros((len(onsets), len(shifts)))
    change = np.zeros((len(onsets), len(shifts), len(shifts)))
    sounding_until = 0
    bar_before = -1
    for row, onset in enumerate(onsets):
        bar = int(np.searchsorted(starts, onset, side="right")) - 1
        lowest, highest = _LINES[clefs[bar]]
        for column, shift in enumerate(shifts):
            for note in by_onset[onset]:
                lines = _ledgers(note.pitch - 12 * shift, lowest, highest)
                plain = _ledgers(note.pitch, lowest, highest)
                excess = max(lines - _MAX_EASY_LEDGERS, 0)
                needless = lines + _OCTAVE_NEEDLESS_COST if shift and plain <= _MAX_EASY_LEDGERS else 0
                costs[row, column] += excess + needless
        held = sounding_until > onset
        between = bar == bar_before and len(two_voices[bar]) > 1
        cost = np.inf if held or between else _OCTAVE_CHANGE_COST
        change[row] = cost
        np.fill_diagonal(change[row], 0.0)
        sounding_until = max(sounding_until, *(note.end for note in by_onset[onset]))
        bar_before = bar
    costs[0, 1:] += _OCTAVE_CHANGE_COST
    found: list[Octave] = []
    before = 0
    for onset, state in zip(onsets, _cheapest_path(costs, change), strict=True):
        shift, end = shifts[state], max(note.end for note in by_onset[onset])
        if shift and shift == before:
            found[-1] = replace(found[-1], end=max(end, found[-1].end))
        elif shift:
            found.append(Octave(onset, end, shift))
        before = shift
    return tuple(found)


def _ledgers(pitch: int, lowest: int, highest: int) -> int:
    """Return the ledger lines of a pitch on a staff whose outer lines are these steps from middle C."""
    step = 7 * (pitch // 12 - 5) + (0, 0, 1, 1, 2, 3, 3, 4, 4, 5, 5, 6)[pitch % 12]
    return max((step - highest) // 2, (lowest - step) // 2, 0)
