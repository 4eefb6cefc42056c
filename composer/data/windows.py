"""Sliding windows of one shared array of classes, gathered batch by batch.

B = batch, T = window_size
tokens  3 bytes per event, stored once: a window is one position, not a copy
batch   (B, T + 1, 3) uint8: T inputs, then the target
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, DistributedSampler, SequentialSampler

from composer.data.augmentation import Augmentation, Played
from composer.data.permutation import Permutation
from composer.data.splits import Supervisable
from composer.data.tokens import TokenSource
from composer.data.window_sets import Indices, WindowSet
from composer.music.pieces import Pieces
from composer.random_streams import RandomStream

# Windows whose numbers are computed together.
_BATCH = 1 << 14


class Supervised(NamedTuple):
    """A batch that is trained on at every step: step t predicts event t + 1 of its window.

    Attributes:
        windows: (B, T + 1, 3) classes.
        mask: (B, T) bool, false where event t + 1 may not be trained on.
    """

    windows: Tensor
    mask: Tensor


class Windows(Dataset[Tensor | Supervised]):
    """The windows of a set; indexing with an array of numbers gathers a whole batch."""

    def __init__(
        self,
        tokens: TokenSource,
        windows: WindowSet,
        window_size: int,
        supervisable: Supervisable | None = None,
        augmentation: Augmentation | None = None,
        pieces: Pieces | None = None,
    ) -> None:
        """Store the sources of the batches.

        Args:
            tokens: classes of all events.
            windows: first positions.
            window_size: inputs before the target.
            supervisable: positions that may be trained on, if batches are to be `Supervised`.
            augmentation: varies every batch; the numbers of windows then continue from one pass over all windows to the
                next (`BatchOrder.endless`).
            pieces: pieces of the tokens' events, for the augmentation.
        """
        self.tokens, self.windows, self.window_size = tokens, windows, window_size
        self.supervisable, self.augmentation, self.pieces = supervisable, augmentation, pieces
        # Positions of the targets of all steps, from the start of a window.
        self._steps = np.arange(1, window_size + 1)

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, numbers: Indices) -> Tensor | Supervised:
        """Return the batch (B, T + 1, 3) of the windows with these numbers (B,), with its mask where there is one."""
        turns = numbers // max(1, len(self.windows))
        starts = self.windows[numbers - turns * len(self.windows)]
        batch = self.tokens.windows(starts, self.window_size + 1)
        if self.augmentation is not None:
            played = None
            if self.augmentation.needs_played:
                assert self.pieces is not None
                played = Played(*self.pieces.played(starts, self.window_size + 1))
            batch = self.augmentation.vary(batch, played, turns, starts + self.window_size)
        windows = torch.from_numpy(batch)
        if self.supervisable is None:
            return windows
        return Supervised(windows, torch.from_numpy(self.supervisable[starts[:, None] + self._steps]))


def epoch_order(count: int, seed: int, epoch: int) -> Indices:
    """Return the order of `count` windows in an epoch: a function of seed and epoch, independent of earlier epochs."""
    return np.random.default_rng([seed, epoch, RandomStream.EPOCH]).permutation(count)


class BatchOrder(DistributedSampler[Indices]):
    """Numbers of the windows of each batch of an epoch.

    Each of several processes gets its share of every batch, so that the windows of a step do not depend on the number
    of processes; being a `DistributedSampler`, it is kept by Lightning's Trainer. `start_at` skips the batches that a
    resumed epoch has already done.
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        seed: int,
        *,
        shuffle: bool,
        rank: int = 0,
        world: int = 1,
        per_epoch: int | None = None,
        arithmetic: bool = False,
        endless: bool = False,
    ) -> None:
        """Store the values that decide the order.

        Args:
            count: number of windows.
            batch_size: windows per batch, over all processes.
            seed: decides the order, with the epoch.
            shuffle: draw a random order per epoch; otherwise the windows come in the order of their numbers.
            rank: the number of this process.
            world: the number of processes.
            per_epoch: windows per epoch; None is all. An epoch continues the order of all windows after the last epoch.
            arithmetic: compute the random order batch by batch, without storing it; it differs from the stored one.
            endless: continue the numbers: window k is `count` + k in the second pass over all, and so on.
        """
        self.count, self.batch_size, self.seed, self.shuffle = count, batch_size, seed, shuffle
        self.rank, self.world, self.arithmetic, self.endless = rank, world, arithmetic, endless
        self.per_epoch = count if per_epoch is None or not count else per_epoch
        self.epoch, self.start_batch = 0, 0

    def __len__(self) -> int:
        return -(-self.per_epoch // self.batch_size)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next pass; Lightning calls it before each."""
        if epoch != self.epoch:
            self.start_batch = 0
        self.epoch = epoch

    def start_at(self, epoch: int, batch: int) -> None:
        """Set the batch and epoch at which the next pass begins."""
        self.epoch, self.start_batch = epoch, batch

    def __iter__(self) -> Iterator[Indices]:
        for whole in self._batches():
            share = whole[self.rank :: self.world]
            # Every process must take part in every step: a process without a share gets a window that is not counted.
            yield share if len(share) else whole[:1]

    def _batches(self) -> Iterator[Indices]:
        """Yield the numbers of the windows of each batch, over all processes."""
        if not self.count:
            return
        # Places in the endless sequence of orders of all windows.
        first = self.epoch * self.per_epoch
        begin, end = first + self.start_batch * self.batch_size, first + self.per_epoch
        # Many batches together: the cost of arithmetic is per call.
        step = self.batch_size * max(1, _BATCH // self.batch_size)
        order, number = self._order(begin // self.count), begin // self.count
        for place in range(begin, end, step):
            places = np.arange(place, min(place + step, end))
            found = []
            for turn in range(int(places[0]) // self.count, int(places[-1]) // self.count + 1):
                if turn != number:
                    order, number = self._order(turn), turn
                numbers = order(places[places // self.count == turn] - turn * self.count)
                found.append(numbers + turn * self.count if self.endless else numbers)
            block = np.concatenate(found)
            for k in range(0, len(block), self.batch_size):
                yield block[k : k + self.batch_size]

    def _order(self, turn: int) -> Callable[[Indices], Indices]:
        """Return the order of the windows in pass `turn` over all of them, as a function from places to numbers."""
        if not self.shuffle:
            return lambda places: places
        if self.arithmetic:
            return Permutation(self.count, [self.seed, turn, RandomStream.EPOCH])
        return epoch_order(self.count, self.seed, turn).__getitem__

    def counted(self, batch: int) -> tuple[int, int]:
        """Return the number of windows of a batch that this process counts, and of the whole batch."""
        whole = min(self.batch_size, self.per_epoch - batch * self.batch_size)
        return len(range(self.rank, whole, self.world)), whole


class FixedBatchOrder(BatchOrder, SequentialSampler):  # type: ignore[misc]
    """An order without shuffling; being a `SequentialSampler`, it is kept by `Trainer(overfit_batches=...)`."""


def loader(windows: Windows, order: BatchOrder, num_workers: int) -> DataLoader[Any]:
    """Return a loader of whole batches from `windows` in `order`."""
    return DataLoader(windows, sampler=order, batch_size=None, num_workers=num_workers)
