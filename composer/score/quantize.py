"""From times to a grid of beats: where each note stands in a bar, and how far it was moved to stand there.

Positions are whole numbers of `DIVISIONS` a quarter note, so that nothing that follows knows of rounding.
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

# NoteArrays so close together are one chord: a strum, a pair of hands.
_CHORD_GAP_SECONDS, _CHORD_SPAN_SECONDS = 0.025, 0.065
# How much of a file's onsets must agree on a subdivision of its beats for them to be the composer's beats.
_ON_GRID = 0.75
# Places a beat, with what a grid costs before it is known how often the piece uses it: simple ones first.
_GRIDS = {4: 0.0, 3: 4.0, 8: 6.0, 6: 9.0}
# Likewise for parts whose onsets lie on the grid exactly: if this share of them is this near (in beats) to 1/24 beat.
_FINE_GRIDS = {4: 0.0, 3: 2.0, 8: 6.0, 6: 8.0, 12: 14.0, 16: 14.0}
_FINE_SHARE, _FINE_BEATS = 0.9, 0.006
_FINE_PARTS = 24
_CELL_COST = 6.0  # two chords in one cell of the grid
_OUTLIER_COST = 9.0
# How far before a pulse (in pulses) an onset still belongs to it.
_BEFORE_PULSE = 0.06
# Releases that lie this near to the grid (in cells) are as written, if this share of a piece's does.
_EXACT_CELLS, _EXACT_SHARE = 0.25, 0.8


@dataclass(frozen=True, slots=True)
class GridNote:
    """A note on the grid: places in `DIVISIONS` a quarter note.

    Attributes:
        pitch: MIDI number.
        onset: from the start of the first bar.
        duration: until the release.
        exact: whether the release too lay on the grid, so that the duration is to be read literally.
        sources: numbers of the performed notes that it stands for.
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
        """Where it is released."""
        return self.onset + self.duration


@dataclass(frozen=True, slots=True)
class Quantized:
    """A piece on its grid.

    Attributes:
        notes: sorted by onset, then pitch.
        measures: the bars, in order, without gaps, from 0 to past the last note.
        start: place of the first bar in the file, in beats; silence before it is left out.
        places: staff and voice of each part, by `GridNote.part`.
        pulse: length of what is divided in two or three.
        triplets: of each part, places of the pulses that are divided in three or six.
        tracked: whether the beats were found in the onsets (else they are the file's own).
        beats_per_minute: quarter notes a minute, the median of the piece.
        mean_error_ms: how far strikes were moved, on average, at the median tempo.
        largest_error_ms: at most.
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


def quantize(performance: Performance, meter: Meter | None = None) -> Quantized:
    """Put a performance on the grid of its beats.

    Args:
        performance: at least one note.
        meter: instead of the file's own or the estimate.
    """
    notes = performance.notes
    places = plan(performance)
    heads, chord_of = _chords(notes)
    onsets = np.array([note.onset_seconds for note in notes])
    # Places of all strikes and releases, in beats; a chord's is that of its first note.
    strikes = np.array([note.onset_beats for note in notes])
    ends = strikes + [note.duration_beats for note in notes]
    tracked = _agreement(strikes[heads]) < _ON_GRID
    if tracked:
        weights = np.zeros(len(heads))
        np.add.at(weights, chord_of, [_weight(note) for note in notes])
        taps = track_beats(onsets[heads], weights, _slope(strikes, onsets))
        strikes = np.interp(onsets, taps, np.arange(len(taps)))
        ends = np.interp([note.end_seconds for note in notes], taps, np.arange(len(taps)))
        low = np.full(len(heads), 127.0)
        np.minimum.at(low, chord_of, [float(note.pitch) for note in notes])
        meter = meter or _triple_or_quadruple(strikes[heads], weights)
        shift = _downbeat(strikes[heads], weights, low, meter) - _whole(meter)
        strikes, ends = strikes - shift, ends - shift
        meters = [(0, meter)]
    else:
        meters = meters_of(performance.markings.meters)
        if meter is not None:
            meters = with_meter(meters, meter)
    bars = measures(meters, max(int(ends.max() * DIVISIONS), 0) + 1)
    # Of the bars, since the signature of an upbeat may have short pulses.
    unit = min(bar.meter.pulse for bar in bars)
    pulses = _pulses(bars, unit)
    seconds_per_beat = _slope(strikes, onsets)
    looseness = 2.0 if tracked else 1.0
    quantized: list[GridNote] = []
    triplets = [frozenset[int]()] * len(places)
    moved = np.zeros(len(notes))
    for members in _pools(notes, places, together=tracked):
        own = tuple(notes[index] for index in members)
        heads, chord_of = _chords(own)
        begins, releases = strikes[members] * DIVISIONS, ends[members] * DIVISIONS
        tolerance = looseness * max(0.02 * DIVISIONS / (seconds_per_beat * unit), 0.04)
        fine = not tracked and _on_fine_grid(begins)
        # Releases count where nothing else says how a pulse is divided.
        silent = releases if fine and _on_fine_grid(releases) else releases[:0]
        grid = _Grid(pulses, unit, begins[heads], silent, tolerance, _FINE_GRIDS if fine else _GRIDS)
        snapped = np.array([grid.snap(place) for place in begins[heads].tolist()])[chord_of]
        moved[members] = np.abs(snapped - begins) / DIVISIONS * seconds_per_beat * 1000
        found = []
        for note, index, onset, release in zip(own, members, snapped.tolist(), releases.tolist(), strict=True):
            end, least = grid.snap(release), grid.cell(onset)
            exact = not tracked and abs(release - end) <= _EXACT_CELLS * least
            found.append(GridNote(note.pitch, onset, max(end - onset, least), exact, (index,), note.part))
        if sum(note.exact for note in found) < _EXACT_SHARE * len(found):
            # A few land on the grid by chance.
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
    )


def _pools(notes: tuple[Note, ...], places: tuple[Place, ...], *, together: bool) -> list[list[int]]:
    """Numbers of the notes that share a grid: those of parts with equal places, or all of a performance."""
    pools: dict[Place | None, list[int]] = {}
    for index, note in enumerate(notes):
        pools.setdefault(None if together else places[note.part], []).append(index)
    return list(pools.values())


def _chords(notes: tuple[Note, ...]) -> tuple[list[int], NDArray[np.intp]]:
    """NoteArrays that belong together: the first note of each chord, and each note's chord."""
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
    """How much a note sounds like a beat: loud, low and long ones do."""
    return note.velocity / 64 * (1 + max(60 - note.pitch, 0) / 12 + min(note.duration_seconds, 1.0))


