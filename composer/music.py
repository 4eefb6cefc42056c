"""The music of a run, without torch: pieces read, classes fitted to training events, windows split, leak measured."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from composer.errors import ComposerError, MidiError
from composer.events import Piece, prelude_piece
from composer.midi import find_files, read_piece
from composer.schema import DataConfig, EncodingConfig, OnError, Source, TimeUnit
from composer.similarity import Groups, alone, group
from composer.splits import Leak, Splits, covered, split_windows
from composer.splits import leak as measure_leak
from composer.vocabulary import TimeError, Vocabulary, fit

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Music:
    """Everything that a run knows of its data.

    Attributes:
        pieces: in the order of their files.
        tokens: (N, 3) classes of all pieces, one after another.
        groups: which of them are alike.
        sha256: digest of the files' contents in order (of the events for the embedded piece).
        skipped: files that were left out, with the reason.
        trained_times: (N',) times of the training events, which the classes were fitted to.
        time_error: their round-trip error.
    """

    pieces: list[Piece]
    vocabulary: Vocabulary
    tokens: NDArray[np.uint8]
    splits: Splits
    groups: Groups
    leak: Leak
    sha256: str
    skipped: list[str]
    trained_times: NDArray[np.float64]
    time_error: TimeError


def load_music(data: DataConfig, encoding: EncodingConfig, seed: int) -> Music:
    """Read, encode and split the pieces that a config names.

    Raises:
        ComposerError: no usable piece, or too little music for the windows and the split; one line with the way out.
    """
    return prepare(*read_pieces(data, encoding), data, encoding, seed)


def prepare(
    pieces: list[Piece], sha256: str, skipped: list[str], data: DataConfig, encoding: EncodingConfig, seed: int
) -> Music:
    """Encode and split pieces as `read_pieces` gives them; see `load_music`."""
    parts, groups = split_pieces(pieces, data, seed)
    times = np.concatenate([piece.events.delta_time for piece in pieces])
    # Of windows of `margin` events: runs that share their targets also share the classes.
    late = data.margin - data.window_size
    training = covered(len(times), parts.train - late, data.margin)
    trained = times[training]
    vocabulary = fit(encoding, trained, np.concatenate([piece.events.velocity for piece in pieces])[training])
    tokens = np.concatenate([vocabulary.encode(piece.events) for piece in pieces])
    leak = measure_leak(tokens, parts, data.window_size)
    time_error = vocabulary.time_error(trained)
    return Music(pieces, vocabulary, tokens, parts, groups, leak, sha256, skipped, trained, time_error)


def split_pieces(pieces: list[Piece], data: DataConfig, seed: int) -> tuple[Splits, Groups]:
    """The windows of each part, and the groups of pieces that were kept together for it; see `split_windows`."""
    if len(pieces) == 1 or data.group_similarity is None:
        groups = alone(len(pieces))
    else:
        groups = group((piece.events for piece in pieces), data.group_similarity)
    return split_windows([len(piece.events) for piece in pieces], data, seed, groups.of), groups


def read_pieces(
    data: DataConfig, encoding: EncodingConfig, *, check: bool = True
) -> tuple[list[Piece], str, list[str]]:
    """The pieces, the digest of what they were read from, and the files left out with the reason.

    Args:
        data: which files, and what of them.
        encoding: the unit of time, and the pitches that `check` allows.
        check: leave out pieces that cannot be trained on: too short, or with pitches that have no class.
    """
    if data.source is Source.prelude:
        piece = prelude_piece(encoding.time_unit)
        if check:
            check_usable(piece, piece.name, data, encoding)
        events = piece.events
        content = events.pitch.tobytes() + events.velocity.tobytes() + events.delta_time.tobytes()
        return [piece], hashlib.sha256(content).hexdigest(), []

    assert data.path is not None
    root = Path(data.path).expanduser()
    files = find_files(root)
    pieces, skipped, digest = [], [], hashlib.sha256()
    for file in files:
        try:
            piece = read_as(file, data, encoding.time_unit)
            if check:
                check_usable(piece, str(file), data, encoding)
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


def read_as(file: Path, data: DataConfig, unit: TimeUnit) -> Piece:
    """Read a MIDI file as the `data` keys say; see `read_piece`."""
    return read_piece(
        file,
        part=data.part,
        time_unit=unit,
        drums=data.drums,
        clip=data.clip,
        order=data.order,
        pedal=data.pedal,
    )


def check_usable(piece: Piece, name: str, data: DataConfig, encoding: EncodingConfig) -> None:
    """Raise a `MidiError` that begins with `name` if the piece cannot be trained on with this window and encoding."""
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
