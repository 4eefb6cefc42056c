"""The Lightning data module: loaders over the windows of the data of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
from torch.utils.data import DataLoader

from composer.config.data import AugmentationConfig, DataConfig, EncodingConfig
from composer.config.plain import from_plain, to_plain
from composer.config.training import Supervision
from composer.data.augmentation import make_augmentation
from composer.data.bar_position import with_bars
from composer.data.prepare import PreparedData, load_data
from composer.data.splits import Supervisable
from composer.data.streams import FixedStreamOrder, StreamOrder, Streams, segments
from composer.data.window_sets import WindowSet, sample
from composer.data.windows import BatchOrder, FixedBatchOrder, Windows, loader
from composer.errors import ComposerError
from composer.random_streams import RandomStream

# Validation and test need no gradients: larger batches are as exact and faster.
_EVAL_BATCH = 1024


def scored(windows: WindowSet, data: DataConfig, seed: int) -> WindowSet:
    """Return the windows of a part that are scored: all, or a fixed draw of `data.eval_windows`."""
    return sample(windows, data.eval_windows, [seed, RandomStream.EVALUATION_SAMPLE])


class MusicDataModule(pl.LightningDataModule):
    """Loaders over the windows of the data of a run, for any Lightning Trainer."""

    def __init__(
        self,
        music: PreparedData | None = None,
        config: DataConfig | Mapping[str, Any] | None = None,
        seed: int = 0,
        supervision: Supervision | str = Supervision.last,
        augmentation: AugmentationConfig | Mapping[str, Any] | None = None,
        *,
        encoding: EncodingConfig | Mapping[str, Any] | None = None,
        bar_position: bool = False,
        mask_held_out: bool = True,
    ) -> None:
        """Keep the configs, and the data where it has been read.

        All arguments but the data are saved as hyperparameters in plain values.

        Args:
            music: the data of the run; None reads it in `setup`.
            config: where the data is, its split, and sizes of windows, batches and epochs; as its dataclass or in plain
                values.
            seed: decides the batches.
            supervision: the steps that are trained on.
            augmentation: variation of the training windows; None is none.
            encoding: the classes; needed where `music` is None.
            bar_position: add the place in the bar as a fourth column.
            mask_held_out: train on no target of a validation or test window; see `loss.mask_held_out`.

        Raises:
            ComposerError: a value is outside its limits, a file has no bars, or the corpus does not fit into memory
                with them.
        """
        super().__init__()
        if config is None:
            raise ComposerError("config: the data group of a config is needed, compose().data for example")
        self.config, self.seed = from_plain(DataConfig, config), seed
        self.supervision = Supervision[supervision] if isinstance(supervision, str) else supervision
        self.encoding = None if encoding is None else from_plain(EncodingConfig, encoding)
        self.bar_position, self.mask_held_out = bar_position, mask_held_out
        self._augmentation = None if augmentation is None else from_plain(AugmentationConfig, augmentation)
        self.save_hyperparameters(
            {
                "config": to_plain(self.config),
                "seed": seed,
                "supervision": self.supervision.name,
                "augmentation": None if self._augmentation is None else to_plain(self._augmentation),
                "encoding": None if self.encoding is None else to_plain(self.encoding),
                "bar_position": bar_position,
                "mask_held_out": mask_held_out,
            },
            logger=False,
        )
        self.start = (0, 0)
        self.music: PreparedData
        if music is not None:
            self._keep(music)

    def _keep(self, music: PreparedData) -> None:
        """Use prepared data."""
        self.music = music
        self.tokens = with_bars(music.tokens, music.pieces) if self.bar_position else music.tokens
        varied = self._augmentation is not None and self._augmentation.active
        self.augmentation = (
            make_augmentation(self._augmentation, music.vocabulary, self.seed)
            if self._augmentation and varied
            else None
        )

    def prepare_data(self) -> None:
        """Read the data once per machine, so that processes find a large corpus in its store."""
        if not hasattr(self, "music"):
            self.setup()

    def setup(self, stage: str | None = None) -> None:
        """Read the data where the module was made without.

        Raises:
            ComposerError: the encoding is missing, or the data cannot be used; see `load_data`.
        """
        if hasattr(self, "music"):
            return
        if self.encoding is None:
            raise ComposerError("encoding: the encoding group of a config is needed to read the data")
        self._keep(load_data(self.config, self.encoding, self.seed))

    def start_at(self, epoch: int, batch: int) -> None:
        """Set the epoch and batch at which training begins, when a run is resumed."""
        self.start = (epoch, batch)

    def state_dict(self) -> dict[str, Any]:
        """Return the position in the training for a checkpoint: the epoch, and its batches that have been done."""
        if self.trainer is None:
            return {"position": list(self.start)}
        done = self.trainer.fit_loop.epoch_loop.batch_progress.current.processed  # type: ignore[attr-defined]
        return {"position": [self.trainer.current_epoch, done]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue at the position of a checkpoint."""
        epoch, batch = state_dict["position"]
        self.start_at(epoch, batch)

    def _windows(self, windows: WindowSet, *, training: bool) -> Windows:
        size = self.config.window_size
        every = training and self.supervision is Supervision.every
        mask = Supervisable(self.music.splits, size, masked=self.mask_held_out) if every else None
        return Windows(self.tokens, windows, size, mask, self.augmentation if training else None, self.music.pieces)

    def _loader(self, windows: WindowSet, *, training: bool) -> DataLoader[Any]:
        rank, world = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        shuffle = training and not self._overfits
        order = (BatchOrder if shuffle else FixedBatchOrder)(
            len(windows),
            self._size(training),
            self.seed,
            shuffle=shuffle,
            rank=rank,
            world=world,
            per_epoch=self.config.windows_per_epoch if training else None,
            arithmetic=windows.computed,
            endless=training and self.augmentation is not None,
        )
        if shuffle:
            order.start_at(*self.start)
        return loader(self._windows(windows, training=training), order, self.config.num_workers if training else 0)

    @property
    def _overfits(self) -> bool:
        return self.trainer is not None and self.trainer.overfit_batches > 0  # type: ignore[attr-defined]

    def _size(self, training: bool) -> int:
        return self.config.batch_size if training else max(_EVAL_BATCH, self.config.batch_size)

    def _streams(self) -> DataLoader[Any]:
        music, size = self.music, self.config.window_size
        runs = segments(music.splits.train, music.pieces.offsets, size)
        order = (FixedStreamOrder if self._overfits else StreamOrder)(runs, size, self.config.batch_size, self.seed)
        if not self._overfits:
            order.start_at(*self.start)
        streams = Streams(self.tokens, size, Supervisable(music.splits, size, masked=self.mask_held_out))
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
        order = FixedBatchOrder(len(windows), self._size(False), self.seed, shuffle=False)
        return loader(self._windows(windows, training=False), order, 0)

    def predict_dataloader(self) -> DataLoader[Any]:
        """Return the batches of the windows that a Trainer predicts: of the test block, else of validation."""
        return self.test_dataloader() if len(self.music.splits.test) else self.val_dataloader()
