"""The pieces of a corpus as one sequence of events, in memory or on disk.

P = pieces, U = times, B = any number of windows
position  number of an event in one array of the events of all pieces
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, overload

import numpy as np
from numpy.typing import NDArray

from composer.music.events import Events, LeftOut, Piece


@dataclass(frozen=True, slots=True)
class Counts:
    """Counts of each value in events.

    Attributes:
        pitch: (128,) events by pitch.
        velocity: (128,) events by velocity.
        times: (U,) times since the previous event, which may repeat.
        time: (U,) count of each of `times`.
    """

    pitch: NDArray[np.int64]
    velocity: NDArray[np.int64]
    times: NDArray[np.float64]
    time: NDArray[np.int64]

    def distinct(self) -> Counts:
        """Return the counts with each time once, rising."""
        times, inverse = np.unique(self.times, return_inverse=True)
        time = np.bincount(inverse, self.time, len(times)).astype(np.int64)
        return replace(self, times=times, time=time)


class Pieces(Sequence[Piece]):
    """The pieces of a run, in the order of their files, in memory or on disk.

    Attributes:
        names: of the pieces.
        lengths: (P,) number of events of each piece.
        offsets: (P,) position of the first event of each, rising.
        on_disk: whether the events are read on demand, and may exceed the memory.
    """

    names: list[str]
    lengths: NDArray[np.int64]
    offsets: NDArray[np.int64]
    on_disk: ClassVar[bool]

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, number: int) -> Piece: ...
    @overload
    def __getitem__(self, number: slice) -> list[Piece]: ...
    def __getitem__(self, number: int | slice) -> Piece | list[Piece]:
        if isinstance(number, slice):
            return [self.piece(k) for k in range(len(self))[number]]
        return self.piece(range(len(self))[number])

    @abstractmethod
    def piece(self, number: int) -> Piece:
        """Return the piece with this number, from 0."""

    @abstractmethod
    def only(self, numbers: Sequence[int]) -> Pieces:
        """Return the pieces with these numbers."""

    @property
    @abstractmethod
    def left_out(self) -> LeftOut:
        """Notes of the files that are missing from the events."""

    @abstractmethod
    def counts(self, runs: Sequence[range] | None = None) -> Counts:
        """Return the counts of each value.

        Args:
            runs: ranges of positions, rising; None is all events.
        """

    @abstractmethod
    def played(self, starts: NDArray[np.int64], length: int) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        """Return velocities and times since the previous event (B, length) of the events from each position (B,) on."""


class ReadPieces(Pieces):
    """Pieces in memory, one after another."""

    on_disk = False

    def __init__(self, pieces: list[Piece]) -> None:
        """Store the `pieces`."""
        self._pieces = pieces
        self.names = [piece.name for piece in pieces]
        self.lengths = np.array([len(piece.events) for piece in pieces], np.int64)
        self.offsets = np.cumsum([0, *self.lengths.tolist()])[:-1]

    @cached_property
    def _events(self) -> Events:
        """Events of all pieces."""
        parts = [piece.events for piece in self._pieces]
        pitch, velocity, time = zip(*((part.pitch, part.velocity, part.delta_time) for part in parts), strict=True)
        return Events(np.concatenate(pitch), np.concatenate(velocity), np.concatenate(time), parts[0].time_unit)

    def piece(self, number: int) -> Piece:
        """Return the piece with this number, from 0."""
        return self._pieces[number]

    def only(self, numbers: Sequence[int]) -> Pieces:
        """Return the pieces with these numbers."""
        return ReadPieces([self._pieces[number] for number in numbers])

    @property
    def left_out(self) -> LeftOut:
        """Notes of the files that are missing from the events."""
        return sum((piece.left_out for piece in self._pieces), LeftOut())

    def counts(self, runs: Sequence[range] | None = None) -> Counts:
        """Return the counts of each value; `times` has the time of each event, in the order of the events."""
        events = self._events
        if runs is not None:
            events = events[np.concatenate([np.arange(run.start, run.stop) for run in (range(0), *runs)])]
        return Counts(
            np.bincount(events.pitch, minlength=128),
            np.bincount(events.velocity, minlength=128),
            events.delta_time,
            np.ones(len(events), np.int64),
        )

    def played(self, starts: NDArray[np.int64], length: int) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        """Return velocities and times since the previous event (B, length) of the events from each position (B,) on."""
        positions = starts[:, None] + np.arange(length)
        return self._events.velocity[positions], self._events.delta_time[positions]
