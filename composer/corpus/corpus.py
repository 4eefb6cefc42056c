"""The pieces that a config names: read from one file, or kept in a store for a folder of them."""

from __future__ import annotations

import hashlib
import logging
import warnings
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from composer.config.data import DataConfig, EncodingConfig, Keep, OnError, Source, Split, TimeUnit
from composer.corpus import chorales
from composer.corpus.build_store import build, cache_folder
from composer.corpus.metadata import SplitPart, read_groups, read_split_file, split_file
from composer.corpus.read_many import Parameters, read_as
from composer.corpus.store import StoredPieces
from composer.errors import ComposerError, MidiError
from composer.music.events import Piece, prelude_piece
from composer.music.midi import check_part, find_files, load
from composer.music.pieces import Pieces, ReadPieces
from composer.music.rhythm import is_score

log = logging.getLogger(__name__)

# 4,194,304 events: smaller corpora are held in memory and their windows listed, in some 300 MB at most.
MAX_EVENTS_IN_MEMORY = 1 << 22
# Files that are told of one by one; the store's manifest has all.
_MOST_TOLD = 20
# Files that decide whether a corpus is of scores or of performances.
MAX_FILES_LOOKED_AT = 32


@dataclass(frozen=True, slots=True)
class Corpus:
    """The pieces of a run.

    Attributes:
        pieces: in the order of their files.
        sha256: digest of the files' contents in order (of the events for the embedded piece).
        skipped: files that were left out, with the reason.
        store: the folder of the store on disk that the pieces were read from; None without.
        cache: a folder where results about these pieces may be kept; None where making them again is quick.
        parts: for `data.split=file`, the part of each piece.
        encoding: with the unit of the events, chosen by the music where the config leaves it open.
        names: for `data.group_by`, what the file says of each piece; None where it says nothing.
    """

    pieces: Pieces
    sha256: str
    skipped: list[str]
    encoding: EncodingConfig
    store: Path | None = None
    cache: Path | None = None
    parts: list[SplitPart] | None = None
    names: list[str | None] | None = None

    def usable(self, data: DataConfig, encoding: EncodingConfig) -> tuple[Corpus, list[str]]:
        """Those pieces that can be trained on, and why the others cannot; for what was read with `check=False`."""
        reasons = [_reason(piece, data, encoding) for piece in self.pieces]
        kept = [number for number, reason in enumerate(reasons) if not reason]
        parts = None if self.parts is None else [self.parts[number] for number in kept]
        unusable = [f"{name}: {reason}" for name, reason in zip(self.pieces.names, reasons, strict=True) if reason]
        names = None if self.names is None else [self.names[number] for number in kept]
        return replace(self, pieces=self.pieces.only(kept), parts=parts, names=names), unusable


def read_pieces(data: DataConfig, encoding: EncodingConfig) -> tuple[Pieces, str, list[str]]:
    """The pieces, the digest of what they were read from, and the files left out with the reason."""
    corpus = read_corpus(data, encoding)
    return corpus.pieces, corpus.sha256, corpus.skipped


def read_corpus(data: DataConfig, encoding: EncodingConfig, *, check: bool = True) -> Corpus:
    """Read what a config names.

    Args:
        data: which files, and what of them.
        encoding: the unit of time, and the pitches that `check` allows.
        check: leave out pieces that cannot be trained on (too short, or with pitches that have no class), and tell of
            every file that is left out.

    Raises:
        ComposerError: nothing usable is there; one line with the way out.
    """
    if data.source is Source.prelude:
        encoding = encoding.resolved(TimeUnit.beats)
        piece = prelude_piece(encoding.unit)
        if check and (reason := _reason(piece, data, encoding)):
            raise MidiError(f"{piece.name}: {reason}")
        events = piece.events
        content = events.pitch.tobytes() + events.velocity.tobytes() + events.delta_time.tobytes()
        return Corpus(ReadPieces([piece]), hashlib.sha256(content).hexdigest(), [], encoding)

    if data.source is Source.chorales:
        root = chorales.folder(data.cache)
    else:
        assert data.path is not None
        root = Path(data.path).expanduser()
    files = find_files(root)
    check_part(data.part)
    encoding = encoding.resolved(TimeUnit.seconds) if encoding.time_unit else _chosen(files, data, encoding)
    skipped: dict[Path, str] = {}
    named: dict[Path, SplitPart] | None = None
    if data.split is Split.file:
        named = _named(root, files, data, skipped)
    pieces: Pieces
    store = cache = None
    if root.is_dir() and data.store is not Keep.off:
        stored, digest = _stored(root, files, data, encoding, skipped, check=check)
        large = int(stored.lengths.sum()) > MAX_EVENTS_IN_MEMORY
        store, cache = stored.store.folder, stored.store.version if large else None
        pieces = stored if large else ReadPieces(stored[:])
    else:
        pieces, digest = _direct(root, files, data, encoding, skipped, check=check)
    reasons = [skipped[file] for file in files if file in skipped]
    if check:
        _tell(reasons)
    if not len(pieces):
        raise ComposerError(f"{data.named}: none of its {len(files)} files can be used; first: {reasons[0]}")
    used = [file for file in files if file not in skipped]
    parts = None if named is None else [named[file] for file in used]
    names = None if data.group_by is None else _group_names(root, used, data, data.group_by)
    return Corpus(pieces, digest, reasons, encoding, store, cache, parts, names)


