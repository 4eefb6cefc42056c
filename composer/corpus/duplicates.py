"""Duplicate detection: groups of copies and near-copies, also transposed, which a split keeps together.

A piece is represented by the set of its shingles: runs of `_SHINGLE` intervals between successive note-ons, low ones
first where several are simultaneous. Intervals do not change with transposition, and time and velocity are ignored, so
a piece in another key, tempo or performance keeps its shingles. Two pieces are similar when at least a given share of
the smaller set is in the larger one (containment), so an excerpt is similar to its piece.

Pairs are found exactly, without comparing all: if m = ceil(c n) of a set's n shingles are in another set, at least
k of its n - m + k rarest are among them (prefix filtering; Chaudhuri, Ganti and Kaushik 2006; Wang, Li and Feng 2012
with k above 1). Rare shingles are in few pieces, and few pieces have k of them, so few pairs remain to be counted.
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

# Intervals per shingle: seven notes. Shorter shingles also occur in dissimilar music, such as scales; few longer ones
# survive small changes.
_SHINGLE = 6
# Version of the method; cached groups of another version are ignored.
VERSION = 1
# A piece with fewer distinct shingles (an exercise, a drone) is too simple to compare, and can only be an exact copy.
MIN_SHINGLES = 16
# Above this total number of shingles (about 100 MB), or this number per piece of very many, a sample is compared,
# chosen in the same way in every piece.
MAX_SHINGLES = 2_000_000
_MAX_SHINGLES_PER_PIECE = 32
# A sampled set with fewer shingles is too small to compare.
_MIN_SAMPLED_SHINGLES = 4


@dataclass(frozen=True, slots=True)
class Groups:
    """Pieces that belong together.

    Attributes:
        of: (P,) the group of each piece; groups are numbered by their first piece, in the order of the pieces.
        copies: pieces whose events are those of an earlier one.
        near_copies: pieces that are not copies, but similar to an earlier piece of their group.
        named: pieces that a CSV file groups with an earlier piece.
    """

    of: NDArray[np.int64]
    copies: int
    near_copies: int
    named: int = 0

    @property
    def count(self) -> int:
        """Number of groups."""
        return int(self.of.max()) + 1 if len(self.of) else 0

    def named_by(self, names: Sequence[str]) -> list[list[str]]:
        """Return the names of the pieces of each group of several; `names` (P,) are those of all pieces."""
        if self.count == len(self.of):
            return []
        order = np.argsort(self.of, kind="stable")
        parts = np.split(order, np.flatnonzero(np.diff(self.of[order])) + 1)
        return [[names[number] for number in part] for part in parts if len(part) > 1]


def ungrouped(pieces: int) -> Groups:
    """Return groups of one piece each."""
    return Groups(np.arange(pieces), 0, 0)


def group(pieces: Iterable[Events], limit: float, most: int | None = None) -> Groups:
    """Group the pieces that are copies or similar; groups are closed transitively.

    Args:
        pieces: events of each piece; iterated once.
        limit: the lowest containment at which two pieces are similar, above 0 and up to 1.
        most: number of shingles above which a sample is compared; None is `MAX_SHINGLES`, or 32 per piece.
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
        while total > (max(MAX_SHINGLES, _MAX_SHINGLES_PER_PIECE * len(sets)) if most is None else most):
            # Halve the sample by the value of the shingles, so that it is the same in later pieces.
            keep >>= np.uint64(1)
            sets = [kept[kept <= keep] for kept in sets]
            total = sum(len(kept) for kept in sets)
    sets = [kept if len(kept) >= _MIN_SAMPLED_SHINGLES else kept[:0] for kept in sets]
    parents = list(range(len(digests)))
    first: dict[bytes, int] = {}
    copy = [first.setdefault(digest, number) != number for number, digest in enumerate(digests)]
    for number, digest in enumerate(digests):
        _join(parents, first[digest], number)
    originals = np.flatnonzero(~np.array(copy, np.bool_))
    near: set[int] = set()
    for one, other in similar_pairs([sets[number] for number in originals], limit):
        earlier, later = sorted((int(originals[one]), int(originals[other])))
        _join(parents, earlier, later)
        near.add(later)
    return Groups(_numbered(parents), sum(copy), len(near))


