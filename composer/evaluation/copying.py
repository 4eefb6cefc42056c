"""Copying: the share of a piece's n-grams that occur in other music, and the quoted passages.

A piece is read as the sequence of its notes (`music/notes.py`). As pitches, a quotation is one at the same pitch; as
intervals between successive notes it may be transposed as a whole. Rhythm and velocity do not count.

    N = notes of a piece, M = of all indexed pieces together, n = notes of an n-gram
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from composer.music.notes import NoteArrays

# Notes of the n-grams whose shares are reported.
ORDERS = (4, 8, 16)
# Notes of the n-grams of the one figure that summarises copying.
COPIED_NOTES = 8
# A run of fewer notes is no quotation: scales and broken chords occur everywhere.
LEAST = 8
# Lengths of which the reference's digests are kept: a search for the longest run uses the same ones again.
_KEPT = 32

Digests = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Passage:
    """A run of notes that also occurs in the indexed music.

    Attributes:
        first, notes: its first note in the piece, and its length in notes.
        events: messages of the piece from its first strike to its last.
        start, end: onsets of its first note, and of the first note after it (the end of its last where there is none),
            in seconds of the piece: as the player page colours notes.
        source: name of the reference piece.
        source_start: onset of its first note there, in seconds.
        transposition: semitones from the source up to the piece.
    """

    first: int
    notes: int
    events: int
    start: float
    end: float
    source: str
    source_start: float
    transposition: int

    @property
    def seconds(self) -> float:
        """Duration in seconds."""
        return self.end - self.start


class NgramIndex:
    """Index of the music that may have been quoted."""

    def __init__(self, pieces: Sequence[NoteArrays]) -> None:
        """Index `pieces`, for example those that trained; no run crosses from one into the next."""
        self.pieces = [piece for piece in pieces if len(piece)]
        lengths = [len(piece) for piece in self.pieces]
        self.pitch = np.concatenate([np.empty(0, np.int64), *(piece.pitch for piece in self.pieces)])
        # (P,) the place of each piece's first note, and (M,) of each note the place behind its piece.
        self.begins = np.cumsum([0, *lengths[:-1]], dtype=np.int64) if lengths else np.empty(0, np.int64)
        self.ends = np.repeat(np.cumsum(lengths, dtype=np.int64), lengths)
        self._grams = lru_cache(_KEPT)(self._sorted_grams)

    def shares(self, piece: NoteArrays, orders: Sequence[int] = ORDERS) -> dict[str, float]:
        """Return the share of the piece's n-grams that occur in the reference, for each n of `orders`.

        Returns:
            `pitch_4`, `interval_4` ...; an interval n-gram is n - 1 intervals, so n notes too. A piece of fewer than n
            notes has no entry.
        """
        shares = {}
        for n in orders:
            for kind, transposed in (("pitch", False), ("interval", True)):
                found = self._contains(piece.pitch, n, transposed)
                if len(found):
                    shares[f"{kind}_{n}"] = float(found.mean())
        return shares

    def longest(self, piece: NoteArrays, *, transposed: bool = True) -> Passage | None:
        """Return the first of the longest runs of notes that occur in the index; None if no two notes do."""
        found = self._longest(piece.pitch, 2, transposed)
        return None if found is None else self._passage(piece, *found)

    def passages(self, piece: NoteArrays, *, transposed: bool = True, least: int = LEAST) -> list[Passage]:
        """Return quoted runs of at least `least` notes that do not overlap, chosen from the longest to the shortest.

        Returns:
            In the order of the piece.
        """
        passages, parts = [], [(0, len(piece))]
        while parts:
            begin, end = parts.pop()
            found = self._longest(piece.pitch[begin:end], least, transposed)
            if found is None:
                continue
            first, notes, place = found
            passages.append(self._passage(piece, begin + first, notes, place))
            parts += [(begin, begin + first), (begin + first + notes, end)]
        return sorted(passages, key=lambda passage: passage.first)

    def _longest(self, pitch: NDArray[np.int64], least: int, transposed: bool) -> tuple[int, int, int] | None:
        """Return first note, length and place in the index of the longest run of at least `least` notes.

        A run occurs only if every shorter part of it does, so the length is found by doubling and bisection.
        """
        low, high, n = least - 1, len(pitch), least
        while n <= high:
            if self._contains(pitch, n, transposed).any():
                low, n = n, 2 * n
            else:
                high = n - 1
        while low < high:
            n = (low + high + 1) // 2
            low, high = (n, high) if self._contains(pitch, n, transposed).any() else (low, n - 1)
        if low < least:
            return None
        first = int(self._contains(pitch, low, transposed).argmax())
        digest = _digests(pitch[first : first + low], low, transposed)[0]
        grams, places = self._grams(low, transposed)
        return first, low, int(places[np.searchsorted(grams, digest)])

    def _passage(self, piece: NoteArrays, first: int, notes: int, place: int) -> Passage:
        number = int(np.searchsorted(self.begins, place, side="right")) - 1
        source, last = self.pieces[number], first + notes - 1
        later = int(np.searchsorted(piece.onset_seconds, piece.onset_seconds[last], side="right"))
        release = piece.onset_seconds[last] + piece.duration_seconds[last]
        events = piece.event[first : last + 1]
        return Passage(
            first=first,
            notes=notes,
            events=int(events.max() - events.min()) + 1,
            start=float(piece.onset_seconds[first]),
            end=float(piece.onset_seconds[later] if later < len(piece) else release),
            source=source.name,
            source_start=float(source.onset_seconds[place - self.begins[number]]),
            transposition=int(piece.pitch[first] - self.pitch[place]),
        )

    def _contains(self, pitch: NDArray[np.int64], n: int, transposed: bool) -> NDArray[np.bool_]:
        """Return whether each n-gram of a piece (N - n + 1,) occurs."""
        digests = _digests(pitch, n, transposed)
        grams, _ = self._grams(n, transposed)
        if not len(grams):
            return np.zeros(len(digests), np.bool_)
        return np.asarray(grams[np.minimum(np.searchsorted(grams, digests), len(grams) - 1)] == digests)

    def _sorted_grams(self, n: int, transposed: bool) -> tuple[Digests, NDArray[np.int64]]:
        """Return the digests of the indexed n-grams, rising, and where each begins; of equal ones the first."""
        digests = _digests(self.pitch, n, transposed)
        places = np.flatnonzero(np.arange(len(digests)) + n <= self.ends[: len(digests)])
        order = np.argsort(digests[places], kind="stable")
        return digests[places[order]], places[order]


def figures(piece: NoteArrays, index: NgramIndex, run: Passage | None) -> dict[str, float]:
    """Return the copying figures of a piece, given its longest quoted run.

    Returns:
        `notes`; the shares of `NgramIndex.shares`; `longest_notes`, `longest_events` and `longest_seconds` of the
        longest quoted run (transposed or not), 0 where there is none.
    """
    longest = (run.notes, run.events, run.seconds) if run else (0, 0, 0.0)
    told = zip(("longest_notes", "longest_events", "longest_seconds"), map(float, longest), strict=True)
    return {"notes": float(len(piece)), **index.shares(piece), **dict(told)}


def mean(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return the means of `figures` over pieces; each over those that have the figure."""
    keys = dict.fromkeys(key for row in rows for key in row)
    return {key: float(np.mean([row[key] for row in rows if key in row])) for key in keys}


