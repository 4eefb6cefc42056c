"""The data of a run: pieces read, vocabulary fitted on the training events, windows split; and its loaders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytorch_lightning as pl
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from composer import scale
from composer.corpus import Corpus, Tokens, read_corpus
from composer.events import Pieces
from composer.ranges import Indices, Starts, sample
from composer.schema import DataConfig, EncodingConfig, Supervision
from composer.splits import Leak, Splits, covered, supervisable
from composer.splits import leak as measure_leak
from composer.store import StoredPieces, StoredTokens
from composer.vocabulary import TimeError, Vocabulary, fit
from composer.windows import BatchOrder, Windows, loader

# Validation and test need no gradients: larger batches are as exact and quicker.
_EVAL_BATCH = 1024
_EVAL_STREAM = 8


@dataclass(frozen=True, slots=True)
class Music:
    """Everything that a run knows of its data.

    Attributes:
        pieces: in the order of their files.
        tokens: (N, 3) classes of all pieces, one after another.
        offsets: (P,) where each piece begins among them.
        sha256: digest of the files' contents in order (of the events for the embedded piece).
        skipped: files that were left out, with the reason.
        time_error: round-trip error of the training events' times.
    """

    pieces: Pieces
    vocabulary: Vocabulary
    tokens: Tokens
    offsets: NDArray[np.int64]
    splits: Splits
    leak: Leak
    sha256: str
    skipped: list[str]
    time_error: TimeError

    @property
    def events(self) -> int:
        """Events of all pieces."""
        return int(self.pieces.lengths.sum())


def load_music(data: DataConfig, encoding: EncodingConfig, seed: int) -> Music:
    """Read, encode and split the pieces that a config names.

    Raises:
        ComposerError: no usable piece, or too little music for the windows and the split; one line with the way out.
    """
    corpus = read_corpus(data, encoding)
    parts = corpus.split(data, seed)
    if corpus.lazy:
        vocabulary, tokens, leak, time_error = _measure_store(corpus, parts, data, encoding, seed)
    else:
        vocabulary, tokens, leak, time_error = _measure(corpus, parts, data, encoding)
    return Music(
        corpus.pieces,
        vocabulary,
        tokens,
        corpus.offsets,
        parts,
        leak,
        corpus.sha256,
        corpus.skipped,
        time_error,
    )


def _measure(
    corpus: Corpus, parts: Splits, data: DataConfig, encoding: EncodingConfig
) -> tuple[Vocabulary, Tokens, Leak, TimeError]:
    times = np.concatenate([piece.events.delta_time for piece in corpus.pieces])
    assert not isinstance(parts.train, Starts)
    # Of windows of `margin` events: runs that share their targets also share the classes.
    late = data.margin - data.window_size
    trained = times[covered(len(times), parts.train - late, data.margin)]
    vocabulary = fit(encoding, trained)
    tokens = corpus.tokens(vocabulary)
    assert isinstance(tokens, np.ndarray)
    return vocabulary, tokens, measure_leak(tokens, parts, data.window_size), vocabulary.time_error(trained)


def _measure_store(
    corpus: Corpus, parts: Splits, data: DataConfig, encoding: EncodingConfig, seed: int
) -> tuple[Vocabulary, Tokens, Leak, TimeError]:
    assert isinstance(corpus.pieces, StoredPieces)
    assert isinstance(parts.train, Starts)
    vocabulary, time_error = scale.fit_store(corpus.pieces.store, parts.train, data, encoding)
    tokens = corpus.tokens(vocabulary)
    assert isinstance(tokens, StoredTokens)
    return vocabulary, tokens, scale.leak(tokens, parts, data.window_size, seed), time_error


def scored(starts: Indices | Starts, data: DataConfig, seed: int) -> Indices | Starts:
    """The windows of a part that are scored: all, or a fixed draw of `data.eval_windows`."""
    return sample(starts, data.eval_windows, [seed, _EVAL_STREAM])


class MusicDataModule(pl.LightningDataModule):
    """Loaders over the windows of a `Music`."""

    def __init__(
        self, music: Music, config: DataConfig, seed: int, supervision: Supervision = Supervision.last
    ) -> None:
        """Args: `music` as loaded; `config` and `seed` decide the batches; `supervision` which steps are trained on."""
        super().__init__()
        self.music, self.config, self.seed, self.supervision = music, config, seed, supervision
        self.start = (0, 0)

    def start_at(self, epoch: int, batch: int) -> None:
        """Begin training at this epoch and batch, when a run is resumed."""
        self.start = (epoch, batch)

    def _windows(self, starts: Indices | Starts, *, training: bool) -> Windows:
        tokens, size = self.music.tokens, self.config.window_size
        every = training and self.supervision is Supervision.every
        return Windows(tokens, starts, size, supervisable(len(tokens), self.music.splits, size) if every else None)

    def _loader(self, starts: Indices | Starts, *, training: bool) -> DataLoader[Any]:
        rank, world = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        order = BatchOrder(
            len(starts),
            self._size(training),
            self.seed,
            shuffle=training,
            rank=rank,
            world=world,
            per_epoch=self.config.windows_per_epoch if training else None,
            arithmetic=isinstance(starts, Starts),
        )
        if training:
            order.start_at(*self.start)
        return loader(self._windows(starts, training=training), order, self.config.num_workers if training else 0)

    def _size(self, training: bool) -> int:
        return self.config.batch_size if training else max(_EVAL_BATCH, self.config.batch_size)

    def train_dataloader(self) -> DataLoader[Any]:
        """Batches (B, T + 1, 3) uint8 in the epoch's order; `Supervised` ones with `loss.supervision=every`."""
        return self._loader(self.music.splits.train, training=True)

    def val_dataloader(self) -> DataLoader[Any]:
        """Batches of the validation windows, in order."""
        return self._loader(scored(self.music.splits.val, self.config, self.seed), training=False)

    def test_dataloader(self) -> DataLoader[Any]:
        """Batches of all test windows, in order, whatever the processes; none where there is no test block."""
        starts = scored(self.music.splits.test, self.config, self.seed)
        order = BatchOrder(len(starts), self._size(False), self.seed, shuffle=False)
        return loader(self._windows(starts, training=False), order, 0)
