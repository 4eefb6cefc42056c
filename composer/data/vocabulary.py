"""The vocabulary: an event as one class in each of three channels, and back.

    note      pitch - pitch_low              0 .. pitch_high - pitch_low
    velocity  the velocity itself            0 .. 127   (0 is a note-off)
              with B bins: 0 for 0, else 1 + floor((velocity - 1) B / 127)
    time      0: exactly 0;  k >= 1: time_edges[k-1] <= time < time_edges[k], the last class open above

The article's vocabulary is pitches 24..112 (89 classes), 128 velocities, and ten equal intervals of the positive times
[min, max], class = 1 + floor((time - min) / width), so that class 11 holds time = max alone: 89 + 128 + 12 = 229.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.config.data import EncodingConfig, TimeBinning, TimeUnit
from composer.errors import ComposerError
from composer.music.events import Events

VELOCITIES = 128
_KMEANS_ROUNDS = 100


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The meaning of each class: fitted by `fit`, saved in the checkpoint as plain values.

    Attributes:
        time_edges: lower edge of each positive time class, ascending, in `time_unit`.
        time_values: time that each class decodes to, class 0 first: the mean of its training members; for a class
            without any, the middle of its interval.
        velocity_values: with binned velocities, the velocity that each class decodes to, class 0 first, likewise; empty
            where each velocity is a class.
    """

    pitch_low: int
    pitch_high: int
    time_unit: TimeUnit
    time_edges: tuple[float, ...]
    time_values: tuple[float, ...]
    velocity_values: tuple[int, ...] = ()

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Number of classes of the note, velocity and time channels."""
        velocities = len(self.velocity_values) or VELOCITIES
        return (self.pitch_high - self.pitch_low + 1, velocities, len(self.time_edges) + 1)

    def encode(self, events: Events) -> NDArray[np.uint8]:
        """Return the classes of events.

        A time below the first edge is of class 1, a time above the training maximum of the last class.

        Args:
            events: N events in the vocabulary's time unit.

        Returns:
            (N, 3) classes.

        Raises:
            ComposerError: a pitch lies outside the range, or the unit differs.
        """
        if events.time_unit is not self.time_unit:
            raise ComposerError(
                f"encoding.time_unit={self.time_unit.name}: the events are in {events.time_unit.name}; read them again"
            )
        outside = (events.pitch < self.pitch_low) | (events.pitch > self.pitch_high)
        if outside.any():
            low, high = int(events.pitch.min()), int(events.pitch.max())
            raise ComposerError(
                f"{int(outside.sum())} of {len(events)} events lie outside the encoding's pitches "
                f"{self.pitch_low}..{self.pitch_high} (the piece has {low}..{high}); encoding=full takes every pitch"
            )
        velocities = self.velocity_classes(events.velocity)
        classes = [events.pitch - self.pitch_low, velocities, self.time_classes(events.delta_time)]
        return np.stack(classes, axis=1).astype(np.uint8)

    def decode(self, classes: NDArray[Any]) -> Events:
        """Return the events of classes (N, 3); times and binned velocities are the values of their classes."""
        velocity = classes[:, 1]
        if self.velocity_values:
            velocity = np.asarray(self.velocity_values)[velocity]
        return Events(
            (classes[:, 0] + self.pitch_low).astype(np.uint8),
            velocity.astype(np.uint8),
            np.asarray(self.time_values, np.float64)[classes[:, 2]],
            self.time_unit,
        )

    def velocity_classes(self, velocity: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the classes of velocities of any shape."""
        return _binned(velocity, len(self.velocity_values) - 1) if self.velocity_values else velocity

    def time_classes(self, delta_time: NDArray[np.float64]) -> NDArray[np.uint8]:
        """Return the classes of times of any shape, in the vocabulary's unit."""
        # Without edges there was no positive time in training: all times are class 0.
        lowest = min(1, len(self.time_edges))
        positive = np.maximum(lowest, np.searchsorted(self.time_edges, delta_time, side="right"))
        return np.where(delta_time > 0, positive, 0).astype(np.uint8)

    def time_error(self, times: NDArray[np.float64], counts: NDArray[np.int64] | None = None) -> TimeError:
        """Return the error that encoding and decoding adds to positive times.

        Args:
            times: (U,) times in the vocabulary's unit; zeros are ignored.
            counts: (U,) number of occurrences of each; None is one.
        """
        counts = np.ones(len(times), np.int64) if counts is None else counts
        occurring = (counts > 0) & (times > 0)
        times, counts = times[occurring], counts[occurring]
        if not len(times):
            return TimeError(0.0, 0.0, self.time_unit)
        errors = np.abs(np.asarray(self.time_values)[self.time_classes(times)] - times) * 1000
        return TimeError(float(np.average(errors, weights=counts)), float(errors.max()), self.time_unit)

    def to_plain(self) -> dict[str, Any]:
        """Return plain values for a checkpoint."""
        plain: dict[str, Any] = {
            "pitch_low": self.pitch_low,
            "pitch_high": self.pitch_high,
            "time_unit": self.time_unit.name,
            "time_edges": list(self.time_edges),
            "time_values": list(self.time_values),
        }
        return plain | ({"velocity_values": list(self.velocity_values)} if self.velocity_values else {})

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Vocabulary:
        """Return the vocabulary of plain values: the inverse of `to_plain`.

        Raises:
            ComposerError: the values do not describe a vocabulary.
        """
        try:
            edges = tuple(float(edge) for edge in plain["time_edges"])
            values = tuple(float(value) for value in plain["time_values"])
            unit = TimeUnit[plain["time_unit"]]
            velocities = tuple(int(value) for value in plain.get("velocity_values", ()))
            low, high = int(plain["pitch_low"]), int(plain["pitch_high"])
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ComposerError(f"the checkpoint's vocabulary is damaged ({error!r})") from error
        # Equal edges are the empty classes of times that lie a few rounding steps apart.
        ascending = all(a <= b for a, b in zip(edges, edges[1:], strict=False))
        finite = all(math.isfinite(value) and value >= 0 for value in (*edges, *values))
        audible = all(0 < value < VELOCITIES for value in velocities[1:])
        if velocities and not (velocities[0] == 0 and 2 <= len(velocities) <= VELOCITIES and audible):
            raise ComposerError("the checkpoint's vocabulary is damaged (its velocities are none)")
        if not (0 <= low <= high <= 127 and len(values) == len(edges) + 1 <= 256 and ascending and finite):
            raise ComposerError("the checkpoint's vocabulary is damaged (its values contradict each other)")
        return cls(low, high, unit, edges, values, velocities)


