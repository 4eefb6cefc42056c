"""Which windows train, which validate, which test, as pure functions of sizes and a seed.

A window is named by the position of its first event in the array that holds all pieces one after another; it covers
the events start .. start + window_size, the last being its target. Two windows leak into each other when they cover a
common position.

The test block is taken first; what is left is divided into training and validation. Around a held-out block the
windows that share an event with it are used for nothing: a gap of one whole window on each side.

With `data.first_target` the first targets, the gaps and so all parts are those of windows of that many events,
whatever `data.window_size`: what is a target of which part does not depend on the window's size.

Where whole pieces are held out, those that are alike (`similarity.py`) are held out together. All this is done with the
pieces as they are read: whatever multiplies them later must do so within the parts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from composer.errors import ComposerError
from composer.schema import Block, DataConfig, Split

Indices = NDArray[np.int64]

_SHUFFLE_STREAM = 1
_PIECE_STREAM = 2


@dataclass(frozen=True, slots=True)
class Splits:
    """First positions of the windows of each part."""

    train: Indices
    val: Indices
    test: Indices


def window_starts(piece_lengths: list[int], window_size: int, first_target: int | None = None) -> list[Indices]:
    """First positions of all windows, piece by piece; no window crosses from one piece into the next.

    Args:
        piece_lengths: events of each piece.
        window_size: events before the target.
        first_target: events of a piece before its first target, at least `window_size`; None is `window_size`.
    """
    late = 0 if first_target is None else first_target - window_size
    offsets = np.cumsum([0, *piece_lengths[:-1]])
    return [
        np.arange(offset + late, offset + max(late, length - window_size), dtype=np.int64)
        for offset, length in zip(offsets, piece_lengths, strict=True)
    ]


def split_windows(
    piece_lengths: list[int], config: DataConfig, seed: int, groups: NDArray[np.int64] | None = None
) -> Splits:
    """Divide the windows of the pieces.

    Args:
        piece_lengths: events of each piece.
        config: which split, what shares, which blocks.
        seed: decides the shuffle, and which pieces are held out.
        groups: the group of each piece, numbered from 0; whole pieces are held out by whole groups. None is a group for
            each.

    Raises:
        ComposerError: too few pieces or windows for the shares asked for.
    """
    if config.split is Split.by_piece and len(piece_lengths) == 1:
        raise ComposerError("data.split=by_piece: needs several pieces; data.split=blocked holds out part of one")
    pieces = window_starts(piece_lengths, config.window_size, config.first_target)
    alike = np.arange(len(pieces)) if groups is None else groups
    test, pieces, alike = _take_test(pieces, alike, config, seed)
    train, val = _take_validation(pieces, alike, config, seed, len(piece_lengths) > 1)
    if not len(train) or not len(val):
        raise ComposerError(
            f"{config.margin_key}: leaves {len(train)} training and {len(val)} validation windows; "
            "use a smaller window, smaller held-out shares (data.test_fraction, data.val_fraction) or more music"
        )
    return Splits(train, val, test)


def _take_test(
    pieces: list[Indices], groups: NDArray[np.int64], config: DataConfig, seed: int
) -> tuple[Indices, list[Indices], NDArray[np.int64]]:
    """The test's windows, the pieces or segments that are left, and the groups of these pieces."""
    if config.test_fraction == 0:
        return np.empty(0, np.int64), pieces, groups
    if len(pieces) == 1:
        held, rest = _take_block(pieces, config.test_fraction, config.test_block, config.margin)
        return held, rest, groups
    least = 3 if config.split is Split.by_piece else 2
    if len(pieces) < least:
        raise ComposerError(
            f"data.split={config.split.name}: needs {least} pieces with a test piece, and there are {len(pieces)}"
        )
    _require_groups(groups, least, config)
    return _take_pieces(pieces, groups, config.test_fraction, seed, keep=least - 1)


def _require_groups(groups: NDArray[np.int64], least: int, config: DataConfig) -> None:
    count = len(np.unique(groups))
    if count < least:
        raise ComposerError(
            f"data.split={config.split.name}: needs {least} groups of pieces that are not alike, and "
            f"the {len(groups)} pieces make {count}; data.group_similarity=null takes each piece by itself"
        )


