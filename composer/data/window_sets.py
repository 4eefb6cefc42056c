"""Sets of windows, by the positions of their first events: listed, as ranges, or as a random subset of ranges.

    W = windows of a set, n = any number of them
    position  of an event in the array of all events of a corpus
    number    of a window in its set, 0 .. W - 1, in the order of the set

A set that is listed takes 8 bytes per window. Ranges and random subsets compute their positions, so that a corpus of
any size can be split.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from composer.data.permutation import Permutation

Indices = NDArray[np.int64]

# Windows that `lowest` reads at a time.
_BATCH = 4096


class WindowSet(ABC):
    """First positions of windows, in the order of the set.

    Attributes:
        computed: positions are computed on demand; values for each window should be computed likewise, not stored.
    """

    computed: ClassVar[bool]

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, numbers: Indices) -> Indices:
        """Return the positions (n,) of the windows with these numbers (n,)."""

    @abstractmethod
    def contains(self, positions: Indices) -> NDArray[np.bool_]:
        """Return a mask of the positions, of any shape, at which a window begins."""

    @abstractmethod
    def covered_runs(self, before: int, after: int) -> list[range]:
        """Return the positions from `before` events before to `after` events after the start of some window.

        For a random subset these are the positions around all windows that it was drawn from.

        Returns:
            Rising ranges without overlap.
        """

    @property
    def pool(self) -> WindowSet:
        """Ranges that a random subset was drawn from; any other set itself."""
        return self

    def positions(self) -> Indices:
        """Return all positions (W,) in the order of the set."""
        return self[np.arange(len(self))]

    def touches(self, positions: Indices, window_size: int) -> NDArray[np.bool_]:
        """Return a mask of the positions (n,) that are an input or the target of a window of `window_size` inputs."""
        found = np.zeros(positions.shape, np.bool_)
        for back in range(window_size + 1):
            found |= self.contains(positions - back)
        return found

    def lowest(self) -> int:
        """Return the lowest position.

        Raises:
            ValueError: the set is empty.
        """
        for run in self.covered_runs(0, 0):
            for begin in range(run.start, run.stop, _BATCH):
                block = np.arange(begin, min(begin + _BATCH, run.stop))
                inside = block[self.contains(block)]
                if len(inside):
                    return int(inside[0])
        raise ValueError("the set holds no window")


class ListedWindows(WindowSet):
    """Windows whose positions are an array, in any order."""

    computed = False

    def __init__(self, starts: Indices) -> None:
        """Store the positions `starts` (W,)."""
        self.starts = starts

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, numbers: Indices) -> Indices:
        return self.starts[numbers]

    @cached_property
    def _rising(self) -> Indices:
        return np.unique(self.starts)

    @cached_property
    def _begins(self) -> NDArray[np.bool_]:
        """Mask of the positions at which a window begins, from 0 to the highest, then False for all others."""
        table = np.zeros(int(self.starts.max(initial=-1)) + 2, np.bool_)
        table[self.starts] = True
        return table

    def contains(self, positions: Indices) -> NDArray[np.bool_]:
        """Return a mask of the positions, of any shape, at which a window begins."""
        outside = (positions < 0) | (positions >= len(self._begins))
        return self._begins[np.where(outside, -1, positions)]

    def touches(self, positions: Indices, window_size: int) -> NDArray[np.bool_]:
        """Return a mask of the positions, of any shape, that are an input or the target of a window."""
        if not len(self):
            return np.zeros(np.shape(positions), np.bool_)
        last = np.searchsorted(self._rising, positions, side="right") - 1
        return (last >= 0) & (self._rising[last] >= positions - window_size)

    def covered_runs(self, before: int, after: int) -> list[range]:
        """Return the positions around the windows; see `WindowSet.covered_runs`."""
        if not len(self):
            return []
        gaps = np.flatnonzero(np.diff(self._rising) > before + after + 1)
        firsts = self._rising[np.append(0, gaps + 1)] - before
        lasts = self._rising[np.append(gaps, len(self._rising) - 1)] + after
        return [range(first, last + 1) for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True)]


class Ranges(WindowSet):
    """Windows whose positions are ranges, rising and without overlap."""

    computed = True

    def __init__(self, runs: Iterable[range]) -> None:
        """Store the non-empty ranges of positions."""
        kept = [run for run in runs if len(run)]
        self.firsts = np.array([run.start for run in kept], np.int64)
        # Numbers of positions before each range, then in total.
        self.before = np.cumsum([0, *(len(run) for run in kept)], dtype=np.int64)

    def __len__(self) -> int:
        return int(self.before[-1])

    def __getitem__(self, numbers: Indices) -> Indices:
        run = np.searchsorted(self.before, numbers, side="right") - 1
        return self.firsts[run] + (numbers - self.before[run])

    def numbers(self, positions: Indices) -> Indices:
        """Return the number of the window at each position; -1 where no window begins."""
        if not len(self):
            return np.full(np.shape(positions), -1, np.int64)
        run = np.maximum(np.searchsorted(self.firsts, positions, side="right") - 1, 0)
        place = positions - self.firsts[run]
        inside = (place >= 0) & (place < self.before[run + 1] - self.before[run])
        return np.where(inside, self.before[run] + place, -1)

    def contains(self, positions: Indices) -> NDArray[np.bool_]:
        """Return a mask of the positions, of any shape, at which a window begins."""
        return self.numbers(positions) >= 0

    def touches(self, positions: Indices, window_size: int) -> NDArray[np.bool_]:
        """Return a mask of the positions covered by the last window that begins at or before each; see `WindowSet`."""
        if not len(self):
            return np.zeros(positions.shape, np.bool_)
        run = np.searchsorted(self.firsts, positions, side="right") - 1
        last = np.minimum(positions, self.firsts[run] + np.diff(self.before)[run] - 1)
        return (run >= 0) & (last >= positions - window_size)

    def covered_runs(self, before: int, after: int) -> list[range]:
        """Return the positions around the windows; see `WindowSet.covered_runs`."""
        found: list[range] = []
        lengths = np.diff(self.before).tolist()
        for first, length in zip(self.firsts.tolist(), lengths, strict=True):
            begin = first - before
            if found and begin < found[-1].stop:
                begin = found[-1].stop
            found.append(range(begin, first + length + after))
        return found


class RandomSubset(WindowSet):
    """The windows `begin` to `end` of a random order of ranges."""

    computed = True

    def __init__(self, ranges: Ranges, order: Permutation, begin: int, end: int) -> None:
        """Store the definition of the subset.

        Args:
            ranges: windows to draw from.
            order: a permutation of all these windows.
            begin: first place of the order in the subset.
            end: first place of the order after the subset.
        """
        assert len(ranges) == len(order)
        self.ranges, self.order, self.begin, self.end = ranges, order, begin, end

    def __len__(self) -> int:
        return self.end - self.begin

    def __getitem__(self, numbers: Indices) -> Indices:
        return self.ranges[self.order(numbers + self.begin)]

    def contains(self, positions: Indices) -> NDArray[np.bool_]:
        """Return a mask of the positions, of any shape, at which a window of the subset begins."""
        number = self.ranges.numbers(positions)
        known = number >= 0
        place = self.order.inverse(number[known])
        known[known] = (place >= self.begin) & (place < self.end)
        return known

    def covered_runs(self, before: int, after: int) -> list[range]:
        """Return the positions around all windows that the subset was drawn from."""
        return self.ranges.covered_runs(before, after)

    @property
    def pool(self) -> WindowSet:
        """Ranges that the subset was drawn from."""
        return self.ranges


def positions_of(runs: Sequence[range]) -> Indices:
    """Return the positions (W,) of all runs, in their order."""
    return np.concatenate([np.empty(0, np.int64), *(np.arange(run.start, run.stop, dtype=np.int64) for run in runs)])


def window_set(runs: Sequence[range], *, computed: bool) -> WindowSet:
    """Return the windows at all positions of `runs`, as ranges if `computed` and else listed."""
    return Ranges(runs) if computed else ListedWindows(positions_of(runs))


def sample(windows: WindowSet, most: int | None, key: list[int]) -> WindowSet:
    """Return at most `most` of the windows, sampled with `key`, in rising order if some are left out.

    Args:
        windows: windows to sample from.
        most: largest number of windows; None returns all.
        key: seed of the sample.
    """
    if most is None or len(windows) <= most:
        return windows
    return ListedWindows(np.sort(windows[Permutation(len(windows), key)(np.arange(most))]))
