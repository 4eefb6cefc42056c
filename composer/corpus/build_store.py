"""Construction of the store of a folder of MIDI files, and its update when the folder changes.

A build can be stopped at any moment: the events read so far are in a journal, from which the next build continues, and
the store is published in one step, by writing its manifest. Only one process builds; others wait for it.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import signal
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, astuple
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from composer.config.data import TimeUnit
from composer.corpus.read_many import Entry, Parameters, from_bytes, read_all
from composer.corpus.store import EVENTS, FORMAT, MANIFEST, MAX_TIMES, TIMES, Store, encode, rows
from composer.errors import ComposerError, MidiError, RunInterrupted
from composer.files import sync_folder, unwritable, user_path, write_atomic, write_text
from composer.music.events import Events
from composer.music.midi import load
from composer.progress import Counter, say

_LOCK, _BUILDING = ".lock", ".building"
# Below this size of all files, reading them takes less time than starting a process.
_MIN_PARALLEL_BYTES = 1 << 18
# Distinct times that are collected before they are merged.
_MAX_UNMERGED_TIMES = 1 << 22


def cache_folder(given: str | None) -> Path:
    """Return the folder of all stores: as given, or the user's cache."""
    if given is not None:
        return user_path(given).absolute()
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG base directory specification: a relative path is invalid and ignored.
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "composer"


def folder_of(cache: Path, root: Path, parameters: Parameters) -> Path:
    """Return the folder of a corpus's store: one for each folder of files and each set of reading parameters."""
    identity = json.dumps([FORMAT, str(root.absolute()), asdict(parameters)])
    return cache / "corpora" / hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()[:20]


def build(
    root: Path,
    files: list[Path],
    parameters: Parameters,
    cache: Path,
    *,
    processes: int | None = None,
    rebuild: bool = False,
) -> Store:
    """Return the store of a folder, after building or updating it where necessary.

    Args:
        root: the folder.
        files: its MIDI files, in order.
        parameters: how to read them.
        cache: the folder of all stores.
        processes: number of reading processes; None is one per core.
        rebuild: read all files, even those already in the store.

    Raises:
        ComposerError: the cache cannot be written.
        RunInterrupted: Ctrl-C; the events read so far are kept.
    """
    folder = folder_of(cache, root, parameters)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _exclusive(folder):
            store = Store.open(folder)
            if rebuild:
                shutil.rmtree(folder / _BUILDING, ignore_errors=True)
            known = {} if rebuild or store is None else {entry.path: entry for entry in store.entries}
            names = [file.relative_to(root).as_posix() for file in files]
            if store is not None and not rebuild and _current(root, names, store):
                return store
            with _Journal(folder / _BUILDING, parameters) as journal:
                _read(root, names, parameters, known, journal, processes)
                _publish(folder, root, names, parameters, store, known, journal)
            shutil.rmtree(folder / _BUILDING)
            made = Store.open(folder)
    except OSError as error:
        failure = unwritable(Path(error.filename or folder), error)
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST, errno.ENOTDIR):
            failure = ComposerError(f"{failure}; choose another folder with data.cache=, or none with data.store=off")
        raise failure from error
    assert made is not None
    return made


@contextmanager
def _exclusive(folder: Path) -> Iterator[None]:
    """Hold a lock on the folder, after waiting for other processes that hold it."""
    with (folder / _LOCK).open("a+") as stream:
        try:
            fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another process reads these files; waiting for it", sys.stderr)
            fcntl.lockf(stream, fcntl.LOCK_EX)
        yield


def _current(root: Path, names: list[str], store: Store) -> bool:
    """Return whether a store is up to date; update the times of files that changed without their content."""
    if [entry.path for entry in store.entries] != names:
        return False
    before = [(entry.mtime_ns, entry.settled) for entry in store.entries]
    if not all(unchanged(root, entry) for entry in store.entries):
        return False
    if before != [(entry.mtime_ns, entry.settled) for entry in store.entries]:
        write_manifest(store.folder, root, store.parameters, store.entries, store.events.shape[0], len(store.times))
    return True


