"""A corpus on disk: the events of many files as one memory-mapped array.

    CACHE/corpora/KEY/manifest.json       parameters, the entry of each file, and the name of the version
    CACHE/corpora/KEY/VERSION/events.npy  (N,) uint32, or uint64 where there are over 2^18 distinct times
    CACHE/corpora/KEY/VERSION/times.npy   (U,) float64, rising: the distinct times since the previous event
    CACHE/corpora/KEY/VERSION/groups-*.npy  groups of similar pieces, where they were computed (`data/prepare.py`)
    CACHE/corpora/KEY/.building/          the journal of an unfinished build

An event is coded as `number of its time << 14 | velocity << 7 | pitch`. The code is exact and independent of any
vocabulary, because that is fitted to the training events of a run. Pieces lie end to end in the order of their files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.config.data import TimeUnit
from composer.corpus.read_many import Entry, Parameters
from composer.errors import ComposerError
from composer.files import read_json
from composer.music.events import Events, LeftOut, Piece, Timing
from composer.music.pieces import Counts, Pieces

FORMAT = 3
MANIFEST = "manifest.json"
EVENTS, TIMES = "events.npy", "times.npy"
PITCH_BITS, EVENT_BITS = 7, 14
_MASK = 0x7F
# Distinct times that an event of 32 bits can hold.
MAX_TIMES = 1 << (32 - EVENT_BITS)
# Events in memory at a time when all are read.
CHUNK = 1 << 20

Codes = NDArray[Any]


def encode(events: Events, times: NDArray[np.float64]) -> Codes:
    """Return the codes of events.

    Args:
        events: N events.
        times: (U,) the distinct times in rising order, which include those of the events.

    Returns:
        (N,) uint32 or uint64.
    """
    kind = np.uint32 if len(times) <= MAX_TIMES else np.uint64
    codes: Codes = np.searchsorted(times, events.delta_time).astype(kind)
    codes <<= EVENT_BITS
    codes |= np.left_shift(events.velocity, PITCH_BITS, dtype=kind)
    codes |= events.pitch
    return codes


def fields(codes: Codes) -> tuple[NDArray[np.uint8], NDArray[np.uint8], Codes]:
    """Return pitches, velocities and numbers of times from codes of any shape."""
    return (codes & _MASK).astype(np.uint8), (codes >> PITCH_BITS & _MASK).astype(np.uint8), codes >> EVENT_BITS


def decode(codes: Codes, times: NDArray[np.float64], unit: TimeUnit) -> Events:
    """Return the events of codes (N,): the inverse of `encode`."""
    pitch, velocity, time = fields(codes)
    return Events(pitch, velocity, np.asarray(times[time]), unit)


class Store:
    """A finished store, opened for reading.

    Attributes:
        version: the folder of this content.
        entries: records of the files, in their order.
        events: (N,) codes of the events, mapped from disk.
        times: (U,) the time that each number stands for.
    """

    def __init__(self, folder: Path, manifest: dict[str, Any]) -> None:
        """Open the store in `folder`, whose `manifest` has been read.

        Raises:
            ComposerError: the store is damaged or of another version.
        """
        self.folder = folder
        try:
            self.parameters = Parameters(**manifest["parameters"])
            self.entries = [Entry(*row) for row in manifest["files"]]
            self.version = folder / str(manifest["version"])
            self.events: Codes = np.load(self.version / EVENTS, mmap_mode="r")
            self.times: NDArray[np.float64] = np.load(self.version / TIMES)
            whole = len(self.events) == sum(entry.events for entry in self.entries)
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise ComposerError(f"{folder}: damaged ({error})") from error
        if manifest.get("format") != FORMAT or not whole:
            raise ComposerError(f"{folder}: damaged, or of another version")

    @classmethod
    def open(cls, folder: Path) -> Store | None:
        """Open the store in a folder; return None where there is no undamaged one of this version."""
        try:
            return cls(folder, read_json(folder / MANIFEST))
        except ComposerError:
            return None

    @property
    def unit(self) -> TimeUnit:
        """Unit of the times."""
        return TimeUnit[self.parameters.time_unit]

    def piece(self, entry: Entry) -> Piece:
        """Read one piece into memory."""
        codes = np.asarray(self.events[entry.offset : entry.offset + entry.events])
        timing = Timing(entry.division, entry.tempo)
        events = decode(codes, self.times, self.unit)
        return Piece(Path(entry.path).name, events, timing, entry.program, entry.markings, entry.left_out)

    def count(self, runs: Sequence[range]) -> Counts:
        """Return the counts of each value in ranges of positions, with each occurring time once, rising."""
        totals = [np.zeros(size, np.int64) for size in (128, 128, len(self.times))]
        for _, codes in self.chunks(runs):
            for total, values in zip(totals, fields(codes), strict=True):
                total += np.bincount(values, minlength=len(total))
        pitch, velocity, time = totals
        return Counts(pitch, velocity, self.times[time > 0], time[time > 0])

    def chunks(self, runs: Sequence[range], overlap: int = 0, bridge: int = 0) -> Iterator[tuple[int, Codes]]:
        """Yield first position and codes of the events in ranges of positions, at most `CHUNK` at a time.

        Args:
            runs: ranges of positions, rising and without overlap.
            overlap: number of events at the end of a chunk that the next chunk repeats.
            bridge: gaps of at most this many events are read too, so that there are fewer chunks.
        """
        for begin, end in _spans(runs, bridge):
            for first in range(begin, end, CHUNK):
                yield first, np.asarray(self.events[first : min(first + CHUNK, end) + overlap])


def _spans(runs: Sequence[range], bridge: int) -> Iterator[tuple[int, int]]:
    """Yield ranges as (begin, end), joined where the gap is at most `bridge`."""
    begin = end = None
    for run in runs:
        if end is not None and run.start <= end + bridge:
            end = run.stop
            continue
        if begin is not None and end is not None:
            yield begin, end
        begin, end = run.start, run.stop
    if begin is not None and end is not None:
        yield begin, end


def rows(entries: list[Entry]) -> list[tuple[Any, ...]]:
    """Return entries in the form of the manifest."""
    return [astuple(entry) for entry in entries]


class StoredPieces(Pieces):
    """The pieces of a store that a run uses; positions are those of the store, which may hold other pieces too."""

    on_disk = True

    def __init__(self, store: Store, entries: list[Entry]) -> None:
        """Store the `store` and those of its `entries` that are used."""
        self.store, self.entries = store, entries
        self.names = [Path(entry.path).name for entry in entries]
        self.lengths = np.array([entry.events for entry in entries], np.int64)
        self.offsets = np.array([entry.offset for entry in entries], np.int64)

    def piece(self, number: int) -> Piece:
        """Read the piece with this number into memory."""
        return self.store.piece(self.entries[number])

    def only(self, numbers: Sequence[int]) -> Pieces:
        """Return the pieces with these numbers."""
        return StoredPieces(self.store, [self.entries[number] for number in numbers])

    @property
    def left_out(self) -> LeftOut:
        """Notes of the files that are missing from the events."""
        return sum((entry.left_out for entry in self.entries), LeftOut())

    def counts(self, runs: Sequence[range] | None = None) -> Counts:
        """Return the counts of each value; at most `CHUNK` events are in memory at a time."""
        every = [range(entry.offset, entry.offset + entry.events) for entry in self.entries]
        return self.store.count(every if runs is None else runs)

    def played(self, starts: NDArray[np.int64], length: int) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        """Return velocities and times since the previous event (B, length) of the events from each position (B,) on."""
        codes = np.lib.stride_tricks.sliding_window_view(self.store.events, length)[starts]
        events = decode(codes, self.store.times, self.store.unit)
        return events.velocity, events.delta_time