@dataclass(frozen=True, slots=True)
class TimeError:
    """Round-trip error of the positive times, in thousandths of the unit (milliseconds, or thousandths of a beat)."""

    mean: float
    maximum: float
    unit: TimeUnit

    def __str__(self) -> str:
        unit = "ms" if self.unit is TimeUnit.seconds else "thousandths of a beat"
        return f"mean {self.mean:.2f}, largest {self.maximum:.2f} {unit}"


@dataclass(frozen=True, slots=True)
class Fitted:
    """A vocabulary with its errors on the training events that it was fitted to.

    Attributes:
        time_error: round-trip error of their times.
        longest: the longest of these times; longer times are in its class.
    """

    vocabulary: Vocabulary
    time_error: TimeError
    longest: float


def fit(
    config: EncodingConfig,
    times: NDArray[np.float64],
    counts: NDArray[np.int64] | None = None,
    velocities: NDArray[np.int64] | None = None,
) -> Vocabulary:
    """Fit the time classes and the values of binned velocities to the training events; pitches need no fitting.

    Args:
        config: the range of pitches and the binning of times.
        times: (U,) times since the previous event of the training events alone, in `config.unit`; they may repeat.
        counts: (U,) number of occurrences of each; None is one.
        velocities: (128,) occurrences of each velocity; without them binned ones decode to the middles of their
            classes.
    """
    counts = np.ones(len(times), np.int64) if counts is None else counts
    occurring = (counts > 0) & (times > 0)
    times, counts = times[occurring], counts[occurring]
    order = np.argsort(times, kind="stable")
    times, counts = times[order], counts[order]
    distinct, inverse = np.unique(times, return_inverse=True)
    often = np.bincount(inverse, counts, len(distinct)).astype(np.int64)
    if config.time_binning is TimeBinning.distinct:
        return _vocabulary(config, *_distinct_classes(config, distinct, often), velocities)
    ranks = np.arange(config.bins) * int(counts.sum()) // config.bins
    ranked = times[np.searchsorted(np.cumsum(counts), ranks, side="right")] if len(times) else times
    edges = _edges(config, distinct, often, ranked)
    return _vocabulary(config, edges, _class_means(times, counts, edges), velocities)


def _vocabulary(
    config: EncodingConfig, edges: list[float], values: list[float], velocities: NDArray[np.int64] | None
) -> Vocabulary:
    decoded = () if config.velocity_bins is None else _velocity_values(config.velocity_bins, velocities)
    return Vocabulary(config.pitch_low, config.pitch_high, config.unit, tuple(edges), (0.0, *values), decoded)


def _binned(velocity: NDArray[np.uint8], bins: int) -> NDArray[np.uint8]:
    """Return class 0 for velocity 0, and classes 1 to `bins` for 1 to 127."""
    classes = 1 + (velocity.astype(np.int64) - 1) * bins // (VELOCITIES - 1)
    return np.where(velocity > 0, classes, 0).astype(np.uint8)