def measure(pieces: Sequence[NoteArrays], index: NgramIndex) -> dict[str, float]:
    """Return the mean `figures` of pieces."""
    return mean([figures(piece, index, index.longest(piece)) for piece in pieces])


def _digests(pitch: NDArray[np.int64], n: int, transposed: bool) -> Digests:
    """Return a 64-bit digest of each run of n notes (N - n + 1,), as pitches or as the n - 1 intervals between them.

    By doubling: the digest of a run is that of its parts, whose lengths are powers of two, in log n passes. Of k
    different runs two share a digest with a probability of about k^2 / 2^64.
    """
    codes = np.diff(pitch) + 256 if transposed else pitch
    length = n - 1 if transposed else n
    count = len(codes) - length + 1
    if count <= 0 or length <= 0:
        return np.empty(0, np.uint64)
    # Of the run of `size` codes from each position on, and of its first `done` ones.
    power, digest = _mix(codes.astype(np.uint64) + np.uint64(1)), np.zeros(count, np.uint64)
    done, size = 0, 1
    while True:
        if length & size:
            digest = _joined(digest, power[done : done + count])
            done += size
        if done == length:
            return digest
        power = _joined(power[: len(power) - size], power[size:])
        size *= 2


def _joined(first: Digests, second: Digests) -> Digests:
    return _mix(first * np.uint64(0x9E3779B97F4A7C15) + second)


def _mix(code: Digests) -> Digests:
    # The finaliser of SplitMix64 (Steele, Lea and Flood 2014).
    code = (code ^ (code >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    code = (code ^ (code >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return code ^ (code >> np.uint64(31))
