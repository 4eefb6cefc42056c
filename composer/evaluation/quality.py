"""Musical features, and distances between their distributions in two sets of pieces.

No figure is good or bad alone: compare it with those of the training music and of held-out music.

    N = struck notes of a piece, P, Q = parts of two sets
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from composer.evaluation.phrases import cadence, repetition
from composer.music.events import Events
from composer.music.notes import NoteArrays
from composer.music.rhythm import bar_places, grid_share, intervals

Array = NDArray[np.float64]

# Notes of the parts whose distributions are compared.
PART_NOTES = 32
# Positions per bar, as published (Wu and Yang 2020).
_POSITIONS = 64
# Edges of the histograms of times in seconds: half octaves from 1/64 to 4.
_EDGES = 2.0 ** np.arange(-6, 2.25, 0.5)
_MAJOR = np.array([1, 0, 1, 0, 1, 1, 0, 1, 0, 1, 0, 1], np.float64)
_MINOR = np.array([1, 0, 1, 1, 0, 1, 0, 1, 1, 0, 1, 0], np.float64)
_SCALES = np.stack([np.roll(scale, root) for scale in (_MAJOR, _MINOR) for root in range(12)])
# Points of the grid that two densities are compared on.
_GRID = 256


def features(piece: NoteArrays) -> dict[str, float | Array]:
    """Return the features of a piece or an excerpt: numbers, and histograms that sum to 1.

    Args:
        piece: at least 2 notes.

    Returns:
        `pitch_classes` (12,), their entropy `pitch_class_entropy` in bits (H of Wu and Yang 2020, over the whole),
        `pitch_range` in semitones, `polyphony` (pitches that sound, a mean over the time when any does; Dong et al.
        2020, MusPy), `note_density` in notes a second, `inter_onset` and `duration` histograms over half octaves of
        seconds, the first with a class for notes struck together, and `scale_consistency`, the largest share of notes
        that one major or natural minor scale holds (Mogren 2016; as in MusPy).
    """
    classes = np.bincount(piece.pitch % 12, minlength=12) / len(piece)
    gaps = np.diff(piece.onset_seconds)
    together = float((gaps <= 0).mean())
    return {
        "pitch_classes": classes,
        "pitch_class_entropy": entropy(classes),
        "pitch_range": float(piece.pitch.max() - piece.pitch.min()),
        "polyphony": polyphony(piece),
        "note_density": float(len(gaps) / max(piece.onset_seconds[-1] - piece.onset_seconds[0], 1e-3)),
        "inter_onset": np.append(histogram(gaps[gaps > 0]) * (1 - together), together),
        "duration": histogram(piece.duration_seconds),
        "scale_consistency": float((_SCALES @ classes).max()),
    }


def entropy(shares: Array) -> float:
    """Return the entropy in bits of shares that sum to 1."""
    positive = shares[shares > 0]
    return float(-(positive * np.log2(positive)).sum()) + 0.0


def histogram(seconds: Array) -> Array:
    """Return shares of times in bins of half octaves; the outer bins are open, and without times all are 0."""
    counts = np.bincount(np.clip(np.digitize(seconds, _EDGES) - 1, 0, len(_EDGES) - 2), minlength=len(_EDGES) - 1)
    return np.asarray(counts / max(len(seconds), 1))


def polyphony(piece: NoteArrays) -> float:
    """Return the pitches that sound at once, a mean over the time when any does; 0 where no note lasts.

    MusPy counts time steps; here time is exact. A pitch struck while it sounds is released first (`music/notes.py`), so
    notes are pitches.
    """
    any_time, _ = _sounding_seconds(piece)
    return float(piece.duration_seconds.sum()) / any_time if any_time > 0 else 0.0


def silence(piece: NoteArrays) -> float:
    """Return the share of the time from the first onset to the end of the last note when nothing sounds."""
    any_time, whole = _sounding_seconds(piece)
    return max(1 - any_time / whole, 0.0) if whole > 0 else 0.0


def _sounding_seconds(piece: NoteArrays) -> tuple[float, float]:
    """Return the time in which any note sounds, and the time from the first onset to the end of the last note."""
    start, end = piece.onset_seconds, piece.onset_seconds + piece.duration_seconds
    times = np.concatenate([start, end])
    order = np.argsort(times, kind="stable")
    sounding = np.cumsum(np.repeat([1, -1], len(start))[order])[:-1]
    lasting = np.diff(times[order])
    return float(lasting[sounding > 0].sum()), float(times.max() - times.min())


def groove_similarity(piece: NoteArrays) -> float | None:
    """Return how similar the onsets of the bars are: GS of Wu and Yang 2020, the mean over all pairs of bars.

    1 less the share of the 64 positions of a bar at which a note begins in one of two bars and not in the other. Bars
    are those of the piece's metre, in a performance that was not played to it those of its tempo map.

    Returns:
        None below two bars.
    """
    places = bar_places(piece.markings, piece.onset_beats)
    # Onsets a rounding error before a position belong to it.
    position = np.minimum((places.offset / places.length * _POSITIONS + 1e-6).astype(np.int64), _POSITIONS - 1)
    _, bar = np.unique(np.round(places.start, 3), return_inverse=True)
    bars = int(bar.max()) + 1 if len(bar) else 0
    if bars < 2:
        return None
    onsets = np.zeros((bars, _POSITIONS))
    onsets[bar, position] = 1
    # Of two rows of zeros and ones the number of differing places is |a| + |b| - 2 ab.
    sizes = onsets.sum(1)
    differing = sizes[:, None] + sizes[None] - 2 * onsets @ onsets.T
    return float(1 - differing[np.triu_indices(bars, 1)].mean() / _POSITIONS)


@dataclass(frozen=True, slots=True)
class Heard:
    """Ranges of the training music.

    Attributes:
        pitch_low, pitch_high: the lowest and the highest pitch.
        velocities: (128,) whether a note has it.
        longest_seconds: the longest note; None where no note lasts.
    """

    pitch_low: int
    pitch_high: int
    velocities: NDArray[np.bool_]
    longest_seconds: float | None

    @classmethod
    def of(cls, pieces: Sequence[NoteArrays]) -> Heard | None:
        """Return the ranges of pieces; None where they have no note."""
        pieces = [piece for piece in pieces if len(piece)]
        if not pieces:
            return None
        pitch = np.concatenate([piece.pitch for piece in pieces])
        velocities = np.zeros(128, np.bool_)
        velocities[np.concatenate([piece.velocity for piece in pieces])] = True
        longest = max(float(piece.duration_seconds.max()) for piece in pieces)
        return cls(int(pitch.min()), int(pitch.max()), velocities, longest or None)


def measures(piece: NoteArrays, heard: Heard | None) -> dict[str, float]:
    """Return the figures of a piece, or of a part of one, that are fast to compute, by the keys of `legend.QUALITY`.

    Args:
        piece: at least 2 notes.
        heard: ranges of the training music; without them the figures that need them are left out.

    Returns:
        Numbers in the units of `legend.QUALITY`, shares from 0 to 1. What a piece has no occasion for is left out.
    """
    found: dict[str, float | None] = {}
    gaps = intervals(piece.onset_beats)
    places = bar_places(piece.markings, piece.onset_beats)
    found["on_grid"] = grid_share(gaps)
    found["on_beat"] = float(places.on_beat.mean())
    found["on_bar"] = float(places.on_bar.mean())
    found["groove_similarity"] = groove_similarity(piece)
    found["repetition"] = repetition(piece, rhythm=False)
    found["repetition_rhythm"] = repetition(piece, rhythm=True)
    found["cadence"] = cadence(piece)
    found |= {key: float(value) for key, value in features(piece).items() if np.ndim(value) == 0}
    found["silence"] = silence(piece)
    if heard is not None:
        found["pitch_outside"] = float(((piece.pitch < heard.pitch_low) | (piece.pitch > heard.pitch_high)).mean())
        found["velocity_unheard"] = float((~heard.velocities[piece.velocity]).mean())
    return {key: value for key, value in found.items() if value is not None}


def distances(ones: Sequence[float | Array], others: Sequence[float | Array] | None = None) -> Array:
    """Return Euclidean distances of a feature between all pairs of one set, or of two sets."""
    rows = np.array([np.atleast_1d(value) for value in ones])
    columns = rows if others is None else np.array([np.atleast_1d(value) for value in others])
    apart: Array = np.linalg.norm(rows[:, None] - columns[None], axis=2)
    if others is None:
        apart = apart[np.triu_indices(len(rows), 1)]
    return apart.ravel()


def likeness(ones: Sequence[Mapping[str, float | Array]], others: Sequence[Mapping[str, float | Array]]) -> Likeness:
    """Return the similarity of two sets, feature by feature.

    Yang and Lerch 2018, "On the evaluation of generative models in music": the density of the distances within the
    first set is compared with that of the distances from the first to the second, by the overlapping area and by the
    Kullback-Leibler divergence of the second from the first. Densities are Gaussian kernel estimates (Scott's
    bandwidth), here both on one grid that holds both: the authors' program takes each on a grid of its own for the
    divergence, which then compares different places.

    Args:
        ones: features of P parts, at least 3, for example of the training music.
        others: features of Q parts, at least 1.
    """
    overlap, divergence = {}, {}
    for key in ones[0]:
        within = distances([part[key] for part in ones])
        between = distances([part[key] for part in ones], [part[key] for part in others])
        overlap[key], divergence[key] = compare_densities(within, between)
    return Likeness(overlap, divergence)


@dataclass(frozen=True, slots=True)
class Likeness:
    """By figure the overlapping area, from 0 to 1 (equal), and the divergence in nats, from 0 (equal)."""

    overlap: dict[str, float]
    divergence: dict[str, float]


def compare_densities(ones: Array, others: Array) -> tuple[float, float]:
    """Return the overlapping area of the densities of two samples, and KL(first, second) in nats, on one grid."""
    low, high = min(ones.min(), others.min()), max(ones.max(), others.max())
    if high - low < 1e-9:
        return 1.0, 0.0
    # A sample whose values are all the same has no width of its own.
    least = (high - low) / 100
    widths = [
        max(sample.std(ddof=1) * len(sample) ** -0.2 if len(sample) > 1 else 0.0, least) for sample in (ones, others)
    ]
    grid = np.linspace(low - 4 * max(widths), high + 4 * max(widths), _GRID)
    logs = [_log_density(sample, width, grid) for sample, width in zip((ones, others), widths, strict=True)]
    # As shares of the grid: cut off at its ends, or coarse beside a narrow kernel, both still sum to 1.
    p, q = (np.exp(log - log.max()) for log in logs)
    p, q = p / p.sum(), q / q.sum()
    log_ratio = logs[0] - np.logaddexp.reduce(logs[0]) - (logs[1] - np.logaddexp.reduce(logs[1]))
    return float(np.minimum(p, q).sum()), float((p * log_ratio).sum())


def _log_density(sample: Array, width: float, grid: Array) -> Array:
    # In logarithms: far from a sample its density is too small for a number, and the divergence needs its ratio.
    exponents = -0.5 * ((grid[:, None] - sample[None]) / width) ** 2
    return np.asarray(np.logaddexp.reduce(exponents, axis=1) - np.log(len(sample) * width))


# Collapse

# Shares above which one pitch, or one time, dominates.
_PITCH_SHARE, _TIME_SHARE = 0.9, 0.98
# A loop: a run of up to `_LOOP` events that ends the piece this often, over at least `_LOOP_EVENTS` events.
_LOOP, _LOOP_TIMES, _LOOP_EVENTS = 64, 4, 32


@dataclass(frozen=True, slots=True)
class Monotony:
    """Signs of a collapsed network in its music.

    Attributes:
        pitch: share of the commonest pitch among the struck notes.
        time: share of the commonest time between two events.
        loop: times that the same run of events is repeated.
    """

    pitch: float
    time: float
    loop: float


def monotony(events: Events, *, anywhere: bool = False) -> Monotony:
    """Measure the monotony of a piece.

    Args:
        events: of a piece with at least one struck note.
        anywhere: find the longest loop anywhere, not only at the end: for music that did not collapse.
    """
    struck = events.pitch[events.velocity > 0]
    _, times = np.unique(events.delta_time, return_counts=True)
    pitch = float(np.bincount(struck).max() / len(struck))
    return Monotony(pitch, float(times.max() / len(events)), _loop(events, anywhere))


def _loop(events: Events, anywhere: bool) -> float:
    rows = np.stack([events.pitch, events.velocity, events.delta_time], axis=1)
    most = 1.0
    for period in range(1, min(_LOOP, len(rows) // 2) + 1):
        differs = np.flatnonzero((rows[period:] != rows[:-period]).any(1))
        ends = np.append(differs, len(rows) - period)
        runs = np.diff(ends, prepend=-1) - 1
        same = int(runs.max() if anywhere else runs[-1])
        if same + period >= _LOOP_EVENTS:
            most = max(most, 1 + same / period)
    return most


def collapse(found: Monotony, usual: Monotony) -> str:
    """Return why a piece sounds collapsed; empty if it does not, or if the training music does too."""
    reasons = []
    if found.pitch >= _PITCH_SHARE and found.pitch > usual.pitch:
        reasons.append(f"one pitch makes {found.pitch:.0%} of its notes ({usual.pitch:.0%} in the training music)")
    if found.time >= _TIME_SHARE and found.time > usual.time:
        reasons.append(f"one time makes {found.time:.0%} of its times ({usual.time:.0%} in the training music)")
    if found.loop >= _LOOP_TIMES and found.loop > usual.loop:
        reasons.append(
            f"it ends in a loop, the same events {found.loop:.0f} times ({usual.loop:.0f} in the training music)"
        )
    return "; ".join(reasons)