def unchanged(root: Path, entry: Entry) -> bool:
    """Return whether a file has the content that was read; update its time in `entry` if only that differs."""
    path = root / entry.path
    try:
        status = path.stat()
        if status.st_size != entry.size:
            return False
        if status.st_mtime_ns == entry.mtime_ns and entry.settled:
            return True
        settled = time.time() - status.st_mtime > 2
        if not entry.sha256 or hashlib.sha256(load(path)).hexdigest() != entry.sha256:
            return False
    except (OSError, MidiError):
        return False
    entry.mtime_ns, entry.settled = status.st_mtime_ns, settled
    return True


class _Journal:
    """The journal of an unfinished build: one line per file, and the events of all files read."""

    def __init__(self, folder: Path, parameters: Parameters) -> None:
        self.folder, self.unit = folder, TimeUnit[parameters.time_unit]
        folder.mkdir(exist_ok=True)
        self.lines: BinaryIO = (folder / "files.jsonl").open("a+b")
        self.content: BinaryIO = (folder / "events").open("a+b")
        # The entry and where its bytes begin.
        self.entries: dict[str, tuple[Entry, int]] = {}
        self.end = 0
        self._recover()

    def __enter__(self) -> _Journal:
        return self

    def __exit__(self, *error: object) -> None:
        self.lines.close()
        self.content.close()

    def _recover(self) -> None:
        """Load the complete lines whose events are complete, and truncate the rest."""
        self.lines.seek(0)
        good = 0
        for line in self.lines:
            try:
                row, checksum = json.loads(line)
                entry = Entry(*row)
                content = self._bytes(self.end, entry.events)
            except (ValueError, TypeError):
                break
            if not line.endswith(b"\n") or zlib.crc32(content) != checksum:
                break
            self.entries[entry.path] = (entry, self.end)
            self.end += len(content)
            good += len(line)
        self.lines.truncate(good)
        self.content.truncate(self.end)

    def add(self, entry: Entry, content: bytes) -> None:
        """Write a file's events, then its line, so that every line has its events."""
        self.content.write(content)
        self.content.flush()
        line = json.dumps([astuple(entry), zlib.crc32(content)]).encode() + b"\n"
        self.lines.write(line)
        self.lines.flush()
        self.entries[entry.path] = (entry, self.end)
        self.end += len(content)

    def _bytes(self, begin: int, events: int) -> bytes:
        return os.pread(self.content.fileno(), 10 * events, begin)

    def events(self, name: str) -> Events:
        """Return the events of a file that was read."""
        entry, begin = self.entries[name]
        return from_bytes(self._bytes(begin, entry.events), self.unit)


def _read(
    root: Path,
    names: list[str],
    parameters: Parameters,
    known: dict[str, Entry],
    journal: _Journal,
    processes: int | None,
) -> None:
    """Read into the journal the files that are neither in it nor in the store."""
    for name in list(journal.entries):
        if not unchanged(root, journal.entries[name][0]):
            del journal.entries[name]
    for name in list(known):
        if name in journal.entries or not unchanged(root, known[name]):
            del known[name]
    missing = [name for name in names if name not in known and name not in journal.entries]
    if processes is None:
        processes = len(os.sched_getaffinity(0))
        if _bytes(root, missing) < _MIN_PARALLEL_BYTES:
            processes = 0
    counter = Counter("reading", "files", len(missing))
    try:
        for entry, content in read_all(root, missing, parameters, processes):
            journal.add(entry, content)
            counter.advance()
    except KeyboardInterrupt as error:
        kept = len(names) - len(missing) + round(counter.done)
        raise RunInterrupted(
            f"SIGINT: stopped, {kept:,} of {len(names):,} files are read; the same command goes on", signal.SIGINT
        ) from error
    finally:
        counter.close()


