"""First positions of windows, too many to be listed: runs of them, and a drawn share of all.

Both are used as an array of positions would be: `len(starts)`, and `starts[numbers]` for an array of numbers. They
also tell of any position whether a window begins there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from composer.data.permutation import Permutation

Indices = NDArray[np.int64]

_BLOCK = 4096


class Starts(ABC):
    """First positions of windows, in an order that arithmetic tells."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, numbers: Indices) -> Indices:
        """(n,) the positions with these numbers (n,)."""

    @abstractmethod
    def contains(self, positions: Indices) -> NDArray[np.bool_]:
        """Whether a window begins at each of the positions, of any shape."""

    @property
    @abstractmethod
    def pool(self) -> Ranges:
        """Runs of positions that hold these and, where these were drawn, those that were not."""

    def touches(self, positions: Indices, window_size: int) -> NDArray[np.bool_]:
        """(n,) whether each position (n,) is an input or the target of some window."""
        found = np.zeros(positions.shape, np.bool_)
        for back in range(window_size + 1):
            found |= self.contains(positions - back)
        return found

    def lowest(self) -> int:
        """The lowest position; there must be one."""
        pool = self.pool
        for begin in range(0, len(pool), _BLOCK):
            block = pool[np.arange(begin, min(begin + _BLOCK, len(pool)))]
            inside = block[self.contains(block)]
            if len(inside):
                return int(inside[0])
        raise ValueError("there is no window")


class Ranges(Starts):
    """Runs of neighbouring positions, rising and apart."""

    def __init__(self, runs: Iterable[range]) -> None:
        """Args: `runs` of positions; empty ones are left out."""
        kept = [run for run in runs if len(run)]
        self.firsts = np.array([run.start for run in kept], np.int64)
        # How many positions stand before each run, and in all.
        self.before = np.cumsum([0, *(len(run) for run in kept)], dtype=np.int64)

    def __len__(self) -> int:
        return int(self.before[-1])

    def __getitem__(self, numbers: Indices) -> Indices:
        run = np.searchsorted(self.before, numbers, side="right") - 1
        return self.firsts[run] + (numbers - self.before[run])

    def numbers(self, positions: Indices) -> Indices:
        """The number of each position; -1 where no window begins."""
        if not len(self):
            return np.full(np.shape(positions), -1, np.int64)
        run = np.maximum(np.searchsorted(self.firsts, positions, side="right") - 1, 0)
        place = positions - self.firsts[run]
        inside = (place >= 0) & (place < self.before[run + 1] - self.before[run])
        return np.where(inside, self.before[run] + place, -1)

    def contains(self, positions: Indices) -> NDArray[np.bool_]:
        """Whether a window begins at each of the positions."""
        return self.numbers(positions) >= 0

    def touches(self, positions: Indices, window_size: int) -> NDArray[np.bool_]:
        """(n,) whether each position (n,) is an input or the target of some window: of the last that begins by then."""
        if not len(self):
            return np.zeros(positions.shape, np.bool_)
        run = np.searchsorted(self.firsts, positions, side="right") - 1
        last = np.minimum(positions, self.firsts[run] + np.diff(self.before)[run] - 1)
        return (run >= 0) & (last >= positions - window_size)

    @property
    def pool(self) -> Ranges:
        """These."""
        return self

    def runs(self) -> list[range]:
        """The runs."""
        lengths = np.diff(self.before).tolist()
        return [range(first, first + length) for first, length in zip(self.firsts.tolist(), lengths, strict=True)]


class Drawn(Starts):
    """The numbers `begin` to `end` of a random order of runs."""

    def __init__(self, ranges: Ranges, order: Permutation, begin: int, end: int) -> None:
        """Args: `ranges` that are drawn from; their `order`; which of them, `end` not included."""
        assert len(ranges) == len(order)
        self.ranges, self.order, self.begin, self.end = ranges, order, begin, end

    def __len__(self) -> int:
        return self.end - self.begin

    def __getitem__(self, numbers: Indices) -> Indices:
        return self.ranges[self.order(numbers + self.begin)]

    def contains(self, positions: Indices) -> NDArray[np.bool_]:
        """Whether a drawn window begins at each of the positions."""
        number = self.ranges.numbers(positions)
        known = number >= 0
        place = self.order.inverse(number[known])
        known[known] = (place >= self.begin) & (place < self.end)
        return known

    @property
    def pool(self) -> Ranges:
        """What was drawn from."""
        return self.ranges


def sample(starts: Indices | Starts, most: int | None, key: list[int]) -> Indices | Starts:
    """The windows themselves, or where there are more than `most` so many of them, in rising order.

    Args:
        starts: first positions.
        most: None takes all.
        key: decides which.
    """
    if most is None or len(starts) <= most:
        return starts
    return np.sort(starts[Permutation(len(starts), key)(np.arange(most))])
