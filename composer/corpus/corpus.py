"""The corpus of a run: the pieces that a config names, from one file or through the store of a folder."""

from __future__ import annotations

import hashlib
import logging
import warnings
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from composer import registry
from composer.config.data import DataConfig, EncodingConfig, Keep, OnError, TimeUnit
from composer.corpus import chorales, jsb_chorales
from composer.corpus.build_store import build, cache_folder
from composer.corpus.metadata import SplitPart, read_groups, read_split_file, split_file
from composer.corpus.read_many import Parameters, read_as
from composer.corpus.store import StoredPieces
from composer.errors import ComposerError, MidiError
from composer.files import user_path
from composer.music.events import Piece, prelude_piece
from composer.music.midi import check_part, find_files, load
from composer.music.pieces import Pieces, ReadPieces
from composer.music.rhythm import is_score
from composer.registry import Contract, implements

log = logging.getLogger(__name__)

# 4,194,304 events: smaller corpora are held in memory and their windows listed, in at most about 300 MB.
MAX_EVENTS_IN_MEMORY = 1 << 22
# Files named individually in warnings; the manifest of the run names all.
MAX_FILES_NAMED = 20
# Files read to decide whether a corpus holds scores or performances.
MAX_FILES_SAMPLED = 32


@dataclass(frozen=True, slots=True)
class Corpus:
    """The pieces of a run.

    Attributes:
        pieces: in the order of their files.
        sha256: digest of the files' contents in order (of the events for the embedded piece).
        skipped: files that were left out, with the reason.
        encoding: the encoding with the time unit of the events, chosen by the music where the config leaves it open.
        store: the folder of the store on disk that the pieces were read from; None without.
        cache: a folder for results about these pieces; None where computing them again is fast.
        parts: with `data.split=file`, the part of each piece.
        names: with `data.group_by`, the value of that column for each piece; None where it is empty.
    """

    pieces: Pieces
    sha256: str
    skipped: list[str]
    encoding: EncodingConfig
    store: Path | None = None
    cache: Path | None = None
    parts: list[SplitPart] | None = None
    names: list[str | None] | None = None


def read_pieces(data: DataConfig, encoding: EncodingConfig) -> tuple[Pieces, str, list[str]]:
    """Return the pieces that a config names, the digest of their files, and the files left out with the reason."""
    corpus = read_corpus(data, encoding)
    return corpus.pieces, corpus.sha256, corpus.skipped


def read_corpus(data: DataConfig, encoding: EncodingConfig, *, check: bool = True) -> Corpus:
    """Read the pieces that a config names.

    Args:
        data: the files and their parts.
        encoding: the unit of time, and the pitches that `check` accepts.
        check: leave out pieces that cannot be trained on (too short, or with pitches that have no class), and warn of
            every file that is left out.

    Raises:
        ComposerError: no file can be used; one line with the remedy.
    """
    source: DataSource = registry.part("data", data.source)(data)
    return source.corpus(encoding, check=check)


class DataSource:
    """A source of pieces.

    A subclass defines `pieces`; one whose pieces are MIDI files of a folder is derived from `FolderSource`.

    Attributes:
        time_unit: unit of the times where the encoding leaves it open: beats for scores, seconds for performances.
        of_files: whether the pieces are in files of a folder, which a CSV file beside them can name.
        config: the keys of the group `data`.
    """

    time_unit: ClassVar[TimeUnit] = TimeUnit.beats
    of_files: ClassVar[bool] = False

    def __init__(self, config: DataConfig) -> None:
        """Keep the keys."""
        self.config = config

    def pieces(self, unit: TimeUnit) -> Iterable[Piece]:
        """Yield the pieces, each with a name of its own, always the same for the same keys.

        Args:
            unit: of the times between events.

        Raises:
            ComposerError: there is no piece; one line with the remedy.
        """
        raise NotImplementedError

    def corpus(self, encoding: EncodingConfig, *, check: bool = True) -> Corpus:
        """Return all pieces, held in memory; see `read_corpus`.

        Raises:
            ComposerError: no piece can be used.
        """
        encoding = encoding.resolved(self.time_unit)
        kept, skipped, contents = [], [], []
        for piece in self.pieces(encoding.unit):
            if check and (reason := unusable_reason(piece, self.config, encoding)):
                skipped.append(f"{piece.name}: {reason}")
                continue
            events = piece.events
            contents.append(events.pitch.tobytes() + events.velocity.tobytes() + events.delta_time.tobytes())
            kept.append(piece)
        if not kept:
            raise MidiError(skipped[0] if skipped else f"data={self.config.source}: has no pieces")
        _log_skipped(skipped)
        digests = [hashlib.sha256(content) for content in contents]
        total = hashlib.sha256(b"".join(digest.digest() for digest in digests))
        digest = digests[0] if len(digests) == 1 else total
        return Corpus(ReadPieces(kept), digest.hexdigest(), skipped, encoding)