def _bytes(root: Path, names: list[str]) -> int:
    """Return the size of the files in bytes; stop counting at `_MIN_PARALLEL_BYTES`."""
    total = 0
    for name in names:
        try:
            total += (root / name).stat().st_size
        except OSError:
            continue
        if total >= _MIN_PARALLEL_BYTES:
            break
    return total


def _publish(
    folder: Path,
    root: Path,
    names: list[str],
    parameters: Parameters,
    store: Store | None,
    known: dict[str, Entry],
    journal: _Journal,
) -> None:
    """Write all events end to end in the order of the files, then the manifest that names them."""

    def pieces() -> Iterator[tuple[Entry, Events]]:
        for name in names:
            if name in journal.entries:
                yield journal.entries[name][0], journal.events(name)
            else:
                assert store is not None
                yield known[name], store.piece(known[name]).events

    times = _distinct_times(events.delta_time for _, events in pieces())
    entries, offset = [], 0
    temporary = folder / _BUILDING / "version"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    with (temporary / EVENTS).open("wb") as stream:
        kind = np.dtype(np.uint32 if len(times) <= MAX_TIMES else np.uint64)
        total = sum(_count(name, journal, known) for name in names)
        header = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False, "shape": (total,)}
        np.lib.format.write_array_header_1_0(stream, header)
        for entry, events in pieces():
            stream.write(encode(events, times).tobytes())
            entries.append(Entry(*astuple(entry)))
            entries[-1].offset = offset
            offset += len(events)
        stream.flush()
        os.fsync(stream.fileno())
    write_atomic(temporary / TIMES, lambda stream: np.save(stream, times))
    version = _version(parameters, entries)
    target = folder / version
    if target.exists():
        # The same content, perhaps damaged. Processes that have mapped it keep their view.
        target.rename(folder / f"{version}.old")
    temporary.rename(target)
    sync_folder(folder)
    write_manifest(folder, root, parameters, entries, offset, len(times))
    for old in folder.iterdir():
        # Processes that have mapped an old version keep their view: its files vanish with the last map.
        if old.is_dir() and old.name not in (version, _BUILDING):
            shutil.rmtree(old, ignore_errors=True)


def _count(name: str, journal: _Journal, known: dict[str, Entry]) -> int:
    return journal.entries[name][0].events if name in journal.entries else known[name].events


def _distinct_times(parts: Iterator[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return the distinct times of all pieces in rising order."""
    merged, gathered, waiting = np.empty(0), [], 0
    for part in parts:
        gathered.append(np.unique(part))
        waiting += len(gathered[-1])
        if waiting > _MAX_UNMERGED_TIMES:
            merged, gathered, waiting = np.unique(np.concatenate([merged, *gathered])), [], 0
    return np.unique(np.concatenate([merged, *gathered]))


def _version(parameters: Parameters, entries: list[Entry]) -> str:
    """Return a name for the content of a store."""
    digest = hashlib.sha256(json.dumps([FORMAT, asdict(parameters)]).encode())
    for entry in entries:
        digest.update(f"{entry.path}\0{entry.sha256}\0{entry.events}\n".encode("utf-8", "surrogatepass"))
    return f"v-{digest.hexdigest()[:20]}"


def write_manifest(
    folder: Path, root: Path, parameters: Parameters, entries: list[Entry], events: int, times: int
) -> str:
    """Publish a store by writing the manifest that names its version; return the version's name."""
    version = _version(parameters, entries)
    manifest = {
        "format": FORMAT,
        "root": str(root.absolute()),
        "parameters": asdict(parameters),
        "version": version,
        "pieces": sum(not entry.error for entry in entries),
        "events": events,
        "times": times,
        "columns": list(Entry.__dataclass_fields__),
        "files": rows(entries),
    }
    # Not indented: one line for each column of each file would make a long file.
    write_text(folder / MANIFEST, json.dumps(manifest) + "\n")
    return version