def _velocity_values(bins: int, counts: NDArray[np.int64] | None) -> tuple[int, ...]:
    """Return the value of each class: the rounded mean of its members; without any, of all velocities of the class.

    Args:
        bins: classes besides that of 0.
        counts: (128,) occurrences of each velocity; None is 0 for all.
    """
    velocities = np.arange(VELOCITIES, dtype=np.uint8)
    classes = _binned(velocities, bins)
    values = [0]
    for k in range(1, bins + 1):
        own = classes == k
        often = None if counts is None or not counts[own].any() else counts[own]
        values.append(round(float(np.average(velocities[own], weights=often))))
    return tuple(values)


def _edges(
    config: EncodingConfig, distinct: NDArray[np.float64], counts: NDArray[np.int64], ranked: NDArray[np.float64]
) -> list[float]:
    """Return the lower edges of the classes of positive times.

    Args:
        config: the kind of binning.
        distinct: (U,) the distinct times in rising order.
        counts: (U,) number of occurrences of each; used by k-means only.
        ranked: (time_bins,) the quantiles of all times.
    """
    bins = config.bins
    if not len(distinct):
        return []
    if config.time_binning is TimeBinning.equal_width:
        return _equal_width_edges(float(distinct[0]), float(distinct[-1]), bins)
    if len(distinct) <= bins:
        return [float(edge) for edge in distinct]
    if config.time_binning is TimeBinning.quantile:
        # Merge equal edges.
        return [float(edge) for edge in np.unique(ranked)]
    return _kmeans_edges(distinct, counts, bins)


def _distinct_classes(
    config: EncodingConfig, distinct: NDArray[np.float64], counts: NDArray[np.int64]
) -> tuple[list[float], list[float]]:
    """Return edges and values of one class per occurring time, so that times on a grid stay on it.

    If there are more than `time_bins` distinct times, the most frequent and the longest have a class; any other time is
    in the class of the nearest.
    """
    if len(distinct) > config.bins:
        # The most frequent first; of equally frequent times the shorter.
        order = np.argsort(-counts[:-1], kind="stable")[: config.bins - 1]
        distinct = distinct[np.sort(np.append(order, len(distinct) - 1))]
    between = (distinct[1:] + distinct[:-1]) / 2
    return [float(edge) for edge in (*distinct[:1], *between)], distinct.tolist()


def _equal_width_edges(low: float, high: float, bins: int) -> list[float]:
    """Return edges such that the class of t is exactly 1 + floor((t - low) / width) in floating point."""
    width = (high - low) / bins
    if width == 0:
        return [low]
    edges = [low]
    for k in range(1, bins + 1):
        edge = low + k * width
        # low + k * width may miss the first float of its class by a rounding step.
        while math.floor((edge - low) / width) < k:
            edge = math.nextafter(edge, math.inf)
        while math.floor((math.nextafter(edge, -math.inf) - low) / width) >= k:
            edge = math.nextafter(edge, -math.inf)
        edges.append(edge)
    # Where rounding puts the maximum below the last class, that class is empty, as with the formula.
    return edges


def _kmeans_edges(distinct: NDArray[np.float64], counts: NDArray[np.int64], bins: int) -> list[float]:
    """Return edges midway between the centres of Lloyd's algorithm, started at the quantiles of the distinct times."""
    centres = distinct[(np.arange(bins) * 2 + 1) * len(distinct) // (2 * bins)]
    for _ in range(_KMEANS_ROUNDS):
        member = np.searchsorted((centres[1:] + centres[:-1]) / 2, distinct, side="right")
        weights = np.bincount(member, counts, len(centres))
        sums = np.bincount(member, counts * distinct, len(centres))
        moved = (sums / np.maximum(weights, 1))[weights > 0]
        if len(moved) == len(centres) and np.array_equal(moved, centres):
            break
        centres = moved
    return [float(edge) for edge in (distinct[0], *((centres[1:] + centres[:-1]) / 2))]


def _class_means(times: NDArray[np.float64], counts: NDArray[np.int64], edges: list[float]) -> list[float]:
    """Return the mean of the members of each class of positive times (U,), rising, that occur `counts` (U,) times."""
    member = np.searchsorted(edges, times, side="right") - 1
    means = []
    for k, edge in enumerate(edges):
        inside = times[member == k]
        following = edges[k + 1] if k + 1 < len(edges) else edge
        if len(inside):
            # Rounding must not move the mean out of its members' range, and so into another class.
            mean = np.average(inside, weights=counts[member == k])
            means.append(float(mean.clip(inside[0], inside[-1])))
        else:
            means.append((edge + following) / 2)
    return means
