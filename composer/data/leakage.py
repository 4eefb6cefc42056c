"""Leakage: the share of the validation windows that also occur in the training set.

    N = events, U = distinct validation windows

Windows are compared by 64-bit digests: a polynomial in an odd multiplier modulo 2^64 over mixed event codes. Two
of n distinct windows share a digest with a probability of about n^2 / 2^64.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from composer.data.splits import Splits
from composer.data.tokens import TokenSource
from composer.data.window_sets import WindowSet, sample
from composer.random_streams import RandomStream

# Validation windows whose leakage is measured where the windows are not listed.
MAX_WINDOWS = 20_000

_MULTIPLIER = 0x9E3779B97F4A7C15
# Digests are first looked up by this many of their bits.
_PREFIX_BITS = 20
# Between two pieces are a few positions where no window begins; the training set's `contains` excludes them.
_BRIDGE = 4096

Digests = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Leak:
    """The share of the validation windows that also occur in the training set.

    Attributes:
        by_index: share of validation windows whose target event is, at the same position, an input or a target of
            some training window.
        by_content: share of validation windows whose events, inputs and target, equal those of some training window.
        by_transposition: the same share if training windows may be transposed by any number of semitones.
        windows: validation windows that were measured.
    """

    by_index: float
    by_content: float
    by_transposition: float
    windows: int


def leak(tokens: TokenSource, splits: Splits, window_size: int, seed: int) -> Leak:
    """Measure the leakage from the training windows into the validation windows.

    Of validation windows that are not listed at most `MAX_WINDOWS` are measured, each compared with every training
    window.

    Args:
        tokens: classes of all events.
        splits: the windows.
        window_size: events before the target.
        seed: draws the validation windows.
    """
    train = splits.train
    validation = sample(splits.val, MAX_WINDOWS if splits.val.computed else None, [seed, RandomStream.LEAKAGE_SAMPLE])
    starts = validation.positions()
    length = window_size + 1
    windows = tokens.windows(starts, length).reshape(-1, 3)
    searches = [_Search(digests, windows, length) for digests in (window_digests, transposed_digests)]
    for first, events in tokens.chunks(train.covered_runs(0, 0), overlap=window_size, bridge=_BRIDGE):
        if len(events) >= length:
            for search in searches:
                search.add(first, events, train)
    by_content, by_transposition = (float(search.found[search.number].mean()) for search in searches)
    by_index = train.touches(starts + window_size, window_size).mean()
    return Leak(float(by_index), by_content, by_transposition, len(starts))


class _Search:
    """Validation windows that are searched for in the training events, by their digests.

    Attributes:
        found: (U,) whether each distinct window occurs in the training set.
        number: (W,) index of each window among the distinct windows.
    """

    def __init__(
        self, digests: Callable[[NDArray[np.uint8], int], Digests], windows: NDArray[np.uint8], length: int
    ) -> None:
        """Prepare the search for `windows` (W * length, 3), one after another."""
        self.digests, self.length = digests, length
        self.wanted, self.number = np.unique(digests(windows, length)[::length], return_inverse=True)
        self.found = np.zeros(len(self.wanted), np.bool_)
        self.prefixes = np.zeros(1 << _PREFIX_BITS, np.bool_)
        self.prefixes[_prefix(self.wanted)] = True

    def add(self, first: int, events: NDArray[np.uint8], train: WindowSet) -> None:
        """Search the events (N, 3) from position `first` on, at the positions where training windows begin."""
        digests = self.digests(events, self.length)
        places = np.flatnonzero(self.prefixes[_prefix(digests)])
        slot = np.minimum(np.searchsorted(self.wanted, digests[places]), len(self.wanted) - 1)
        equal = self.wanted[slot] == digests[places]
        places, slot = places[equal], slot[equal]
        self.found[slot[train.contains(first + places)]] = True


def _prefix(digests: Digests) -> NDArray[np.int64]:
    return (digests >> np.uint64(64 - _PREFIX_BITS)).astype(np.int64)


def window_digests(tokens: NDArray[np.uint8], length: int) -> Digests:
    """Return a digest of every run of `length` events: equal runs have equal digests.

    The digest of the events k .. k + L - 1 is sum_j M^(k + L - 1 - j) code[j]. With M odd, M^-1 exists modulo 2^64, and
    it is M^(k + L - 1) times the difference of two running sums of code[j] M^-j: the time does not depend on L.

    Args:
        tokens: (N, 3) classes.
        length: events L of a run.

    Returns:
        (N - L + 1,) digests.
    """
    code = event_codes(tokens)
    count = len(code)
    if length == 0:
        return np.zeros(count + 1, np.uint64)
    code *= _powers(pow(_MULTIPLIER, -1, 1 << 64), count)
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(code, dtype=np.uint64)])
    powers = _powers(_MULTIPLIER, count)[length - 1 :]
    digests: Digests = (sums[length:] - sums[:-length]) * powers
    return digests


def transposed_digests(tokens: NDArray[np.uint8], length: int) -> Digests:
    """Return a digest of every run of `length` events that is equal for runs that differ by a transposition alone.

    The first event counts with its velocity and time, each other one also with the interval from the event before.

    Args:
        tokens: (N, 3) classes.
        length: events of a run, at least 1.

    Returns:
        (N - length + 1,) digests.
    """
    first, steps = tokens.copy(), tokens.copy()
    first[:, 0] = 0
    # Modulo 256, which keeps all intervals from -127 to 127 apart.
    steps[1:, 0] -= tokens[:-1, 0]
    following = window_digests(steps, length - 1)[1:]
    return event_codes(first)[: len(following)] * np.uint64(0xD1342543DE82EF95) + following


def context_digests(contexts: NDArray[np.uint8]) -> Digests:
    """Return a digest (W,) of the events of each context (W, L, 3)."""
    digests = np.zeros(len(contexts), np.uint64)
    for k in range(contexts.shape[1]):
        digests = digests * np.uint64(_MULTIPLIER) + event_codes(contexts[:, k])
    return digests


def event_codes(tokens: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Return a code (N,) for each event (N, 3); distinct events have distinct codes."""
    code = tokens[:, 2].astype(np.uint64)
    for channel in (1, 0):
        code = (code << np.uint64(8)) | tokens[:, channel]
    # Mixed by the finaliser of SplitMix64 (Steele, Lea and Flood 2014), so that neighbouring codes do not cancel.
    code = (code ^ (code >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    code = (code ^ (code >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    code ^= code >> np.uint64(31)
    return code


def _powers(base: int, count: int) -> NDArray[np.uint64]:
    """Return base^0 .. base^(count - 1) modulo 2^64, by doubling."""
    powers = np.ones(count, np.uint64)
    known = 1
    while known < count:
        step = np.uint64(pow(base, known, 1 << 64))
        powers[known : 2 * known] = powers[: min(known, count - known)] * step
        known *= 2
    return powers
