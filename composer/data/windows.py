"""Windows over one shared array of classes, gathered a batch at a time.

N = events, B = batch, T = window_size
tokens (N, 3) uint8, held once: 3 bytes an event; a window is one index, never a copy
batch  (B, T + 1, 3) uint8: T inputs, then the target
of a store (`store.py`) the classes of a batch are made from its events when the batch is gathered
supervisable (N,) bool, for `loss.supervision=every` alone: the positions that may be trained on as targets
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from composer.corpus.store import StoredTokens
from composer.data.augmentation import Augmentation, Played
from composer.data.permutation import Permutation
from composer.data.splits import Supervisable
from composer.data.window_sets import Indices, Starts

_EPOCH_STREAM = 3
# Windows whose numbers are computed at once.
_BLOCK = 1 << 14


class Supervised(NamedTuple):
    """A batch that is trained on at every step: step t predicts event t + 1 of its window.

    Attributes:
        windows: (B, T + 1, 3) classes.
        mask: (B, T) bool, false where event t + 1 may not be trained on.
    """

    windows: Tensor
    mask: Tensor


class Windows(Dataset[Tensor | Supervised]):
    """The windows that begin at `starts`; indexing with an array of numbers gathers a whole batch."""

    def __init__(
        self,
        tokens: NDArray[np.uint8] | StoredTokens,
        starts: Indices | Starts,
        window_size: int,
        supervisable: NDArray[np.bool_] | Supervisable | None = None,
        augmentation: Augmentation | None = None,
        played: Played | None = None,
    ) -> None:
        """Keep the arrays.

        Args:
            tokens: (N, 3) classes.
            starts: (W,) first positions.
            window_size: inputs before the target.
            supervisable: (N,) positions that may be trained on, if batches are to be `Supervised`.
            augmentation: varies every batch; its numbers then go on from one pass over all windows to the next
                (`BatchOrder.endless`).
            played: (N,) each, where the augmentation needs them of an array.
        """
        self.augmentation, self.played = augmentation, played
        self.source, self.starts, self.window_size, self.supervisable = tokens, starts, window_size, supervisable
        self.stored = tokens if isinstance(tokens, StoredTokens) else None
        if isinstance(tokens, np.ndarray):
            self.tokens = torch.from_numpy(tokens)
            # A view (N - T, T + 1, 3): no copy.
            self.views = self.tokens.unfold(0, window_size + 1, 1).transpose(1, 2)
        self.masks: Tensor | None = None
        if isinstance(supervisable, np.ndarray):
            # Likewise (N - T, T): the positions after each of the T inputs.
            self.masks = torch.from_numpy(supervisable)[1:].unfold(0, window_size, 1)

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, numbers: Indices) -> Tensor | Supervised:
        """Batch (B, T + 1, 3) of the windows with these numbers (B,), with its mask where there is one."""
        turns = numbers // max(1, len(self.starts))
        starts = self.starts[numbers - turns * len(self.starts)]
        if self.stored is None:
            windows = self.views[torch.from_numpy(starts)]
        else:
            windows = torch.from_numpy(self.stored.windows(starts, self.window_size + 1))
        if self.augmentation is not None:
            played = self._played(starts) if self.augmentation.needs_played else None
            varied = self.augmentation.vary(windows.numpy(), played, turns, starts + self.window_size)
            windows = torch.from_numpy(varied)
        if isinstance(self.supervisable, Supervisable):
            targets = starts[:, None] + np.arange(1, self.window_size + 1)
            return Supervised(windows, torch.from_numpy(self.supervisable[targets]))
        return windows if self.masks is None else Supervised(windows, self.masks[torch.from_numpy(starts)])

    def _played(self, starts: Indices) -> Played:
        """(B, T + 1) each of the windows from each start (B,) on."""
        length = self.window_size + 1
        if self.stored is not None:
            return Played(*self.stored.played(starts, length))
        assert self.played is not None
        views = np.lib.stride_tricks.sliding_window_view
        return Played(views(self.played.velocity, length)[starts], views(self.played.delta_time, length)[starts])


def epoch_order(count: int, seed: int, epoch: int) -> Indices:
    """The order of `count` windows in an epoch: a function of (seed, epoch) alone, whatever ran before."""
    return np.random.default_rng([seed, epoch, _EPOCH_STREAM]).permutation(count)


class BatchOrder(Sampler[Indices]):
    """Numbers of the windows of each batch of an epoch.

    With several processes each gets its share of every batch, so that a step sees the same windows whatever their
    number. `start_batch` skips what a resumed epoch has already done.
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
        """Keep what decides the order.

        Args:
            count: windows.
            batch_size: windows of a batch, over all processes.
            seed: decides the order, with the epoch.
            shuffle: whether there is an order but the plain one.
            rank: the number of this process.
            world: how many processes there are.
            per_epoch: windows of an epoch; None is all. Epochs go on in one order of all, then in the next.
            arithmetic: the order is another one, which is computed batch by batch and takes no memory.
            endless: numbers go on: window k is `count` + k when all are gone through for the second time, and so on.
        """
        self.count, self.batch_size, self.seed, self.shuffle = count, batch_size, seed, shuffle
        self.rank, self.world, self.arithmetic, self.endless = rank, world, arithmetic, endless
        self.per_epoch = count if per_epoch is None or not count else per_epoch
        self.epoch, self.start_batch = 0, 0

    def __len__(self) -> int:
        return -(-self.per_epoch // self.batch_size)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next; Lightning calls it before each."""
        if epoch != self.epoch:
            self.start_batch = 0
        self.epoch = epoch

    def start_at(self, epoch: int, batch: int) -> None:
        """Begin in the middle: the next pass is `epoch` from its batch number `batch` on."""
        self.epoch, self.start_batch = epoch, batch

    def __iter__(self) -> Iterator[Indices]:
        for whole in self._batches():
            share = whole[self.rank :: self.world]
            # Every process must take part in every step: one without a share gets a window that does not count.
            yield share if len(share) else whole[:1]

    def _batches(self) -> Iterator[Indices]:
        """The numbers of the windows of each batch, over all processes."""
        if not self.count:
            return
        # Places in an endless row of orders of all windows, as many as there are passes.
        first = self.epoch * self.per_epoch
        begin, end = first + self.start_batch * self.batch_size, first + self.per_epoch
        # Many batches at once: arithmetic has its price by the call.
        step = self.batch_size * max(1, _BLOCK // self.batch_size)
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
        """The order of the windows the first, second, ... time that all of them are gone through."""
        if not self.shuffle:
            return lambda places: places
        if self.arithmetic:
            return Permutation(self.count, [self.seed, turn, _EPOCH_STREAM])
        return epoch_order(self.count, self.seed, turn).__getitem__

    def counted(self, batch: int) -> tuple[int, int]:
        """Windows of a batch that this process counts, and those of the whole batch."""
        whole = min(self.batch_size, self.per_epoch - batch * self.batch_size)
        return len(range(self.rank, whole, self.world)), whole


def loader(windows: Windows, order: BatchOrder, num_workers: int) -> DataLoader[Any]:
    """A loader that asks `windows` for whole batches in `order`."""
    return DataLoader(windows, sampler=order, batch_size=None, num_workers=num_workers)