def merge_named(groups: Groups, names: Sequence[str | None]) -> Groups:
    """Return the groups, merged where pieces have the same name in `names` (P,); None is no name."""
    # Each piece is represented by the first one of its group.
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
    """Return the distinct shingles of a piece in rising order; none if there are fewer than `MIN_SHINGLES`."""
    note_on = events.velocity > 0
    # Notes of one moment in the order of their pitches: their order in files differs.
    moment = np.cumsum(events.delta_time > 0)[note_on]
    pitch = np.sort(moment << 7 | events.pitch[note_on]) & 127
    intervals = (np.diff(pitch) + 128).astype(np.uint64)
    count = len(intervals) - _SHINGLE + 1
    if count < MIN_SHINGLES:
        return np.empty(0, np.uint64)
    # Intervals of eight bits each, concatenated in one number: distinct shingles have distinct codes.
    code = np.zeros(count, np.uint64)
    for k in range(_SHINGLE):
        code = code << np.uint64(8) | intervals[k : k + count]
    # Mixed by a bijection (SplitMix64), so that the lowest codes are a fair sample.
    code = (code ^ (code >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    code = (code ^ (code >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    code ^= code >> np.uint64(31)
    found = np.unique(code)
    return found if len(found) >= MIN_SHINGLES else np.empty(0, np.uint64)


def similar_pairs(sets: Sequence[Digests], limit: float) -> list[tuple[int, int]]:
    """Return the pairs (i < j) of sets whose containment is at least `limit`; empty sets are in no pair.

    Args:
        sets: rising numbers without repetitions.
        limit: above 0 and up to 1.
    """
    sizes = np.array([len(numbers) for numbers in sets], np.int64)
    if sizes.sum() == 0:
        return []
    owners = np.repeat(np.arange(len(sets), dtype=np.int32), sizes)
    numbers = np.concatenate(sets)
    # Sorted by shingle, then piece: the postings of a shingle are contiguous.
    order = np.argsort(numbers, kind="stable")
    postings = owners[order]
    ordered = numbers[order]
    begins = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    lengths = np.diff(np.append(begins, len(ordered)))
    # For each place in `numbers`: the begin and the number of its shingle's postings.
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
        # The rarest n - needed + least, without those that occur in no other piece.
        least = max(1, needed // 4)
        prefix = len(mine) - needed + least - (len(mine) - len(shared))
        rarest = shared[np.argsort(lengths[shared], kind="stable")[:prefix]]
        candidates, together = np.unique(_postings(postings, begins, lengths, rarest), return_counts=True)
        candidates = candidates[together >= least]
        # Each pair is checked once, from the smaller set; of equal ones from the later.
        size = len(mine)
        others = candidates[(sizes[candidates] > size) | ((sizes[candidates] == size) & (candidates < piece))]
        for other in others.tolist():
            theirs = which[offsets[other] : offsets[other + 1]]
            if len(np.intersect1d(shared, theirs, assume_unique=True)) >= needed:
                pairs.append((min(piece, other), max(piece, other)))
    return sorted(pairs)


def _needed(size: int, limit: float) -> int:
    """Return the number of `size` shingles that must be shared."""
    # Slightly below the product, which rounding may put above a whole number.
    return max(1, math.ceil(size * limit - 1e-9))


def _postings(
    postings: NDArray[np.int32], begins: NDArray[np.int64], lengths: NDArray[np.int64], chosen: NDArray[np.int32]
) -> NDArray[np.int32]:
    """Return the pieces that have any of the chosen shingles, with repetitions."""
    counts = lengths[chosen]
    steps = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    found: NDArray[np.int32] = postings[np.repeat(begins[chosen], counts) + steps]
    return found


def _content(events: Events) -> bytes:
    """Return a digest of the events."""
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
    """Return the group of each piece, numbered in the order of their first pieces."""
    roots = np.array([_root(parents, number) for number in range(len(parents))], np.int64)
    _, numbers = np.unique(roots, return_inverse=True)
    return numbers.astype(np.int64)


def _join(parents: list[int], one: int, other: int) -> None:
    """Merge two groups; the lowest number is the root, so that the first piece represents its group."""
    low, high = sorted((_root(parents, one), _root(parents, other)))
    parents[high] = low