def _agreement(beats: Array) -> float:
    """How far onsets agree on where a beat's halves, thirds or quarters are: 0 not at all, 1 entirely."""
    return max(float(abs(np.exp(2j * np.pi * parts * beats).mean())) for parts in (2, 3, 4, 6, 8, 12))


def _slope(beats: Array, seconds: Array) -> float:
    """Seconds a beat, the median of the piece."""
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
    """3/4 where accents come back every three beats rather than every four; 4/4 in doubt."""
    accents = np.bincount(np.maximum(np.rint(beats), 0).astype(int), weights * (np.abs(beats - np.rint(beats)) < 0.1))
    accents = accents - accents.mean()

    def returning(lag: int) -> float:
        return float((accents[lag:] * accents[:-lag]).mean()) if len(accents) > 4 * lag else 0.0

    return Meter(3, 4) if returning(3) > 1.1 * max(returning(4), returning(2), 0.0) else Meter(4, 4)


def _downbeat(beats: Array, weights: Array, low: Array, meter: Meter) -> int:
    """The beat, less than a bar from the start, on which bars begin: where low and strong notes are."""
    length = _whole(meter)
    nearest = np.rint(beats)
    on_beat = np.abs(beats - nearest) < 0.15
    strength = np.where(on_beat, weights * (1 + np.maximum(60 - low, 0) / 12), 0.0)
    by_place = np.bincount(nearest.astype(int) % length, strength, length)
    return int(np.argmax(by_place))


def _pulses(bars: Iterable[Measure], unit: int) -> NDArray[np.int64]:
    """(U,) places where pulses begin, from the beats of each bar; the first of a partial bar may begin before it."""
    places = [place for bar in bars for place in range(bar.start - bar.offset % unit, bar.end, unit)]
    return np.array(places, np.int64)


class _Grid:
    """Into how many places each pulse with onsets is divided: the simplest division that fits.

    Two rounds for what was played: in the second a division costs the less the more often the first has chosen it.
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
            pulses: (U,) where pulses begin.
            unit: length of a pulse.
            onsets: (N,) in `DIVISIONS` a quarter note, one for each chord.
            releases: (M,) what divides the pulses without onsets.
            tolerance: how far a place may be from the grid without being strange to it, in pulses.
            divisions: numbers of parts that are tried, each with its cost.
        """
        self._pulses, self._unit = pulses, unit
        groups = self._by_pulse(onsets)
        groups = self._by_pulse(np.unique(np.rint(releases))) | groups
        costs = dict(divisions)
        self._parts: dict[int, int] = {}
        # In a file that was written, a rare triplet is one all the same.
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
        """Place of the pulse that a place belongs to; what comes a moment before a pulse belongs to it."""
        index = int(np.searchsorted(self._pulses, place + _BEFORE_PULSE * self._unit, side="right")) - 1
        if index + 1 == len(self._pulses):
            last = int(self._pulses[-1])
            return last + int((place + _BEFORE_PULSE * self._unit - last) // self._unit) * self._unit
        return int(self._pulses[max(index, 0)])

    def _by_pulse(self, places: Array) -> dict[int, list[float]]:
        """Places within each pulse, in pulses."""
        groups: dict[int, list[float]] = {}
        for place in places.tolist():
            pulse = self._pulse(place)
            groups.setdefault(pulse, []).append((place - pulse) / self._unit)
        return groups

    def cell(self, place: float) -> int:
        """Length of the divisions of the pulse at a place."""
        return self._unit // self._parts.get(self._pulse(place), 4)

    def snap(self, place: float) -> int:
        """The nearest place of the pulse's own grid."""
        pulse, cell = self._pulse(place), self.cell(place)
        return max(pulse + cell * round((place - pulse) / cell), 0)


def _on_fine_grid(places: Array) -> bool:
    """Tell whether places, in `DIVISIONS` per quarter note, are those of a file that was written, not played."""
    steps = places / DIVISIONS * _FINE_PARTS
    near = np.abs(steps - np.rint(steps)) <= _FINE_BEATS * _FINE_PARTS
    return float(near.mean()) >= _FINE_SHARE


def _misfit(places: Array, parts: int, tolerance: float) -> float:
    cells = np.rint(places * parts)
    missed = np.minimum(((places - cells / parts) / tolerance) ** 2, _OUTLIER_COST)
    return float(missed.sum()) + _CELL_COST * (len(places) - len(set(cells.tolist())))


def _without_doubles(notes: Iterable[GridNote], places: tuple[Place, ...]) -> list[GridNote]:
    """One note where a pitch stands twice at one place in a voice, and no pitch struck there while it sounds.

    Parts that have staves or voices of their own keep their notes: a unison of two voices is two notes.
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