CONTRACT = Contract(DataSource, ("pieces", "corpus"), ("of_files",))


@implements("data", "prelude")
class PreludeSource(DataSource):
    """The embedded piece."""

    def pieces(self, unit: TimeUnit) -> Iterable[Piece]:
        """Return the piece."""
        return [prelude_piece(unit)]


class FolderSource(DataSource):
    """A source whose pieces are the MIDI files of a folder, or one file; a subclass defines `root`."""

    of_files = True

    def root(self) -> Path:
        """Return the file or folder.

        Raises:
            ComposerError: it cannot be found or made.
        """
        raise NotImplementedError

    def corpus(self, encoding: EncodingConfig, *, check: bool = True) -> Corpus:
        """Read the files, those of a folder through its store; see `read_corpus`."""
        root, data = self.root(), self.config
        files = find_files(root)
        check_part(data.part)
        encoding = encoding.resolved(TimeUnit.seconds) if encoding.time_unit else _choose_unit(files, data, encoding)
        skipped: dict[Path, str] = {}
        parts_of: dict[Path, SplitPart] | None = None
        if data.split == "file":
            parts_of = _read_parts(root, files, data, skipped)
        pieces: Pieces
        store = cache = None
        if root.is_dir() and data.store is not Keep.off:
            stored, digest = _read_store(root, files, data, encoding, skipped, check=check)
            large = int(stored.lengths.sum()) > MAX_EVENTS_IN_MEMORY
            store, cache = stored.store.folder, stored.store.version if large else None
            pieces = stored if large else ReadPieces(stored[:])
        else:
            pieces, digest = _read_files(root, files, data, encoding, skipped, check=check)
        reasons = [skipped[file] for file in files if file in skipped]
        if check:
            _log_skipped(reasons)
        if not len(pieces):
            raise ComposerError(f"{data.named}: none of its {len(files)} files can be used; first: {reasons[0]}")
        used = [file for file in files if file not in skipped]
        parts = None if parts_of is None else [parts_of[file] for file in used]
        names = None if data.group_by is None else _group_names(root, used, data, data.group_by)
        return Corpus(pieces, digest, reasons, encoding, store, cache, parts, names)


@implements("data", "midi")
class MidiSource(FolderSource):
    """The user's files."""

    def root(self) -> Path:
        """Return `data.path`."""
        assert self.config.path is not None
        return user_path(self.config.path)


@implements("data", "chorales")
class ChoralesSource(FolderSource):
    """Bach's chorales, from the package music21."""

    def root(self) -> Path:
        """Return the folder that the chorales are kept in, made the first time."""
        return chorales.folder(self.config.cache)


@implements("data", "jsb_chorales")
class JsbChoralesSource(FolderSource):
    """The JSB chorales: Bach's chorales as piano rolls of a quarter note, on the published split."""

    def root(self) -> Path:
        """Return the folder that the chorales are kept in, made the first time."""
        return jsb_chorales.folder(self.config.cache)


def _choose_unit(files: list[Path], data: DataConfig, encoding: EncodingConfig) -> EncodingConfig:
    """Choose the unit of time by the music: beats for scores, seconds for performances.

    Of many files at most `MAX_FILES_SAMPLED` are read, spread evenly; those that cannot be read are ignored here.
    """
    places = np.linspace(0, len(files) - 1, min(len(files), MAX_FILES_SAMPLED)).round().astype(int)
    read: list[Piece] = []
    for file in (files[place] for place in places):
        with suppress(MidiError), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read.append(read_as(file, Parameters.of(data, TimeUnit.beats)))
    return encoding.resolved(TimeUnit.beats if is_score(read) else TimeUnit.seconds)


