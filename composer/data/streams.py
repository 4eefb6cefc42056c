"""Truncated backpropagation through time: pieces read from end to end, with the state kept from batch to batch.

B = parallel streams, T = window_size, the steps between two steps of the optimiser
windows (B, T + 1, 3) uint8: T inputs and the event after each
rows    (B, 3) int64: first position, steps that count, and 1 where the state is reset

Backpropagation through time is cut every T steps, the state is not (truncated backpropagation, Williams and Peng 1990).
A pass concatenates the training segments, runs of events that training windows cover, in a random order, cuts them into
chunks of T steps, and gives every stream an equal share of these. The state is reset at the start of each segment and
each share. An epoch makes T passes, each beginning one event later in every segment: so it has the number of steps of
an epoch over windows, and the cuts fall at every position.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, DistributedSampler, SequentialSampler

from composer.data.permutation import Permutation
from composer.data.splits import Supervisable
from composer.data.tokens import TokenSource
from composer.data.window_sets import Indices, WindowSet
from composer.random_streams import RandomStream


class Streamed(NamedTuple):
    """A batch of streams: step t predicts event t + 1.

    Attributes:
        windows: (B, T + 1, 3) classes.
        mask: (B, T) bool, false where event t + 1 may not be trained on.
        fresh: (B,) bool, true where the state is reset.
    """

    windows: Tensor
    mask: Tensor
    fresh: Tensor


def segments(train: WindowSet, offsets: NDArray[np.int64], window_size: int) -> list[range]:
    """Return the ranges of positions that training windows cover; none crosses from one piece into the next.

    Args:
        train: the training windows.
        offsets: (P,) position of the first event of each piece.
        window_size: events before a window's target.
    """
    found = []
    for run in train.covered_runs(0, window_size):
        inside = offsets[np.searchsorted(offsets, run.start, side="right") : np.searchsorted(offsets, run.stop)]
        ends = [run.start, *inside.tolist(), run.stop]
        found += [range(begin, end) for begin, end in itertools.pairwise(ends)]
    return found


class Streams(Dataset[Streamed]):
    """The batches of the rows of a `StreamOrder`."""

    def __init__(self, tokens: TokenSource, window_size: int, supervisable: Supervisable) -> None:
        """Store the classes, the steps of a chunk, and the positions that may be trained on."""
        self.tokens, self.supervisable = tokens, supervisable
        self.steps = np.arange(window_size + 1)

    def __getitem__(self, rows: Indices) -> Streamed:
        """Return the batch of rows (B, 3)."""
        begins, counts, fresh = rows.T
        # Events after a chunk's last step are read and masked.
        positions = np.minimum(begins[:, None] + self.steps, len(self.tokens) - 1)
        mask = (self.steps[:-1] < counts[:, None]) & self.supervisable[positions[:, 1:]]
        return Streamed(
            torch.from_numpy(self.tokens[positions]), torch.from_numpy(mask), torch.from_numpy(fresh.astype(np.bool_))
        )


class StreamOrder(DistributedSampler[Indices]):
    """The rows of each batch of an epoch: a function of seed and epoch."""

    def __init__(self, runs: Sequence[range], window_size: int, streams: int, seed: int) -> None:
        """Prepare the passes.

        Args:
            runs: the training segments.
            window_size: steps per chunk, and passes per epoch.
            streams: number of parallel streams; fewer if there are fewer chunks.
            seed: decides the order of the segments, with the epoch.
        """
        self.begins = np.array([run.start for run in runs], np.int64)
        self.lengths = np.array([len(run) for run in runs], np.int64)
        self.window_size, self.streams, self.seed = window_size, streams, seed
        self.epoch, self.start_batch = 0, 0
        chunks = [int(self._chunks(skipped).sum()) for skipped in range(window_size)]
        self.sizes = [-(-count // max(1, min(streams, count))) for count in chunks]

    def __len__(self) -> int:
        return sum(self.sizes)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next pass; Lightning calls it before each."""
        if epoch != self.epoch:
            self.start_batch = 0
        self.epoch = epoch

    def start_at(self, epoch: int, batch: int) -> None:
        """Set the batch and epoch at which the next pass begins."""
        self.epoch, self.start_batch = epoch, batch

    def __iter__(self) -> Iterator[Indices]:
        before = 0
        for skipped, size in enumerate(self.sizes):
            begin = max(0, self.start_batch - before)
            before += size
            if begin < size:
                yield from self._pass(skipped, begin)

    def _chunks(self, skipped: int) -> Indices:
        """Return the chunks (R,) of each segment without its first `skipped` events; its first event is no target."""
        found: Indices = -(-np.maximum(0, self.lengths - skipped - 1) // self.window_size)
        return found

    def _pass(self, skipped: int, begin: int) -> Iterator[Indices]:
        """Yield the rows of the batches of a pass, from its batch number `begin` on."""
        key = [self.seed, self.epoch, skipped, RandomStream.SEGMENTS]
        order = Permutation(len(self.begins), key)(np.arange(len(self.begins)))
        before = np.cumsum([0, *self._chunks(skipped)[order].tolist()])
        count = int(before[-1])
        streams = min(self.streams, count)
        shares = np.arange(streams + 1) * count // max(1, streams)
        for step in range(begin, self.sizes[skipped]):
            numbers = shares[:-1] + step
            place = np.searchsorted(before, np.minimum(numbers, count - 1), side="right") - 1
            segment, chunk = order[place], numbers - before[place]
            first = self.begins[segment] + skipped + chunk * self.window_size
            left = self.begins[segment] + self.lengths[segment] - 1 - first
            # A share that is one chunk shorter is empty in the last batch.
            steps = np.where(numbers < shares[1:], np.minimum(left, self.window_size), 0)
            fresh = (chunk == 0) | (step == 0)
            yield np.stack([first, steps, fresh], axis=1)


class FixedStreamOrder(StreamOrder, SequentialSampler):  # type: ignore[misc]
    """The same batches in every epoch; being a `SequentialSampler`, it is kept by `Trainer(overfit_batches=...)`."""

    def set_epoch(self, epoch: int) -> None:
        """Stay at the first epoch."""