def _chosen(files: list[Path], data: DataConfig, encoding: EncodingConfig) -> EncodingConfig:
    """Choose the unit of time by the music: beats for scores, seconds for performances.

    Of many files some are looked at, spread over all; those that cannot be read are left out here without a word.
    """
    places = np.linspace(0, len(files) - 1, min(len(files), MAX_FILES_LOOKED_AT)).round().astype(int)
    read: list[Piece] = []
    for file in (files[place] for place in places):
        with suppress(MidiError), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read.append(read_as(file, Parameters.of(data, TimeUnit.beats)))
    return encoding.resolved(TimeUnit.beats if is_score(read) else TimeUnit.seconds)


def _tell(reasons: list[str]) -> None:
    for line in reasons[:_MOST_TOLD]:
        log.warning("left out: %s", line)
    if len(reasons) > _MOST_TOLD:
        log.warning("left out: %s files more (manifest.json of the run)", f"{len(reasons) - _MOST_TOLD:,}")


def _named(root: Path, files: list[Path], data: DataConfig, skipped: dict[Path, str]) -> dict[Path, SplitPart]:
    """The parts of those files that the CSV file names; the others are left out."""
    path = _csv(root, data, "data.split=file")
    parts = read_split_file(path)
    named = {file: parts.pop(file.relative_to(root).as_posix(), None) for file in files}
    for file, part in named.items():
        if part is None:
            skipped[file] = f"{file}: not named in {path.name}"
    if parts:
        warnings.warn(
            f"{path}: {len(parts):,} of the files that it names are not in {root}, first {next(iter(parts))}",
            stacklevel=4,
        )
    found = {file: part for file, part in named.items() if part is not None}
    if not found:
        raise ComposerError(f"{path}: names none of the {len(files):,} MIDI files in {root}")
    return found


def _group_names(root: Path, files: list[Path], data: DataConfig, column: str) -> list[str | None]:
    """What the CSV file says of each file in a column."""
    path = _csv(root, data, f"data.group_by={column}")
    groups = read_groups(path, column)
    names = [groups.get(file.relative_to(root).as_posix()) for file in files]
    if not any(names):
        raise ComposerError(f"{path}: says nothing in {column} of the {len(files):,} MIDI files in {root}")
    return names


def _csv(root: Path, data: DataConfig, asked: str) -> Path:
    """The CSV file that a key needs."""
    if not root.is_dir():
        raise ComposerError(f"{asked}: needs a folder, and data.path={data.path} is one file")
    return split_file(root, data.split_file, asked)


def _direct(
    root: Path, files: list[Path], data: DataConfig, encoding: EncodingConfig, skipped: dict[Path, str], *, check: bool
) -> tuple[Pieces, str]:
    """Read files into memory; notes in `skipped` what is left out."""
    pieces, digest = [], hashlib.sha256()
    for file in files:
        if file in skipped:
            continue
        try:
            content = load(file)
            piece = read_as(file, Parameters.of(data, encoding.unit), content)
            if check and (reason := _reason(piece, data, encoding)):
                raise MidiError(f"{file}: {reason}")
        except MidiError as error:
            if data.on_error is OnError.fail or not root.is_dir():
                raise
            skipped[file] = str(error)
            continue
        pieces.append(piece)
        digest.update(hashlib.sha256(content).digest())
    return ReadPieces(pieces), digest.hexdigest()


def _stored(
    root: Path, files: list[Path], data: DataConfig, encoding: EncodingConfig, skipped: dict[Path, str], *, check: bool
) -> tuple[StoredPieces, str]:
    """As `_direct`, of a folder's store."""
    parameters = Parameters.of(data, encoding.unit)
    rebuild = data.store is Keep.rebuild
    store = build(root, files, parameters, cache_folder(data.cache), processes=data.readers, rebuild=rebuild)
    used, digest, notes = [], hashlib.sha256(), []
    for file, entry in zip(files, store.entries, strict=True):
        if file in skipped:
            continue
        reason = entry.error
        if check and not reason:
            reason = _unusable(entry.events, entry.pitch_low, entry.pitch_high, data, encoding)
        if reason and data.on_error is OnError.fail:
            raise MidiError(f"{file}: {reason}")
        if reason:
            skipped[file] = f"{file}: {reason}"
            continue
        if entry.note:
            notes.append(f"{file}: {entry.note}")
        used.append(entry)
        digest.update(bytes.fromhex(entry.sha256))
    _warn(notes)
    return StoredPieces(store, used), digest.hexdigest()


def _warn(notes: Iterable[str]) -> None:
    for number, note in enumerate(notes):
        if number == _MOST_TOLD:
            warnings.warn("and more such files", stacklevel=5)
            return
        warnings.warn(note, stacklevel=5)


def _reason(piece: Piece, data: DataConfig, encoding: EncodingConfig) -> str:
    """As `_unusable`."""
    pitch = piece.events.pitch
    return _unusable(len(pitch), int(pitch.min()), int(pitch.max()), data, encoding)


def _unusable(events: int, low: int, high: int, data: DataConfig, encoding: EncodingConfig) -> str:
    """Why a piece cannot be used with these windows and this encoding; empty if it can."""
    if events <= data.margin:
        return (
            f"{events} events, too few for one window of {data.margin_key} and its "
            "target; use a smaller window or more music"
        )
    if low < encoding.pitch_low or high > encoding.pitch_high:
        return (
            f"its pitches {low}..{high} leave the encoding's range "
            f"{encoding.pitch_low}..{encoding.pitch_high}; encoding=full takes every pitch"
        )
    return ""