def _log_skipped(reasons: list[str]) -> None:
    for line in reasons[:MAX_FILES_NAMED]:
        log.warning("left out: %s", line)
    if len(reasons) > MAX_FILES_NAMED:
        log.warning("left out: %s files more (manifest.json of the run)", f"{len(reasons) - MAX_FILES_NAMED:,}")


def _read_parts(root: Path, files: list[Path], data: DataConfig, skipped: dict[Path, str]) -> dict[Path, SplitPart]:
    """Return the parts of the files that the CSV file names, and add the others to `skipped`."""
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
    """Return the value of a column of the CSV file for each file."""
    path = _csv(root, data, f"data.group_by={column}")
    groups = read_groups(path, column)
    names = [groups.get(file.relative_to(root).as_posix()) for file in files]
    if not any(names):
        raise ComposerError(f"{path}: column {column} is empty for all {len(files):,} MIDI files in {root}")
    return names


def _csv(root: Path, data: DataConfig, setting: str) -> Path:
    """Return the path of the CSV file that a setting such as `data.split=file` needs."""
    if not root.is_dir():
        raise ComposerError(f"{setting}: needs a folder, and data.path={data.path} is one file")
    return split_file(root, data.split_file, setting)


def _read_files(
    root: Path, files: list[Path], data: DataConfig, encoding: EncodingConfig, skipped: dict[Path, str], *, check: bool
) -> tuple[Pieces, str]:
    """Read files into memory, and add those that are left out to `skipped`; return the pieces with their digest."""
    pieces, digest = [], hashlib.sha256()
    for file in files:
        if file in skipped:
            continue
        try:
            content = load(file)
            piece = read_as(file, Parameters.of(data, encoding.unit), content)
            if check and (reason := unusable_reason(piece, data, encoding)):
                raise MidiError(f"{file}: {reason}")
        except MidiError as error:
            if data.on_error is OnError.fail or not root.is_dir():
                raise
            skipped[file] = str(error)
            continue
        pieces.append(piece)
        digest.update(hashlib.sha256(content).digest())
    return ReadPieces(pieces), digest.hexdigest()


def _read_store(
    root: Path, files: list[Path], data: DataConfig, encoding: EncodingConfig, skipped: dict[Path, str], *, check: bool
) -> tuple[StoredPieces, str]:
    """Read a folder through its store; see `_read_files`."""
    parameters = Parameters.of(data, encoding.unit)
    rebuild = data.store is Keep.rebuild
    store = build(root, files, parameters, cache_folder(data.cache), processes=data.readers, rebuild=rebuild)
    used, digest, notes = [], hashlib.sha256(), []
    for file, entry in zip(files, store.entries, strict=True):
        if file in skipped:
            continue
        reason = entry.error
        if check and not reason:
            reason = _reason(entry.events, entry.pitch_low, entry.pitch_high, data, encoding)
        if reason and data.on_error is OnError.fail:
            raise MidiError(f"{file}: {reason}")
        if reason:
            skipped[file] = f"{file}: {reason}"
            continue
        if entry.note:
            notes.append(f"{file}: {entry.note}")
        used.append(entry)
        digest.update(bytes.fromhex(entry.sha256))
    _warn_of(notes)
    return StoredPieces(store, used), digest.hexdigest()


def _warn_of(notes: Iterable[str]) -> None:
    for number, note in enumerate(notes):
        if number == MAX_FILES_NAMED:
            warnings.warn("and more such files", stacklevel=5)
            return
        warnings.warn(note, stacklevel=5)


def unusable_reason(piece: Piece, data: DataConfig, encoding: EncodingConfig) -> str:
    """Return the reason why a piece is unusable for training with these windows and this encoding; empty if usable."""
    pitch = piece.events.pitch
    return _reason(len(pitch), int(pitch.min()), int(pitch.max()), data, encoding)


def _reason(events: int, low: int, high: int, data: DataConfig, encoding: EncodingConfig) -> str:
    """Return the reason why a piece with this number of events and these pitches is unusable for training."""
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
