"""A random order of many numbers by arithmetic, so that none of them has to be kept.

A generalised Feistel network (Black and Rogaway 2002, section 5): a number is two digits to the base `side`, and each
round adds a keyed function of one digit to the other. It permutes the numbers below side * side; what falls outside
the first `count` of them is sent through again (cycle walking) until it falls inside.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_ROUNDS = 6


class Permutation:
    """A permutation of 0 .. count - 1, as a function of its key alone; takes no memory."""

    def __init__(self, count: int, key: Sequence[int]) -> None:
        """Args: `count` numbers; `key` of integers from 0, such as a seed and an epoch."""
        self.count = count
        self.side = np.uint64(max(1, math.isqrt(max(0, count - 1)) + 1))
        self.keys = np.random.SeedSequence(list(key)).generate_state(_ROUNDS, np.uint64)

    def __len__(self) -> int:
        return self.count

    def __call__(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where each of the numbers (n,) goes."""
        return self._walk(numbers, inverse=False)

    def inverse(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where each of the numbers (n,) comes from."""
        return self._walk(numbers, inverse=True)

    def _walk(self, numbers: NDArray[np.int64], *, inverse: bool) -> NDArray[np.int64]:
        once = self._back if inverse else self._forth
        found = once(np.asarray(numbers).astype(np.uint64))
        # side * side exceeds count by 2 * side at the most: for large counts hardly any number walks.
        outside = np.flatnonzero(found >= self.count)
        while len(outside):
            found[outside] = once(found[outside])
            outside = outside[found[outside] >= self.count]
        return found.astype(np.int64)

    def _forth(self, numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
        left, right = numbers // self.side, numbers % self.side
        for key in self.keys:
            left, right = right, (left + self._mixed(right, key)) % self.side
        return left * self.side + right

    def _back(self, numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
        left, right = numbers // self.side, numbers % self.side
        for key in self.keys[::-1]:
            left, right = (right + self.side - self._mixed(left, key)) % self.side, left
        return left * self.side + right

    def _mixed(self, digit: NDArray[np.uint64], key: np.uint64) -> NDArray[np.uint64]:
        """A function of digit and key that looks random, below `side`: the finaliser of SplitMix64 (Steele 2014)."""
        mixed = digit ^ key
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        reduced: NDArray[np.uint64] = (mixed ^ (mixed >> np.uint64(31))) % self.side
        return reduced