def _take_validation(
    pieces: list[Indices], groups: NDArray[np.int64], config: DataConfig, seed: int, several: bool
) -> tuple[Indices, Indices]:
    if config.split is Split.by_piece:
        _require_groups(groups, 2, config)
        val, rest, _ = _take_pieces(pieces, groups, config.val_fraction, seed, keep=1)
        return np.concatenate(rest), val
    if config.split is Split.blocked and config.fold is not None:
        segments = [[piece] for piece in pieces if len(piece)] if several else [pieces]
        folds = [_take_fold(own, config.fold, config.folds, config.margin) for own in segments]
        return np.concatenate([rest for _, rest in folds]), np.concatenate([held for held, _ in folds])
    if config.split is Split.blocked and several:
        # A block of every piece: one block of all would be no more than one piece.
        parts = [_take_block([p], config.val_fraction, config.val_block, config.margin) for p in pieces if len(p)]
        return np.concatenate([segment for _, rest in parts for segment in rest]), np.concatenate([v for v, _ in parts])
    if config.split is Split.blocked:
        val, rest = _take_block(pieces, config.val_fraction, config.val_block, config.margin)
        return np.concatenate(rest), val
    starts = np.concatenate(pieces)
    shuffled = np.random.default_rng([seed, _SHUFFLE_STREAM]).permutation(starts)
    # A hair above the product, which rounding may put below a whole number.
    train_count = int(len(starts) * (1 - config.val_fraction) + 1e-9)
    return shuffled[:train_count], shuffled[train_count:]


