"""Tempo, metre and key of a piece: the tempo map, time signatures and key signatures of its MIDI file.

Places are in beats (quarter notes) from the start of the piece; tempos in microseconds per beat, as MIDI has them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.errors import ComposerError

# MIDI's default: 120 beats per minute.
DEFAULT_MICROSECONDS_PER_BEAT = 500_000
# Largest denominator of a time signature; music that begins in mid-bar is written in this resolution.
_MAX_DENOMINATOR = 32
# Places are sums of floats: the rounding error that they may have, in beats.
_TOLERANCE = 1e-6
_DEFAULT_METER = (4, 4)

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Markings:
    """Tempo, metre and key markings of a piece.

    Attributes:
        tempos: (place, microseconds per beat), in order; before the first, MIDI's 120 beats per minute.
        meters: (place, numerator, denominator), in order; before the first, 4/4.
        keys: (place, name such as `Bbm`), in order; empty where the file says C only because its program knows no key.
    """

    tempos: tuple[tuple[float, int], ...] = ()
    meters: tuple[tuple[float, int, int], ...] = ()
    keys: tuple[tuple[float, str], ...] = ()

    @property
    def key(self) -> str | None:
        """The first key signature."""
        return self.keys[0][1] if self.keys else None

    def seconds(self, beats: Array) -> Array:
        """Return the seconds (N,) from the start at places (N,) in beats, through the tempo map."""
        starts, per_beat, elapsed = self._tempo_map()
        segment = np.searchsorted(starts, beats, side="right") - 1
        return np.asarray(elapsed[segment] + (beats - starts[segment]) * per_beat[segment])

    def beats(self, seconds: Array) -> Array:
        """Return the places (N,) in beats at times (N,) in seconds: the inverse of `seconds`."""
        starts, per_beat, elapsed = self._tempo_map()
        segment = np.searchsorted(elapsed, seconds, side="right") - 1
        return np.asarray(starts[segment] + (seconds - elapsed[segment]) / per_beat[segment])

    def seconds_per_beat(self, beats: Array) -> Array:
        """Return the seconds per beat (N,) at places (N,) in beats."""
        starts, per_beat, _ = self._tempo_map()
        return np.asarray(per_beat[np.clip(np.searchsorted(starts, beats, side="right") - 1, 0, None)])

    def _tempo_map(self) -> tuple[Array, Array, Array]:
        """Return the segments (S,) of one tempo: places in beats, seconds per beat, seconds at the start."""
        tempos = [(max(place, 0.0), tempo) for place, tempo in self.tempos if tempo > 0]
        if not tempos or tempos[0][0] > 0:
            tempos.insert(0, (0.0, DEFAULT_MICROSECONDS_PER_BEAT))
        starts = np.array([place for place, _ in tempos])
        per_beat = np.array([tempo / 1e6 for _, tempo in tempos])
        elapsed = np.concatenate([[0.0], np.cumsum(np.diff(starts) * per_beat[:-1])])
        return starts, per_beat, elapsed

    def usual_tempo(self, end: float) -> int:
        """Return the median tempo over the beats up to `end`, in microseconds per beat."""
        starts, per_beat, _ = self._tempo_map()
        lasting = np.clip(np.diff(np.append(starts, max(end, starts[-1] + 1e-9))), 0, None)
        order = np.argsort(per_beat, kind="stable")
        total = np.cumsum(lasting[order])
        middle = int(np.searchsorted(total, total[-1] / 2))
        return round(float(per_beat[order][middle]) * 1e6)

    def usual_meter(self, end: float) -> tuple[int, int]:
        """Return the time signature, (numerator, denominator), of most of the beats up to `end`."""
        lasting: dict[tuple[int, int], float] = {}
        meters = self._meters()
        for k, (place, *meter) in enumerate(meters):
            stop = meters[k + 1][0] if k + 1 < len(meters) else max(end, place + 1e-9)
            numerator, denominator = meter
            lasting[numerator, denominator] = lasting.get((numerator, denominator), 0.0) + max(stop - place, 0.0)
        return max(lasting, key=lambda meter: lasting[meter])

    def _meters(self) -> list[tuple[float, int, int]]:
        """Return the time signatures from place 0 on."""
        meters = [meter for meter in self.meters if meter[1] > 0 and meter[2] > 0]
        return meters if meters and meters[0][0] <= 0 else [(0.0, *_DEFAULT_METER), *meters]

    def bar_offsets(self, places: Array, end: float) -> Array:
        """Return the beats (N,) from the start of its bar to each place.

        Successive time signatures that each hold for less than a bar of the usual metre, and together for a bar of it
        at most, are one bar that an upbeat or a repeat divides. Those at the start of the piece are an upbeat: their
        bar ends with them.

        Args:
            places: (N,) in beats, not below 0.
            end: the end of the piece, in beats.
        """
        return self.bars_at(places, end)[0]

    def bars_at(self, places: Array, end: float) -> tuple[Array, NDArray[np.int64]]:
        """Return `bar_offsets` (N,) and the metre (N, 2) of the bar at each place, numerator and denominator."""
        starts, origins, meters, _ = self._bars(end)
        segment = np.clip(np.searchsorted(starts, places + _TOLERANCE, side="right") - 1, 0, None)
        found = meters[segment]
        bars = found[:, 0] * 4 / found[:, 1]
        offsets = (places - origins[segment]) % bars
        return np.where(bars - offsets < _TOLERANCE, 0.0, offsets), found

    def bar_offset(self, place: float, end: float | None = None) -> float:
        """Return `bar_offsets` of one place; `end` is by default the place itself, or the last time signature."""
        end = max(place, self._meters()[-1][0]) if end is None else end
        return float(self.bar_offsets(np.array([place]), end)[0])

    def _bars(self, end: float) -> tuple[Array, Array, NDArray[np.int64], Array]:
        """Return the bars of each time signature as (S,) arrays, signatures that share a bar with the same values.

        They are the place of the signature, the place of a bar line, the metre of a bar (S, 2), and the place at which
        the last bar ends; see `bar_offsets`.
        """
        meters = self._meters()
        starts = np.array([place for place, _, _ in meters])
        held = np.array([meter for _, *meter in meters], np.int64)
        last_bar = held[-1, 0] * 4 / held[-1, 1]
        stops = np.append(starts[1:], max(end, starts[-1]))
        numerator, denominator = self.usual_meter(end)
        usual, origins, ends = numerator * 4 / denominator, starts.copy(), stops.copy()
        ends[-1] = starts[-1] + math.ceil((stops[-1] - starts[-1]) / last_bar - _TOLERANCE) * last_bar
        short = stops - starts < usual - _TOLERANCE
        first = 0
        while first < len(meters):
            last = first
            while short[first] and last + 1 < len(meters) and short[last + 1]:
                last += 1
            shared = slice(first, last + 1)
            if short[first] and stops[last] - starts[first] < usual + _TOLERANCE and (first or last + 1 < len(meters)):
                origins[shared] = starts[first] if first else stops[last] - usual
                held[shared], ends[shared] = (numerator, denominator), ends[last]
            first = last + 1
        return starts, origins, held, ends

    def segments(self, end: float, drawn: bool = True) -> dict[str, Any]:
        """Return the tempo map and the bars as a page reads them (`render/page/tempo.js`).

        Args:
            end: the end of the piece, in beats.
            drawn: whether bars and tempo are shown: those of a file that was played freely mean nothing.

        Returns:
            `tempos`, [seconds, beats, seconds per beat] of each stretch of one tempo; `bars`, [place, place of a bar
            line, beats of a bar] of each time signature; `drawn`.
        """
        starts, per_beat, elapsed = self._tempo_map()
        tempos = np.stack([elapsed, starts, per_beat], axis=1).tolist()
        starts, origins, meters, _ = self._bars(end)
        bars = [
            [float(start), float(origin), float(numerator * 4 / denominator)]
            for start, origin, (numerator, denominator) in zip(starts, origins, meters, strict=True)
        ]
        return {"tempos": tempos, "bars": bars, "drawn": drawn}

    def rest_of_bar(self, place: float, end: float) -> float:
        """Return the beats from a place to the end of its bar; 0 on a bar line. See `bar_offsets` for `end`."""
        starts, _, meters, ends = self._bars(end)
        number = max(int(np.searchsorted(starts, place + _TOLERANCE, side="right")) - 1, 0)
        offset, bar = self.bar_offset(place, end), float(meters[number, 0] * 4 / meters[number, 1])
        rest = min(bar - offset, float(ends[number]) - place) if offset else 0.0
        return max(rest, 0.0)

    def bar_after(self, place: float | None, end: float) -> tuple[float, float]:
        """Return the beats from a bar's start to the start of new music, and the beats of its bars; see `after`."""
        numerator, denominator = self.usual_meter(end)
        bar = numerator * 4 / denominator
        return 0.0 if place is None else -self.rest_of_bar(place, end) % bar, bar

    def after(self, place: float | None, end: float) -> tuple[Markings, float]:
        """Return the markings of new music that continues from a place in this piece, which may be inside a bar.

        The new music has one tempo, metre and key: the usual tempo and metre of this piece, and the key in force. It
        begins with the rest of the bar as an upbeat, which MIDI files write as a separate short bar.

        Args:
            place: where the new music begins, in beats of this piece; None is the start of a bar.
            end: the end of this piece, in beats.

        Returns:
            The markings, and the beats by which the new music must begin later for the rest of the bar to be a multiple
            of 1/8 beat, as a time signature has it: from -1/16, which is earlier, to 1/16. Performers, and files that
            imitate them, release notes a moment before the beat on which the primer ends.
        """
        numerator, denominator = self.usual_meter(end)
        offset, bar = self.bar_after(place, end)
        place = end if place is None else place
        remaining = bar - offset if offset > _TOLERANCE else 0.0
        step = 4 / _MAX_DENOMINATOR
        written = round(remaining / step) * step
        silence = written - remaining
        meters: tuple[tuple[float, int, int], ...]
        if written >= bar - _TOLERANCE:
            # The whole bar: the music begins a moment after its first beat.
            meters, silence = ((0.0, numerator, denominator),), bar - remaining
        elif written:
            meters = ((0.0, *_signature(written)), (written, numerator, denominator))
        else:
            meters = ((0.0, numerator, denominator),)
        keys = [name for at, name in self.keys if at <= place + _TOLERANCE] or [name for _, name in self.keys[:1]]
        return Markings(
            ((0.0, self.usual_tempo(end)),) if self.tempos else (),
            meters if self.meters else (),
            ((0.0, keys[-1]),) if keys else (),
        ), (silence if self.meters else 0.0)

    def extended(self, end: float) -> Markings:
        """Return the markings with more music after the `end` in beats, which has the usual tempo and metre."""
        tempo, meter = self.usual_tempo(end), self.usual_meter(end)
        tempos = list(self.tempos)
        if tempos and tempos[-1][1] != tempo:
            tempos.append((end, tempo))
        meters = list(self.meters)
        if meters and meters[-1][1:] != meter:
            # From the end of the last bar of the piece.
            bar = meters[-1][1] * 4 / meters[-1][2]
            meters.append((meters[-1][0] + math.ceil((end - meters[-1][0]) / bar - _TOLERANCE) * bar, *meter))
        return Markings(tuple(tempos), tuple(meters), self.keys)

    def to_plain(self) -> dict[str, Any]:
        """Return the values as lists and numbers, for checkpoints and JSON."""
        return {
            "tempos": [list(row) for row in self.tempos],
            "meters": [list(row) for row in self.meters],
            "keys": [list(row) for row in self.keys],
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Markings:
        """Read the values that `to_plain` returns.

        Raises:
            ComposerError: the values describe no markings.
        """
        try:
            tempos = tuple((float(place), int(tempo)) for place, tempo in plain["tempos"])
            meters = tuple((float(place), int(above), int(below)) for place, above, below in plain["meters"])
            keys = tuple((float(place), str(name)) for place, name in plain["keys"])
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ComposerError(f"tempo, metre and key are damaged ({error!r})") from error
        rows: list[Sequence[Any]] = [*tempos, *meters, *keys]
        positive = all(tempo > 0 for _, tempo in tempos) and all(a > 0 and b > 0 for _, a, b in meters)
        if not positive or not all(math.isfinite(row[0]) and row[0] >= 0 for row in rows):
            raise ComposerError("tempo, metre and key are damaged (a value is impossible)")
        return cls(tempos, meters, keys)


def _signature(beats: float) -> tuple[int, int]:
    """Return the time signature of a bar of these beats, a multiple of 1/8, with the lowest denominator from 4 on."""
    for denominator in (4, 8, 16, _MAX_DENOMINATOR):
        numerator = beats * denominator / 4
        if abs(numerator - round(numerator)) < _TOLERANCE:
            return round(numerator), denominator
    raise AssertionError(f"{beats} beats are no multiple of 1/8")


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Place of an excerpt in its piece.

    Attributes:
        markings: of the piece.
        begin: place of the event before the excerpt, or the start of the piece.
        end: place of the last event of the excerpt.
        length: place of the piece's last event.
    """

    markings: Markings
    begin: float
    end: float
    length: float

    def onward(self) -> tuple[Markings, float]:
        """Return the markings of music that continues after the excerpt; see `Markings.after`."""
        return self.markings.after(self.end, self.length)

    def repeated(self) -> tuple[Markings, float]:
        """Return the markings of music that begins with the excerpt itself; see `Markings.after`."""
        return self.markings.after(self.begin, self.length)

    def to_plain(self) -> dict[str, Any]:
        """Return the values as lists and numbers, for checkpoints and JSON."""
        return {**self.markings.to_plain(), "begin": self.begin, "end": self.end, "length": self.length}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Excerpt:
        """Read the values that `to_plain` returns; see `Markings.from_plain` for the errors."""
        markings = Markings.from_plain(plain)
        try:
            begin, end, length = (float(plain[key]) for key in ("begin", "end", "length"))
        except (KeyError, TypeError, ValueError) as error:
            raise ComposerError(f"the place of the primer is damaged ({error!r})") from error
        if not (0 <= begin <= end <= length < math.inf):
            raise ComposerError("the place of the primer is damaged (a value is impossible)")
        return cls(markings, begin, end, length)
