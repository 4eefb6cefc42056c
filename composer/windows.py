"""Windows over one shared array of classes, gathered a batch at a time.

N = events, B = batch, T = window_size
tokens (N, 3) uint8, held once: 3 bytes an event; a window is one index, never a copy
batch  (B, T + 1, 3) uint8: T inputs, then the target
supervisable (N,) bool, for `loss.supervision=every` alone: the positions that may be trained on as targets
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from composer.splits import Indices

_EPOCH_STREAM = 3


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
        tokens: NDArray[np.uint8],
        starts: Indices,
        window_size: int,
        supervisable: NDArray[np.bool_] | None = None,
    ) -> None:
        """Keep the arrays.

        Args:
            tokens: (N, 3) classes.
            starts: (W,) first positions.
            window_size: inputs before the target.
            supervisable: (N,) positions that may be trained on, if batches are to be `Supervised`.
        """
        self.tokens = torch.from_numpy(tokens)
        self.starts = torch.from_numpy(starts)
        # A view (N - T, T + 1, 3): no copy.
        self.views = self.tokens.unfold(0, window_size + 1, 1).transpose(1, 2)
        # Likewise (N - T, T): the positions after each of the T inputs.
        self.masks = None if supervisable is None else torch.from_numpy(supervisable)[1:].unfold(0, window_size, 1)

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, numbers: Indices) -> Tensor | Supervised:
        """Batch (B, T + 1, 3) of the windows with these numbers (B,), with its mask where there is one."""
        starts = self.starts[torch.from_numpy(numbers)]
        return self.views[starts] if self.masks is None else Supervised(self.views[starts], self.masks[starts])


def epoch_order(count: int, seed: int, epoch: int) -> Indices:
    """The order of `count` windows in an epoch: a function of (seed, epoch) alone, whatever ran before."""
    return np.random.default_rng([seed, epoch, _EPOCH_STREAM]).permutation(count)


class BatchOrder(Sampler[Indices]):
    """Numbers of the windows of each batch of an epoch.

    With several processes each gets its share of every batch, so that a step sees the same windows whatever their
    number. `start_batch` skips what a resumed epoch has already done.
    """

    def __init__(self, count: int, batch_size: int, seed: int, *, shuffle: bool, rank: int = 0, world: int = 1) -> None:
        """Args: `count` windows; `batch_size` over all `world` processes, of which this is number `rank`."""
        self.count, self.batch_size, self.seed, self.shuffle = count, batch_size, seed, shuffle
        self.rank, self.world = rank, world
        self.epoch, self.start_batch = 0, 0

    def __len__(self) -> int:
        return -(-self.count // self.batch_size)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next; Lightning calls it before each."""
        if epoch != self.epoch:
            self.start_batch = 0
        self.epoch = epoch

    def start_at(self, epoch: int, batch: int) -> None:
        """Begin in the middle: the next pass is `epoch` from its batch number `batch` on."""
        self.epoch, self.start_batch = epoch, batch

    def __iter__(self) -> Iterator[Indices]:
        order = epoch_order(self.count, self.seed, self.epoch) if self.shuffle else np.arange(self.count)
        for batch in range(self.start_batch, len(self)):
            whole = order[batch * self.batch_size : (batch + 1) * self.batch_size]
            share = whole[self.rank :: self.world]
            # Every process must take part in every step: one without a share gets a window that does not count.
            yield share if len(share) else whole[:1]

    def counted(self, batch: int) -> tuple[int, int]:
        """Windows of a batch that this process counts, and those of the whole batch."""
        whole = min(self.batch_size, self.count - batch * self.batch_size)
        return len(range(self.rank, whole, self.world)), whole


def loader(windows: Windows, order: BatchOrder, num_workers: int) -> DataLoader[Any]:
    """A loader that asks `windows` for whole batches in `order`."""
    return DataLoader(windows, sampler=order, batch_size=None, num_workers=num_workers)