def _take_block(segments: list[Indices], fraction: float, block: Block, margin: int) -> tuple[Indices, list[Indices]]:
    """Hold out a run of `fraction` of all windows, at least one, from the longest segment; drop those that overlap."""
    total = sum(len(segment) for segment in segments)
    longest = max(range(len(segments)), key=lambda k: len(segments[k]))
    segment = segments[longest]
    count = min(len(segment), max(1, round(total * fraction)))
    begin = {Block.start: 0, Block.middle: (len(segment) - count) // 2, Block.end: len(segment) - count}[block]
    held = segment[begin : begin + count]
    # A window of `margin` events shares an event with as many neighbours on each side.
    before, after = segment[: max(0, begin - margin)], segment[begin + count + margin :]
    kept = [s for s in [*segments[:longest], before, after, *segments[longest + 1 :]] if len(s)]
    return held, kept or [np.empty(0, np.int64)]


def _take_fold(segments: list[Indices], fold: int, folds: int, margin: int) -> tuple[Indices, Indices]:
    """Hold out the windows of a block of `folds` equal ones, and keep those that share no event with it.

    A block may reach from one segment into the next, over the test between them.
    """
    starts = np.concatenate(segments)
    begin, end = len(starts) * fold // folds, len(starts) * (fold + 1) // folds
    held = starts[begin:end]
    if not len(held):
        return held, starts
    # Windows of `margin` events and their target share an event when they begin no further apart.
    after = np.searchsorted(held, starts)
    to_next = held[np.minimum(after, len(held) - 1)] - starts
    to_last = starts - held[np.maximum(after - 1, 0)]
    near = ((to_next >= 0) & (to_next <= margin)) | ((to_last >= 0) & (to_last <= margin))
    return held, starts[~near]


def _take_pieces(
    pieces: list[Indices], groups: NDArray[np.int64], fraction: float, seed: int, *, keep: int
) -> tuple[Indices, list[Indices], NDArray[np.int64]]:
    """Hold out `fraction` of the pieces in whole groups, at least one and leaving at least `keep`, chosen by the seed.

    Groups are taken as the seed orders them while they fit; where none fits, the smallest.
    """
    count = min(max(1, round(len(pieces) * fraction)), len(pieces) - keep)
    names, sizes = np.unique(groups, return_counts=True)
    order = np.random.default_rng([seed, _PIECE_STREAM]).permutation(len(names)).tolist()
    chosen: list[int] = []
    room = count
    for number in order:
        if sizes[number] <= room and len(chosen) < len(names) - keep:
            chosen.append(number)
            room -= sizes[number]
    if not chosen:
        chosen = [min(order, key=lambda number: sizes[number])]
    held = np.isin(groups, names[chosen])
    taken = [piece for piece, out in zip(pieces, held, strict=True) if out]
    return np.concatenate(taken), [piece for piece, out in zip(pieces, held, strict=True) if not out], groups[~held]


def covered(events: int, starts: Indices, window_size: int) -> NDArray[np.bool_]:
    """(events,) whether each position is an input or the target of some window that begins at `starts`."""
    # +1 where a window begins, -1 after its target: the running sum counts the windows over a position.
    steps = np.zeros(events + 1, np.int64)
    np.add.at(steps, starts, 1)
    np.add.at(steps, starts + window_size + 1, -1)
    return np.cumsum(steps)[:-1] > 0


def supervisable(events: int, splits: Splits, window_size: int) -> NDArray[np.bool_]:
    """(events,) whether each position may be trained on as a target: not where a validation or test window has its own.

    Only `loss.supervision=every` needs it: the last step's targets are those of the training windows, which are no
    other window's.
    """
    allowed = np.ones(events, np.bool_)
    allowed[splits.val + window_size] = False
    allowed[splits.test + window_size] = False
    return allowed


@dataclass(frozen=True, slots=True)
class Leak:
    """How much of the validation set the training set has already seen.

    Attributes:
        by_index: share of validation windows whose target event is, at the same position, an input or a target of
            some training window.
        by_content: share of validation windows whose events, input and target, occur alike in some training window.
        by_transposition: the same where a training window may be higher or lower by any number of semitones.
    """

    by_index: float
    by_content: float
    by_transposition: float


def leak(tokens: NDArray[np.uint8], splits: Splits, window_size: int) -> Leak:
    """Measure the leak of a split.

    Args:
        tokens: (N, 3) classes of all pieces.
        splits: the windows.
        window_size: events before the target.
    """
    by_index = covered(len(tokens), splits.train, window_size)[splits.val + window_size].mean()
    shares = []
    for digests in (window_digests(tokens, window_size + 1), transposed_digests(tokens, window_size + 1)):
        shares.append(float(np.isin(digests[splits.val], digests[splits.train]).mean()))
    return Leak(float(by_index), *shares)


def transposed_digests(tokens: NDArray[np.uint8], length: int) -> NDArray[np.uint64]:
    """A 64-bit digest of every run of `length` events that is equal for runs that differ by a transposition alone.

    Of the first event its velocity and time count, of the others also the interval from the event before.

    Args:
        tokens: (N, 3) classes.
        length: events of a run, at least 1.

    Returns:
        (N - length + 1,) digests.
    """
    first, steps = tokens.copy(), tokens.copy()
    first[:, 0] = 0
    # Modulo 256, which tells all intervals from -127 to 127 apart.
    steps[1:, 0] -= tokens[:-1, 0]
    following = window_digests(steps, length - 1)[1:]
    return window_digests(first, 1)[: len(following)] * np.uint64(0xD1342543DE82EF95) + following


def window_digests(tokens: NDArray[np.uint8], length: int) -> NDArray[np.uint64]:
    """A 64-bit digest of every run of `length` events: equal runs have equal digests.

    A polynomial in an odd multiplier modulo 2^64 over mixed event codes; of n different runs two share a digest with a
    probability of about n^2 / 2^64.

    Args:
        tokens: (N, 3) classes.
        length: events of a run.

    Returns:
        (N - length + 1,) digests.
    """
    code = tokens.astype(np.uint64) @ np.array([1, 1 << 8, 1 << 16], np.uint64)
    # Mixed by the finaliser of SplitMix64 (Steele, Lea and Flood 2014), so that neighbouring codes do not cancel.
    code = (code ^ (code >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    code = (code ^ (code >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    code ^= code >> np.uint64(31)
    digest = np.zeros(len(tokens) - length + 1, np.uint64)
    for k in range(length):
        digest = digest * np.uint64(0x9E3779B97F4A7C15) + code[k : k + len(digest)]
    return digest
