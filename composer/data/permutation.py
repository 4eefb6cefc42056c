"""A random permutation that is computed instead of stored.

A generalised Feistel network (Black and Rogaway 2002, section 5): a number is two digits to the base `side`, and each
round adds a keyed function of one digit to the other. It permutes the numbers below side * side; a result from `count`
on is permuted again (cycle walking) until it is below `count`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_ROUNDS = 6


class Permutation:
    """A permutation of 0 .. count - 1 as a function of its key; it takes no memory."""

    def __init__(self, count: int, key: Sequence[int]) -> None:
        """Derive the permutation of `count` numbers from `key`, integers from 0 such as a seed and an epoch."""
        self.count = count
        self.side = np.uint64(max(1, math.isqrt(max(0, count - 1)) + 1))
        self.keys = np.random.SeedSequence(list(key)).generate_state(_ROUNDS, np.uint64)

    def __len__(self) -> int:
        return self.count

    def __call__(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the images (n,) of numbers (n,)."""
        return self._walk(numbers, inverse=False)

    def inverse(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the numbers (n,) whose images are these (n,)."""
        return self._walk(numbers, inverse=True)

    def _walk(self, numbers: NDArray[np.int64], *, inverse: bool) -> NDArray[np.int64]:
        once = self._back if inverse else self._forth
        found = once(np.asarray(numbers).astype(np.uint64))
        # side * side exceeds count by at most 2 * side: for large counts few numbers are permuted again.
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
        """Return a pseudorandom function of digit and key, below `side`: the finaliser of SplitMix64 (Steele 2014)."""
        mixed = digit ^ key
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        reduced: NDArray[np.uint64] = (mixed ^ (mixed >> np.uint64(31))) % self.side
        return reduced
