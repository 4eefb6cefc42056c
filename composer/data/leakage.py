"""What a run has to know of a corpus before it trains, without holding more than a little of it at once.

Above `LARGE` events a run's windows are not listed, and its classes not held (`ranges.py`, `store.py`). Then

- the time classes are fitted to counts of the different times, over all runs of training events. Of a shuffled split
  these are the runs that training and validation windows were drawn from: but for a few events at their ends, every
  event there is in some training window;
- the leak is that of a sample of validation windows, each compared with every training window.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from composer.config.data import DataConfig, EncodingConfig
from composer.corpus.store import Store, StoredTokens
from composer.data.splits import DIGEST_MULTIPLIER, Leak, Splits, event_codes, transposed_digests
from composer.data.vocabulary import Fitted, fit_counted
from composer.data.window_sets import Starts, sample

# 4,194,304 events: below, everything is listed and measured in full, in at most some 300 MB.
LARGE = 1 << 22
# Validation windows whose leak is measured.
MOST_LEAKING = 20_000

_LEAK_STREAM = 7
# Digests are first looked up by so many of their bits.
_BITS = 20
# Between the windows of two pieces lie a few positions that begin none; `contains` knows them.
_BRIDGE = 4096
_MULTIPLIER = int(DIGEST_MULTIPLIER)


def training_runs(train: Starts, data: DataConfig) -> list[range]:
    """Runs of positions that training windows of `data.margin` events cover, or may cover where they were drawn."""
    late = data.margin - data.window_size
    runs: list[range] = []
    for run in train.pool.runs():
        begin, end = run.start - late, run.stop + data.window_size
        if runs and begin < runs[-1].stop:
            begin = runs[-1].stop
        runs.append(range(begin, end))
    return runs


def fit_store(store: Store, train: Starts, data: DataConfig, encoding: EncodingConfig) -> Fitted:
    """The vocabulary of the training events of a store."""
    counts = store.count(training_runs(train, data))
    vocabulary = fit_counted(encoding, counts.times, counts.time, counts.velocity)
    return Fitted(vocabulary, vocabulary.time_error_counted(counts.times, counts.time), float(counts.times[-1]))


def leak(tokens: StoredTokens, splits: Splits, window_size: int, seed: int) -> Leak:
    """The leak, measured on a sample of the validation windows.

    Args:
        tokens: classes of all events.
        splits: the windows.
        window_size: events before the target.
        seed: draws the sample.
    """
    train = splits.train
    assert isinstance(train, Starts)
    chosen = sample(splits.val, MOST_LEAKING, [seed, _LEAK_STREAM])
    starts = chosen[np.arange(len(chosen))]
    by_index = train.touches(starts + window_size, window_size).mean()
    length = window_size + 1
    runs = tokens.windows(starts, length).reshape(-1, 3)
    alike = [_Sought(find, runs, length) for find in (rolling_digests, _transposed)]
    for first, codes in tokens.store.chunks(train.pool.runs(), overlap=window_size, bridge=_BRIDGE):
        if len(codes) >= length:
            for sought in alike:
                sought.look(first, tokens.classes(codes), train)
    by_content, by_transposition = (float(sought.heard[sought.number].mean()) for sought in alike)
    return Leak(float(by_index), by_content, by_transposition, len(starts))


class _Sought:
    """Windows that are looked for in the training events, by their digests.

    Attributes:
        heard: (U,) which of the different windows have been found.
        number: (W,) which of these each window is.
    """

    def __init__(
        self, find: Callable[[NDArray[np.uint8], int], NDArray[np.uint64]], runs: NDArray[np.uint8], length: int
    ) -> None:
        """Args: what finds the digests; the windows (W * length, 3) one after another; their `length`."""
        self.find, self.length = find, length
        self.wanted, self.number = np.unique(find(runs, length)[::length], return_inverse=True)
        self.heard = np.zeros(len(self.wanted), np.bool_)
        self.likely = np.zeros(1 << _BITS, np.bool_)
        self.likely[_first_bits(self.wanted)] = True

    def look(self, first: int, tokens: NDArray[np.uint8], train: Starts) -> None:
        """Look in the events (N, 3) from position `first` on, where training windows begin."""
        found = self.find(tokens, self.length)
        places = np.flatnonzero(self.likely[_first_bits(found)])
        slot = np.minimum(np.searchsorted(self.wanted, found[places]), len(self.wanted) - 1)
        alike = self.wanted[slot] == found[places]
        places, slot = places[alike], slot[alike]
        self.heard[slot[train.contains(first + places)]] = True


def _first_bits(digests: NDArray[np.uint64]) -> NDArray[np.int64]:
    return (digests >> np.uint64(64 - _BITS)).astype(np.int64)


def _transposed(tokens: NDArray[np.uint8], length: int) -> NDArray[np.uint64]:
    return transposed_digests(tokens, length, rolling_digests)


def rolling_digests(tokens: NDArray[np.uint8], length: int) -> NDArray[np.uint64]:
    """The digests of `splits.window_digests`, in a time that does not depend on the length.

    With M odd, M^-1 exists modulo 2^64, and a digest is M^(k + length - 1) times the difference of two running sums of
    code[j] M^-j.

    Args:
        tokens: (N, 3) classes.
        length: events of a run.

    Returns:
        (N - length + 1,) digests.
    """
    code = event_codes(tokens)
    count = len(code)
    code *= _powers(pow(_MULTIPLIER, -1, 1 << 64), count)
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(code, dtype=np.uint64)])
    powers = _powers(_MULTIPLIER, count)[length - 1 :]
    found: NDArray[np.uint64] = (sums[length:] - sums[:-length]) * powers
    return found


def _powers(base: int, count: int) -> NDArray[np.uint64]:
    """(count,) base^0, base^1, ... modulo 2^64, by doubling."""
    powers = np.ones(count, np.uint64)
    known = 1
    while known < count:
        step = np.uint64(pow(base, known, 1 << 64))
        powers[known : 2 * known] = powers[: min(known, count - known)] * step
        known *= 2
    return powers
