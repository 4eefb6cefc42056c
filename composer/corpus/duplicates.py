"""Which pieces are the same music: copies, and near-copies at any pitch, so that a split can keep them together.

A piece is the set of its shingles: the runs of `_SHINGLE` intervals between successive strikes, low ones first where
several are simultaneous. Intervals do not change with transposition, and time and velocity do not count, so that a
piece in another key, tempo or performance keeps its shingles. Two pieces are alike when the smaller set has at least a
given share of its shingles in the larger one (containment), so that an excerpt is like its whole.

Pairs are found exactly, without comparing all: where a set of n has m = ceil(c n) of its shingles in another, at least
k of its n - m + k rarest are in there (prefix filtering; Chaudhuri, Ganti and Kaushik 2006; Wang, Li and Feng 2012 with
k above 1). Rare shingles are in few pieces, and few pieces have k of them, so few pairs remain to be counted.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from composer.music.events import Events

Digests = NDArray[np.uint64]

# Intervals of a shingle: seven notes. Shorter ones are in much music that is not alike, such as scales; of longer ones
# few outlive a change here and there.
_SHINGLE = 6
# What is kept of an answer is of no use after a change here.
VERSION = 1
# A piece with fewer different ones (an exercise, a drone) tells too little, and is only ever an exact copy.
_FEWEST = 16
# Above so many shingles in all, or of very many pieces so many each, a share of them stands for all, the same in every
# piece: some 100 MB.
MOST_SHINGLES = 2_000_000
_A_PIECE = 32
# A set that is left with fewer than so many then tells too little.
_FEWEST_KEPT = 4


@dataclass(frozen=True, slots=True)
class Groups:
    """Pieces that belong together.

    Attributes:
        of: (P,) the group of each piece; groups are numbered by their first piece, in the order of the pieces.
        copies: pieces whose events are those of an earlier one.
        near_copies: pieces that are no copies, and alike to an earlier piece of their group.
        named: pieces that a file puts together with an earlier piece.
    """

    of: NDArray[np.int64]
    copies: int
    near_copies: int
    named: int = 0

    @property
    def count(self) -> int:
        """How many groups there are."""
        return int(self.of.max()) + 1 if len(self.of) else 0

    def named_by(self, names: Sequence[str]) -> list[list[str]]:
        """The names (P,) of the pieces of each group that has several."""
        if self.count == len(self.of):
            return []
        order = np.argsort(self.of, kind="stable")
        parts = np.split(order, np.flatnonzero(np.diff(self.of[order])) + 1)
        return [[names[number] for number in part] for part in parts if len(part) > 1]


def alone(pieces: int) -> Groups:
    """Every piece a group of its own."""
    return Groups(np.arange(pieces), 0, 0)


def group(pieces: Iterable[Events], limit: float, most: int | None = None) -> Groups:
    """Put pieces together that are copies or alike, and those that are alike to one of these, and so on.

    Args:
        pieces: read once.
        limit: the containment from which two pieces are alike, above 0 and up to 1.
        most: shingles from which on a share of them stands for all; None is `MOST_SHINGLES`, or 32 a piece.
    """
    digests: list[bytes] = []
    sets: list[Digests] = []
    keep = np.uint64(2**64 - 1)
    total = 0
    for events in pieces:
        digests.append(_content(events))
        found = shingles(events)
        sets.append(found[found <= keep])
        total += len(sets[-1])
        while total > (max(MOST_SHINGLES, _A_PIECE * len(sets)) if most is None else most):
            # Half of what was kept, chosen by the shingle itself: the same in pieces to come.
            keep >>= np.uint64(1)
            sets = [kept[kept <= keep] for kept in sets]
            total = sum(len(kept) for kept in sets)
    sets = [kept if len(kept) >= _FEWEST_KEPT else kept[:0] for kept in sets]
    parents = list(range(len(digests)))
    first: dict[bytes, int] = {}
    copy = [first.setdefault(digest, number) != number for number, digest in enumerate(digests)]
    for number, digest in enumerate(digests):
        _join(parents, first[digest], number)
    originals = np.flatnonzero(~np.array(copy, np.bool_))
    near: set[int] = set()
    for one, other in alike([sets[number] for number in originals], limit):
        earlier, later = sorted((int(originals[one]), int(originals[other])))
        _join(parents, earlier, later)
        near.add(later)
    return Groups(_numbered(parents), sum(copy), len(near))


def joined(groups: Groups, names: Sequence[str | None]) -> Groups:
    """The groups with those pieces together that have the same name (P,); None is no name."""
    # Every piece is called by the first one of its group.
    _, begins = np.unique(groups.of, return_index=True)
    parents: list[int] = begins[groups.of].tolist()
    first: dict[str, int] = {}
    named = 0
    for number, name in enumerate(names):
        if name is not None:
            named += first.setdefault(name, number) != number
            _join(parents, first[name], number)
    return Groups(_numbered(parents), groups.copies, groups.near_copies, named)


def shingles(events: Events) -> Digests:
    """The different shingles of a piece, rising; none for one that has fewer than `_FEWEST`."""
    struck = events.velocity > 0
    # NoteArrays of one moment in the order of their pitches: files differ in it.
    moment = np.cumsum(events.delta_time > 0)[struck]
    pitch = np.sort(moment << 7 | events.pitch[struck]) & 127
    intervals = (np.diff(pitch) + 128).astype(np.uint64)
    count = len(intervals) - _SHINGLE + 1
    if count < _FEWEST:
        return np.empty(0, np.uint64)
    # Intervals of eight bits each side by side in one number: no two shingles are taken for one.
    code = np.zeros(count, np.uint64)
    for k in range(_SHINGLE):
        code = code << np.uint64(8) | intervals[k : k + count]
    # Mixed (SplitMix64), one to one, so that the lowest are a fair sample.
    code = (code ^ (code >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    code = (code ^ (code >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    code ^= code >> np.uint64(31)
    found = np.unique(code)
    return found if len(found) >= _FEWEST else np.empty(0, np.uint64)


def alike(sets: Sequence[Digests], limit: float) -> list[tuple[int, int]]:
    """The pairs (i < j) of sets whose containment is at least `limit`; an empty set is like none.

    Args:
        sets: rising numbers, each once in a set.
        limit: above 0 and up to 1.
    """
    sizes = np.array([len(numbers) for numbers in sets], np.int64)
    if sizes.sum() == 0:
        return []
    owners = np.repeat(np.arange(len(sets), dtype=np.int32), sizes)
    numbers = np.concatenate(sets)
    # By shingle, and within one by piece: the postings of a shingle are a run.
    order = np.argsort(numbers, kind="stable")
    postings = owners[order]
    ordered = numbers[order]
    begins = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    lengths = np.diff(np.append(begins, len(ordered)))
    # Of each place in `numbers`: where its shingle's postings begin, and how many there are.
    which = np.empty(len(numbers), np.int32)
    which[order] = np.repeat(np.arange(len(begins), dtype=np.int32), lengths)
    del order, ordered, numbers, owners

    pairs: list[tuple[int, int]] = []
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    for piece in np.flatnonzero(sizes).tolist():
        mine = which[offsets[piece] : offsets[piece + 1]]
        shared = mine[lengths[mine] > 1]
        needed = _needed(len(mine), limit)
        if len(shared) < needed:
            continue
        # Of the rarest n - needed + least those that are in no other piece are left out.
        least = max(1, needed // 4)
        prefix = len(mine) - needed + least - (len(mine) - len(shared))
        rarest = shared[np.argsort(lengths[shared], kind="stable")[:prefix]]
        candidates, together = np.unique(_postings(postings, begins, lengths, rarest), return_counts=True)
        candidates = candidates[together >= least]
        # Of two sets the smaller one asks; of equal ones the later.
        size = len(mine)
        asked = candidates[(sizes[candidates] > size) | ((sizes[candidates] == size) & (candidates < piece))]
        for other in asked.tolist():
            theirs = which[offsets[other] : offsets[other + 1]]
            if len(np.intersect1d(shared, theirs, assume_unique=True)) >= needed:
                pairs.append((min(piece, other), max(piece, other)))
    return sorted(pairs)


def _needed(size: int, limit: float) -> int:
    """How many of `size` shingles must be shared."""
    # A hair below the product, which rounding may put above a whole number.
    return max(1, math.ceil(size * limit - 1e-9))


def _postings(
    postings: NDArray[np.int32], begins: NDArray[np.int64], lengths: NDArray[np.int64], chosen: NDArray[np.int32]
) -> NDArray[np.int32]:
    """The pieces that have any of the chosen shingles, with repetitions."""
    counts = lengths[chosen]
    steps = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    found: NDArray[np.int32] = postings[np.repeat(begins[chosen], counts) + steps]
    return found


def _content(events: Events) -> bytes:
    """A digest of the events."""
    content = hashlib.sha256(events.pitch.tobytes())
    content.update(events.velocity.tobytes())
    content.update(events.delta_time.tobytes())
    return content.digest()


def _root(parents: list[int], number: int) -> int:
    while parents[number] != number:
        parents[number] = parents[parents[number]]
        number = parents[number]
    return number


def _numbered(parents: list[int]) -> NDArray[np.int64]:
    """The group of each piece, numbered by their first pieces."""
    roots = np.array([_root(parents, number) for number in range(len(parents))], np.int64)
    _, numbers = np.unique(roots, return_inverse=True)
    return numbers.astype(np.int64)


def _join(parents: list[int], one: int, other: int) -> None:
    """Union by the lowest number, so that a group is called by its first piece."""
    low, high = sorted((_root(parents, one), _root(parents, other)))
    parents[high] = low
