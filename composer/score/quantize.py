"""Quantization: the times of a performance on a grid of beats, with the rounding error.

Positions are whole numbers of `DIVISIONS` per quarter note, so that all later steps are exact.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from composer.music.notes import Note, Performance
from composer.score.beats import track_beats
from composer.score.meter import DIVISIONS, Measure, Meter, begin_with, measures, meters_of, with_meter
from composer.score.parts import Place, plan

Array = NDArray[np.float64]

# Onsets this close together are one chord: a strum, or two hands.
_CHORD_GAP_SECONDS, _CHORD_SPAN_SECONDS = 0.025, 0.065
# Agreement of the onsets on a subdivision from which a file's beats are the beats of the music.
_MIN_AGREEMENT = 0.75
# Places per beat, with the initial cost of each grid: simple ones first.
_GRIDS = {4: 0.0, 3: 4.0, 8: 6.0, 6: 9.0}
# The same for parts whose onsets are exactly on the grid: this share of them is this near, in beats, to 1/24 beat.
_FINE_GRIDS = {4: 0.0, 3: 2.0, 8: 6.0, 6: 8.0, 12: 14.0, 16: 14.0}
_MIN_FINE_SHARE, _FINE_BEATS = 0.9, 0.006
_FINE_PARTS = 24
# The same for performances: what the playing allows is written in the coarsest grid, as a pianist reads it.
_TRACKED_GRIDS = {1: 0.0, 2: 0.5, 4: 4.0, 3: 6.0, 6: 12.0, 8: 14.0}
_CELL_COST = 6.0  # two chords in one cell of the grid
_OUTLIER_COST = 9.0
# Distance before a pulse, in pulses, from which an onset belongs to it.
_BEFORE_PULSE = 0.06
# Note ends this near to the grid, in cells, are exact, if this share of a piece's ends is.
_EXACT_CELLS, _MIN_EXACT_SHARE = 0.25, 0.8


@dataclass(frozen=True, slots=True)
class GridNote:
    """A note on the grid: places in `DIVISIONS` per quarter note.

    Attributes:
        pitch: MIDI number.
        onset: place from the start of the first bar.
        duration: length until the note-off.
        exact: whether the note-off too was on the grid, so that the duration is written unchanged.
        sources: numbers of the performed notes that it represents.
        part: number of the part of the file that plays it.
    """

    pitch: int
    onset: int
    duration: int
    exact: bool
    sources: tuple[int, ...]
    part: int = 0

    @property
    def end(self) -> int:
        """Place of the note-off."""
        return self.onset + self.duration


@dataclass(frozen=True, slots=True)
class Quantized:
    """A piece on its grid.

    Attributes:
        notes: sorted by onset, then pitch.
        measures: the bars, in order, without gaps, from 0 to past the last note.
        start: place of the first bar in the file, in beats; silence before it is left out.
        places: staff and voice of each part, by `GridNote.part`.
        pulse: length of the unit of subdivision.
        triplets: for each part, places of the pulses that are divided in three or six.
        tracked: whether the beats were found in the onsets (else they are the file's own).
        beats_per_minute: median quarter notes per minute.
        mean_error_ms: mean distance by which onsets were moved, at the median tempo.
        largest_error_ms: largest distance by which an onset was moved.
        pedal: where the sustain pedal is down, (down, up) on halves of a beat.
    """

    notes: tuple[GridNote, ...]
    measures: tuple[Measure, ...]
    start: float
    places: tuple[Place, ...]
    pulse: int
    triplets: tuple[frozenset[int], ...]
    tracked: bool
    beats_per_minute: float
    mean_error_ms: float
    largest_error_ms: float
    pedal: tuple[tuple[int, int], ...] = ()


def quantize(performance: Performance, meter: Meter | None = None) -> Quantized:
    """Quantize a performance to the grid of its beats.

    Args:
        performance: at least one note.
        meter: replaces the file's or the estimate.
    """
    notes = performance.notes
    places = plan(performance)
    heads, chord_of = _chords(notes)
    onsets = np.array([note.onset_seconds for note in notes])
    # Places of all note-ons and note-offs, in beats; the place of a chord is that of its first note.
    onset_beats = np.array([note.onset_beats for note in notes])
    ends = onset_beats + [note.duration_beats for note in notes]
    tracked = _agreement(onset_beats[heads]) < _MIN_AGREEMENT
    pedal = np.array(performance.pedal, np.float64).reshape(-1, 2)
    if tracked:
        weights = np.zeros(len(heads))
        np.add.at(weights, chord_of, [_weight(note) for note in notes])
        tracked_beats = track_beats(onsets[heads], weights, _slope(onset_beats, onsets))
        onset_beats = np.interp(onsets, tracked_beats, np.arange(len(tracked_beats)))
        ends = np.interp([note.end_seconds for note in notes], tracked_beats, np.arange(len(tracked_beats)))
        low = np.full(len(heads), 127.0)
        np.minimum.at(low, chord_of, [float(note.pitch) for note in notes])
        pedal = np.interp(performance.markings.seconds(pedal), tracked_beats, np.arange(len(tracked_beats)))
        meter = meter or _triple_or_quadruple(onset_beats[heads], weights)
        shift = _downbeat(onset_beats[heads], weights, low, meter) - _whole(meter)
        onset_beats, ends, pedal = onset_beats - shift, ends - shift, pedal - shift
        meters = [(0, meter)]
    else:
        meters = meters_of(performance.markings.meters)
        if meter is not None:
            meters = with_meter(meters, meter)
    bars = measures(meters, max(int(ends.max() * DIVISIONS), 0) + 1)
    # From the bars, since the signature of an upbeat may have short pulses.
    unit = min(bar.meter.pulse for bar in bars)
    pulses = _pulses(bars, unit)
    seconds_per_beat = _slope(onset_beats, onsets)
    looseness = 2.0 if tracked else 1.0
    quantized: list[GridNote] = []
    triplets = [frozenset[int]()] * len(places)
    moved = np.zeros(len(notes))
    for members in _pools(notes, places, together=tracked):
        own = tuple(notes[index] for index in members)
        heads, chord_of = _chords(own)
        begins, releases = onset_beats[members] * DIVISIONS, ends[members] * DIVISIONS
        tolerance = looseness * max(0.02 * DIVISIONS / (seconds_per_beat * unit), 0.04)
        fine = not tracked and _on_fine_grid(begins)
        # Note-offs count only where no onset decides the division of a pulse.
        divisions = _TRACKED_GRIDS if tracked else _FINE_GRIDS if fine else _GRIDS
        silent = releases if fine and _on_fine_grid(releases) else releases[:0]
        grid = _Grid(pulses, unit, begins[heads], silent, tolerance, divisions)
        snapped = np.array([grid.snap(place) for place in begins[heads].tolist()])[chord_of]
        moved[members] = np.abs(snapped - begins) / DIVISIONS * seconds_per_beat * 1000
        found = []
        for note, index, onset, release in zip(own, members, snapped.tolist(), releases.tolist(), strict=True):
            end, least = grid.snap(release), grid.cell(onset)
            exact = not tracked and abs(release - end) <= _EXACT_CELLS * least
            found.append(GridNote(note.pitch, onset, max(end - onset, least), exact, (index,), note.part))
        if sum(note.exact for note in found) < _MIN_EXACT_SHARE * len(found):
            # A few are on the grid by chance.
            found = [replace(note, exact=False) for note in found]
        for part in {note.part for note in own}:
            triplets[part] = grid.triplets
        quantized += found
    skipped, meters = begin_with(meters, min(note.onset for note in quantized))
    quantized = [replace(note, onset=note.onset - skipped) for note in quantized]
    merged = _without_doubles(quantized, places)
    last = max(note.end for note in merged)
    return Quantized(
        notes=tuple(merged),
        measures=tuple(measures(meters, last)),
        start=0.0 if tracked else skipped / DIVISIONS,
        places=places,
        pulse=unit,
        triplets=tuple(frozenset(place - skipped for place in part) for part in triplets),
        tracked=tracked,
        beats_per_minute=60 / seconds_per_beat,
        mean_error_ms=float(moved.mean()),
        largest_error_ms=float(moved.max()),
        pedal=_pedal_marks(pedal * DIVISIONS - skipped, measures(meters, last)[-1].end),
    )


def _pedal_marks(places: Array, end: int) -> tuple[tuple[int, int], ...]:
    """Return (down, up) on halves of a beat, in order, for places (N, 2); those that come to nothing are left out.

    A pianist changes the pedal a moment after the beat: the up of one and the down of the next become one place.
    """
    step = DIVISIONS // 2
    marks: list[tuple[int, int]] = []
    for down, up in (np.rint(places / step) * step).astype(int).tolist():
        down, up = max(down, marks[-1][1] if marks else 0, 0), min(up, end)
        if up > down:
            marks.append((down, up))
    return tuple(marks)


def _pools(notes: tuple[Note, ...], places: tuple[Place, ...], *, together: bool) -> list[list[int]]:
    """Return the numbers of the notes that share a grid: those of parts with equal places, or all of a performance."""
    pools: dict[Place | None, list[int]] = {}
    for index, note in enumerate(notes):
        pools.setdefault(None if together else places[note.part], []).append(index)
    return list(pools.values())


def _chords(notes: tuple[Note, ...]) -> tuple[list[int], NDArray[np.intp]]:
    """Group notes into chords; return the first note of each chord, and each note's chord."""
    heads: list[int] = []
    chord_of: list[int] = []
    pitches: set[int] = set()
    last = -np.inf
    for index, note in enumerate(notes):
        near = note.onset_seconds - last <= _CHORD_GAP_SECONDS
        together = near and note.onset_seconds - notes[heads[-1]].onset_seconds <= _CHORD_SPAN_SECONDS
        if not together or note.pitch in pitches:
            heads.append(index)
            pitches = set()
        pitches.add(note.pitch)
        chord_of.append(len(heads) - 1)
        last = note.onset_seconds
    return heads, np.array(chord_of, dtype=np.intp)


def _weight(note: Note) -> float:
    """Return the weight of a note as a beat: high for loud, low and long notes."""
    return note.velocity / 64 * (1 + max(60 - note.pitch, 0) / 12 + min(note.duration_seconds, 1.0))


def _agreement(beats: Array) -> float:
    """Return the agreement of onsets on the halves, thirds or quarters of beats, from 0 (none) to 1 (full)."""
    return max(float(abs(np.exp(2j * np.pi * parts * beats).mean())) for parts in (2, 3, 4, 6, 8, 12))


def _slope(beats: Array, seconds: Array) -> float:
    """Return the median seconds per beat of the piece."""
    advance = np.diff(beats)
    moving = advance > 1e-6
    if not moving.any():
        return 0.5
    slopes, weights = np.diff(seconds)[moving] / advance[moving], advance[moving]
    order = np.argsort(slopes)
    middle = np.searchsorted(np.cumsum(weights[order]), weights.sum() / 2)
    return max(float(slopes[order][middle]), 1e-3)


def _whole(meter: Meter) -> int:
    return max(meter.length // DIVISIONS, 1)


def _triple_or_quadruple(beats: Array, weights: Array) -> Meter:
    """Return 3/4 if accents recur every three beats rather than every four, else 4/4."""
    accents = np.bincount(np.maximum(np.rint(beats), 0).astype(int), weights * (np.abs(beats - np.rint(beats)) < 0.1))
    accents = accents - accents.mean()

    def returning(lag: int) -> float:
        return float((accents[lag:] * accents[:-lag]).mean()) if len(accents) > 4 * lag else 0.0

    return Meter(3, 4) if returning(3) > 1.1 * max(returning(4), returning(2), 0.0) else Meter(4, 4)


def _downbeat(beats: Array, weights: Array, low: Array, meter: Meter) -> int:
    """Return the beat in the first bar on which bars begin: the one with the lowest and strongest notes."""
    length = _whole(meter)
    nearest = np.rint(beats)
    on_beat = np.abs(beats - nearest) < 0.15
    strength = np.where(on_beat, weights * (1 + np.maximum(60 - low, 0) / 12), 0.0)
    by_place = np.bincount(nearest.astype(int) % length, strength, length)
    return int(np.argmax(by_place))


def _pulses(bars: Iterable[Measure], unit: int) -> NDArray[np.int64]:
    """Return the places (U,) at which pulses begin, from the beats of each bar; the first may precede a partial bar."""
    places = [place for bar in bars for place in range(bar.start - bar.offset % unit, bar.end, unit)]
    return np.array(places, np.int64)


class _Grid:
    """The division of each pulse with onsets: the simplest one that fits.

    Performances take two rounds: in the second the cost of a division falls with its frequency in the first.
    """

    def __init__(
        self,
        pulses: NDArray[np.int64],
        unit: int,
        onsets: Array,
        releases: Array,
        tolerance: float,
        divisions: dict[int, float],
    ) -> None:
        """Choose the divisions.

        Args:
            pulses: (U,) places at which pulses begin.
            unit: length of a pulse.
            onsets: (N,) onsets in `DIVISIONS` per quarter note, one for each chord.
            releases: (M,) note-offs, which divide the pulses without onsets.
            tolerance: distance from the grid, in pulses, up to which a place fits.
            divisions: candidate numbers of parts, each with its cost.
        """
        self._pulses, self._unit = pulses, unit
        groups = self._by_pulse(onsets)
        groups = self._by_pulse(np.unique(np.rint(releases))) | groups
        costs = dict(divisions)
        self._parts: dict[int, int] = {}
        # In a written file even a rare triplet is meant.
        for _ in range(1 if divisions is _FINE_GRIDS else 2):
            for pulse, within in groups.items():
                found = np.array(within)
                self._parts[pulse] = min(costs, key=lambda parts: _misfit(found, parts, tolerance) + costs[parts])
            chosen = list(self._parts.values())
            share = {parts: chosen.count(parts) / len(chosen) for parts in costs}
            costs = {parts: divisions[parts] - 2 * float(np.log(max(share[parts], 0.02))) for parts in costs}

    @property
    def triplets(self) -> frozenset[int]:
        """Places of the pulses that are divided in three or six."""
        return frozenset(pulse for pulse, parts in self._parts.items() if parts % 3 == 0)

    def _pulse(self, place: float) -> int:
        """Return the pulse of a place; a place just before a pulse belongs to that pulse."""
        index = int(np.searchsorted(self._pulses, place + _BEFORE_PULSE * self._unit, side="right")) - 1
        if index + 1 == len(self._pulses):
            last = int(self._pulses[-1])
            return last + int((place + _BEFORE_PULSE * self._unit - last) // self._unit) * self._unit
        return int(self._pulses[max(index, 0)])

    def _by_pulse(self, places: Array) -> dict[int, list[float]]:
        """Return the places within each pulse, in pulses."""
        groups: dict[int, list[float]] = {}
        for place in places.tolist():
            pulse = self._pulse(place)
            groups.setdefault(pulse, []).append((place - pulse) / self._unit)
        return groups

    def cell(self, place: float) -> int:
        """Return the length of the divisions of the pulse at a place."""
        return self._unit // self._parts.get(self._pulse(place), 4)

    def snap(self, place: float) -> int:
        """Return the nearest place on the grid of the pulse."""
        pulse, cell = self._pulse(place), self.cell(place)
        return max(pulse + cell * round((place - pulse) / cell), 0)


def _on_fine_grid(places: Array) -> bool:
    """Return whether places, in `DIVISIONS` per quarter note, are those of a written file, not of a performance."""
    steps = places / DIVISIONS * _FINE_PARTS
    near = np.abs(steps - np.rint(steps)) <= _FINE_BEATS * _FINE_PARTS
    return float(near.mean()) >= _MIN_FINE_SHARE


def _misfit(places: Array, parts: int, tolerance: float) -> float:
    cells = np.rint(places * parts)
    missed = np.minimum(((places - cells / parts) / tolerance) ** 2, _OUTLIER_COST)
    return float(missed.sum()) + _CELL_COST * (len(places) - len(set(cells.tolist())))


def _without_doubles(notes: Iterable[GridNote], places: tuple[Place, ...]) -> list[GridNote]:
    """Merge notes of one pitch and onset in a voice, and end a note where its pitch begins again.

    Parts on separate staves or voices keep their notes: a unison of two voices is two notes.
    """
    by_pitch: dict[tuple[Place, int], list[GridNote]] = {}
    for note in sorted(notes, key=lambda note: (note.pitch, note.onset, note.sources)):
        same = by_pitch.setdefault((places[note.part], note.pitch), [])
        if same and same[-1].onset == note.onset:
            longest = max(same[-1].duration, note.duration)
            same[-1] = replace(same[-1], duration=longest, sources=same[-1].sources + note.sources)
            continue
        if same and same[-1].end > note.onset:
            same[-1] = replace(same[-1], duration=note.onset - same[-1].onset)
        same.append(note)
    return sorted((n for same in by_pitch.values() for n in same), key=lambda note: (note.onset, note.pitch, note.part))
