"""The data of a run: pieces read, vocabulary fitted on the training events, windows split; and its loaders."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from composer.errors import ComposerError, MidiError
from composer.events import Piece, prelude_piece
from composer.midi import find_files, read_piece
from composer.schema import DataConfig, EncodingConfig, OnError, Source, Supervision
from composer.splits import Indices, Leak, Splits, covered, split_windows, supervisable
from composer.splits import leak as measure_leak
from composer.vocabulary import TimeError, Vocabulary, fit
from composer.windows import BatchOrder, Windows, loader

log = logging.getLogger(__name__)

# Validation and test need no gradients: larger batches are as exact and quicker.
_EVAL_BATCH = 1024


@dataclass(frozen=True, slots=True)
class Music:
    """Everything that a run knows of its data.

    Attributes:
        pieces: in the order of their files.
        tokens: (N, 3) classes of all pieces, one after another.
        sha256: digest of the files' contents in order (of the events for the embedded piece).
        skipped: files that were left out, with the reason.
        time_error: round-trip error of the training events' times.
    """

    pieces: list[Piece]
    vocabulary: Vocabulary
    tokens: NDArray[np.uint8]
    splits: Splits
    leak: Leak
    sha256: str
    skipped: list[str]
    time_error: TimeError


def load_music(data: DataConfig, encoding: EncodingConfig, seed: int) -> Music:
    """Read, encode and split the pieces that a config names.

    Raises:
        ComposerError: no usable piece, or too little music for the windows and the split; one line with the way out.
    """
    pieces, sha256, skipped = read_pieces(data, encoding)
    lengths = [len(piece.events) for piece in pieces]
    parts = split_windows(lengths, data, seed)
    times = np.concatenate([piece.events.delta_time for piece in pieces])
    # Of windows of `margin` events: runs that share their targets also share the classes.
    late = data.margin - data.window_size
    trained = times[covered(len(times), parts.train - late, data.margin)]
    vocabulary = fit(encoding, trained)
    tokens = np.concatenate([vocabulary.encode(piece.events) for piece in pieces])
    leak = measure_leak(tokens, parts, data.window_size)
    time_error = vocabulary.time_error(trained)
    return Music(pieces, vocabulary, tokens, parts, leak, sha256, skipped, time_error)


def read_pieces(data: DataConfig, encoding: EncodingConfig) -> tuple[list[Piece], str, list[str]]:
    """The pieces, the digest of what they were read from, and the files left out with the reason."""
    if data.source is Source.prelude:
        piece = prelude_piece(encoding.time_unit)
        _check_usable(piece, piece.name, data, encoding)
        events = piece.events
        content = events.pitch.tobytes() + events.velocity.tobytes() + events.delta_time.tobytes()
        return [piece], hashlib.sha256(content).hexdigest(), []

    assert data.path is not None
    root = Path(data.path).expanduser()
    files = find_files(root)
    pieces, skipped, digest = [], [], hashlib.sha256()
    for file in files:
        try:
            piece = read_piece(file, part=data.part, time_unit=encoding.time_unit, drums=data.drums, clip=data.clip)
            _check_usable(piece, str(file), data, encoding)
        except MidiError as error:
            if data.on_error is OnError.fail or not root.is_dir():
                raise
            skipped.append(str(error))
            continue
        pieces.append(piece)
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    for line in skipped:
        log.warning("left out: %s", line)
    if not pieces:
        raise ComposerError(f"data.path={data.path}: none of its {len(files)} files can be used; first: {skipped[0]}")
    return pieces, digest.hexdigest(), skipped


def _check_usable(piece: Piece, name: str, data: DataConfig, encoding: EncodingConfig) -> None:
    events = piece.events
    if len(events) <= data.margin:
        raise MidiError(
            f"{name}: {len(events)} events, too few for one window of {data.margin_key} and its "
            "target; use a smaller window or more music"
        )
    low, high = int(events.pitch.min()), int(events.pitch.max())
    if low < encoding.pitch_low or high > encoding.pitch_high:
        raise MidiError(
            f"{name}: its pitches {low}..{high} leave the encoding's range "
            f"{encoding.pitch_low}..{encoding.pitch_high}; encoding=full takes every pitch"
        )


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

    def _windows(self, starts: Indices, *, training: bool) -> Windows:
        tokens, size = self.music.tokens, self.config.window_size
        every = training and self.supervision is Supervision.every
        return Windows(tokens, starts, size, supervisable(len(tokens), self.music.splits, size) if every else None)

    def _loader(self, starts: Indices, *, training: bool) -> DataLoader[Any]:
        rank, world = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        order = BatchOrder(len(starts), self._size(training), self.seed, shuffle=training, rank=rank, world=world)
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
        return self._loader(self.music.splits.val, training=False)

    def test_dataloader(self) -> DataLoader[Any]:
        """Batches of all test windows, in order, whatever the processes; none where there is no test block."""
        starts = self.music.splits.test
        order = BatchOrder(len(starts), self._size(False), self.seed, shuffle=False)
        return loader(self._windows(starts, training=False), order, 0)
