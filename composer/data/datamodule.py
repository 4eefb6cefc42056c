"""The Lightning data module: loaders over the windows of the data of a run."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
from torch.utils.data import DataLoader

from composer.config.data import AugmentationConfig, DataConfig
from composer.config.training import Supervision
from composer.data.augmentation import Augmentation
from composer.data.bar_position import with_bars
from composer.data.prepare import PreparedData
from composer.data.splits import Supervisable
from composer.data.streams import StreamOrder, Streams, segments
from composer.data.window_sets import WindowSet, sample
from composer.data.windows import BatchOrder, Windows, loader
from composer.random_streams import RandomStream

# Validation and test need no gradients: larger batches are as exact and faster.
_EVAL_BATCH = 1024


def scored(windows: WindowSet, data: DataConfig, seed: int) -> WindowSet:
    """Return the windows of a part that are scored: all, or a fixed draw of `data.eval_windows`."""
    return sample(windows, data.eval_windows, [seed, RandomStream.EVALUATION_SAMPLE])


class MusicDataModule(pl.LightningDataModule):
    """Loaders over the windows of the data of a run."""

    def __init__(
        self,
        music: PreparedData,
        config: DataConfig,
        seed: int,
        supervision: Supervision = Supervision.last,
        augmentation: AugmentationConfig | None = None,
        *,
        bar_position: bool = False,
    ) -> None:
        """Make the loaders.

        Args:
            music: the data of the run.
            config: sizes of windows, batches and epochs.
            seed: decides the batches.
            supervision: the steps that are trained on.
            augmentation: variation of the training windows; None is none.
            bar_position: add the place in the bar as a fourth column.

        Raises:
            ComposerError: a file has no bars, or the corpus does not fit into memory with them.
        """
        super().__init__()
        varied = augmentation is not None and augmentation.active
        self.augmentation = Augmentation(augmentation, music.vocabulary, seed) if augmentation and varied else None
        self.music, self.config, self.seed, self.supervision = music, config, seed, supervision
        self.tokens = with_bars(music.tokens, music.pieces) if bar_position else music.tokens
        self.start = (0, 0)

    def start_at(self, epoch: int, batch: int) -> None:
        """Set the epoch and batch at which training begins, when a run is resumed."""
        self.start = (epoch, batch)

    def _windows(self, windows: WindowSet, *, training: bool) -> Windows:
        size = self.config.window_size
        every = training and self.supervision is Supervision.every
        mask = Supervisable(self.music.splits, size) if every else None
        return Windows(self.tokens, windows, size, mask, self.augmentation if training else None, self.music.pieces)

    def _loader(self, windows: WindowSet, *, training: bool) -> DataLoader[Any]:
        rank, world = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        order = BatchOrder(
            len(windows),
            self._size(training),
            self.seed,
            shuffle=training,
            rank=rank,
            world=world,
            per_epoch=self.config.windows_per_epoch if training else None,
            arithmetic=windows.computed,
            endless=training and self.augmentation is not None,
        )
        if training:
            order.start_at(*self.start)
        return loader(self._windows(windows, training=training), order, self.config.num_workers if training else 0)

    def _size(self, training: bool) -> int:
        return self.config.batch_size if training else max(_EVAL_BATCH, self.config.batch_size)

    def _streams(self) -> DataLoader[Any]:
        music, size = self.music, self.config.window_size
        runs = segments(music.splits.train, music.pieces.offsets, size)
        order = StreamOrder(runs, size, self.config.batch_size, self.seed)
        order.start_at(*self.start)
        streams = Streams(self.tokens, size, Supervisable(music.splits, size))
        return DataLoader(streams, sampler=order, batch_size=None, num_workers=self.config.num_workers)

    def train_dataloader(self) -> DataLoader[Any]:
        """Return batches (B, T + 1, 3) uint8 in the epoch's order; `Supervised` or `Streamed` by `loss.supervision`.

        With the place in the bar they are (B, T + 1, 4).
        """
        if self.supervision is Supervision.stream:
            return self._streams()
        return self._loader(self.music.splits.train, training=True)

    def val_dataloader(self) -> DataLoader[Any]:
        """Return the batches of the validation windows, in order."""
        return self._loader(scored(self.music.splits.val, self.config, self.seed), training=False)

    def test_dataloader(self) -> DataLoader[Any]:
        """Return the batches of all test windows, in order on every process; none without a test block."""
        windows = scored(self.music.splits.test, self.config, self.seed)
        order = BatchOrder(len(windows), self._size(False), self.seed, shuffle=False)
        return loader(self._windows(windows, training=False), order, 0)
