"""Which windows train, which validate, which test, as pure functions of sizes and a seed.

A window is named by the position of its first event in the array that holds all pieces one after another; it covers
the events start .. start + window_size, the last being its target. Two windows leak into each other when they cover a
common position.

The test block is taken first; what is left is divided into training and validation. Around a held-out block the
windows that share an event with it are used for nothing: a gap of one whole window on each side.

Of a large corpus (`lazy`) the windows are not listed: the parts are runs of positions, or a share of them drawn by
arithmetic (`ranges.py`), and the leak is measured on a sample.

With `data.first_target` the first targets, the gaps and so all parts are those of windows of that many events,
whatever `data.window_size`: what is a target of which part does not depend on the window's size.

Where whole pieces are held out, those that are alike (`similarity.py`) are held out together. All this is done with the
pieces as they are read: whatever multiplies them later must do so within the parts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from composer.config.data import Block, DataConfig, Split
from composer.corpus.metadata import SplitPart
from composer.data.permutation import Permutation
from composer.data.window_sets import Drawn, Indices, Ranges, Starts
from composer.errors import ComposerError

_SHUFFLE_STREAM = 1
_PIECE_STREAM = 2
DIGEST_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True)
class Splits:
    """First positions of the windows of each part."""

    train: Indices | Starts
    val: Indices | Starts
    test: Indices | Starts


def window_runs(
    piece_lengths: Sequence[int],
    window_size: int,
    first_target: int | None = None,
    offsets: Sequence[int] | None = None,
) -> list[range]:
    """First positions of all windows, piece by piece; no window crosses from one piece into the next.

    Args:
        piece_lengths: events of each piece.
        window_size: events before the target.
        first_target: events of a piece before its first target, at least `window_size`; None is `window_size`.
        offsets: where each piece begins; None lays them end to end.
    """
    late = 0 if first_target is None else first_target - window_size
    if offsets is None:
        offsets = np.cumsum([0, *piece_lengths[:-1]]).tolist()
    return [
        range(offset + late, offset + max(late, length - window_size))
        for offset, length in zip(offsets, piece_lengths, strict=True)
    ]


def window_starts(piece_lengths: Sequence[int], window_size: int, first_target: int | None = None) -> list[Indices]:
    """`window_runs` as arrays."""
    return [listed([run]) for run in window_runs(piece_lengths, window_size, first_target)]


def listed(runs: Sequence[range]) -> Indices:
    """(W,) the positions of all runs."""
    return np.concatenate([np.empty(0, np.int64), *(np.arange(run.start, run.stop, dtype=np.int64) for run in runs)])


def split_windows(
    piece_lengths: Sequence[int],
    config: DataConfig,
    seed: int,
    *,
    parts: Sequence[SplitPart] | None = None,
    groups: NDArray[np.int64] | None = None,
    offsets: Sequence[int] | None = None,
    lazy: bool = False,
) -> Splits:
    """Divide the windows of the pieces.

    Args:
        piece_lengths: events of each piece.
        config: which split, what shares, which blocks.
        seed: decides the shuffle, and which pieces are held out.
        parts: for `data.split=file`, the part of each piece.
        offsets: where each piece begins; None lays them end to end.
        lazy: do not list the windows (see the head of this file); a shuffled split is then another permutation.
        groups: the group of each piece, numbered from 0; whole pieces are held out by whole groups. None is a group for
            each.

    Raises:
        ComposerError: too few pieces or windows for the shares asked for.
    """
    if config.split is Split.by_piece and len(piece_lengths) == 1:
        raise ComposerError("data.split=by_piece: needs several pieces; data.split=blocked holds out part of one")
    pieces = window_runs(piece_lengths, config.window_size, config.first_target, offsets)
    made = Ranges if lazy else listed
    train: Indices | Starts
    val: Indices | Starts
    if config.split is Split.file:
        if parts is None:
            raise ComposerError("data.split=file: needs a folder of MIDI files with a CSV file that names the parts")
        named = {part: [run for run, own in zip(pieces, parts, strict=True) if own is part] for part in SplitPart}
        train, val, test = made(named[SplitPart.train]), made(named[SplitPart.validation]), made(named[SplitPart.test])
    else:
        alike = np.arange(len(pieces)) if groups is None else groups
        held, pieces, alike = _take_test(pieces, alike, config, seed)
        test = made(held)
        if config.split is Split.shuffled:
            train, val = _shuffle(pieces, config, seed, lazy=lazy)
        else:
            held, rest = _take_validation(pieces, alike, config, seed, len(piece_lengths) > 1)
            train, val = made(rest), made(held)
    if not len(train) or not len(val):
        raise ComposerError(
            f"{config.margin_key}: leaves {len(train)} training and {len(val)} validation windows; "
            "use a smaller window, smaller held-out shares (data.test_fraction, data.val_fraction) or more music"
        )
    return Splits(train, val, test)


def _take_test(
    pieces: list[range], groups: NDArray[np.int64], config: DataConfig, seed: int
) -> tuple[list[range], list[range], NDArray[np.int64]]:
    """The test's runs, the pieces or segments that are left, and the groups of these pieces."""
    if config.test_fraction == 0:
        return [], pieces, groups
    if len(pieces) == 1:
        held, rest = _take_block(pieces, config.test_fraction, config.test_block, config.margin)
        return [held], rest, groups
    least = 3 if config.split is Split.by_piece else 2
    if len(pieces) < least:
        raise ComposerError(
            f"data.split={config.split.name}: needs {least} pieces with a test piece, and there are {len(pieces)}"
        )
    _require_groups(groups, least, config)
    return _take_pieces(pieces, groups, config.test_fraction, seed, keep=least - 1)


def _require_groups(groups: NDArray[np.int64], least: int, config: DataConfig) -> None:
    count = len(np.unique(groups))
    # Without what puts pieces together there would be as many groups as pieces.
    way_out = "data.group_similarity=null" if config.group_by is None else "data.group_by=null"
    if count < least:
        raise ComposerError(
            f"data.split={config.split.name}: needs {least} groups of pieces that are not alike, and "
            f"the {len(groups)} pieces make {count}; {way_out} takes each piece by itself"
        )


def _take_validation(
    pieces: list[range], groups: NDArray[np.int64], config: DataConfig, seed: int, several: bool
) -> tuple[list[range], list[range]]:
    if config.split is Split.by_piece:
        _require_groups(groups, 2, config)
        return _take_pieces(pieces, groups, config.val_fraction, seed, keep=1)[:2]
    if config.fold is not None:
        segments = [[piece] for piece in pieces if len(piece)] if several else [pieces]
        folds = [_take_fold(own, config.fold, config.folds, config.margin) for own in segments]
        return [run for taken, _ in folds for run in taken], [run for _, kept in folds for run in kept]
    if several:
        # A block of every piece: one block of all would be no more than one piece.
        parts = [_take_block([p], config.val_fraction, config.val_block, config.margin) for p in pieces if len(p)]
        return [held for held, _ in parts], [segment for _, rest in parts for segment in rest]
    held, rest = _take_block(pieces, config.val_fraction, config.val_block, config.margin)
    return [held], rest


def _shuffle(
    pieces: list[range], config: DataConfig, seed: int, *, lazy: bool
) -> tuple[Indices | Starts, Indices | Starts]:
    count = sum(len(piece) for piece in pieces)
    # A hair above the product, which rounding may put below a whole number.
    train_count = int(count * (1 - config.val_fraction) + 1e-9)
    if lazy:
        order = Permutation(count, [seed, _SHUFFLE_STREAM])
        pool = Ranges(pieces)
        return Drawn(pool, order, 0, train_count), Drawn(pool, order, train_count, count)
    shuffled = np.random.default_rng([seed, _SHUFFLE_STREAM]).permutation(listed(pieces))
    return shuffled[:train_count], shuffled[train_count:]


def _take_block(segments: list[range], fraction: float, block: Block, margin: int) -> tuple[range, list[range]]:
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
    return held, kept or [range(0)]


def _take_fold(segments: list[range], fold: int, folds: int, margin: int) -> tuple[list[range], list[range]]:
    """Hold out the windows of a block of `folds` equal ones, and keep those that share no event with it.

    A block may reach from one segment into the next, over the test between them.
    """
    total = sum(len(segment) for segment in segments)
    begin, end = total * fold // folds, total * (fold + 1) // folds
    held, before = [], 0
    for segment in segments:
        held.append(segment[max(0, begin - before) : max(0, end - before)])
        before += len(segment)
    held = [run for run in held if len(run)]
    rest = segments
    for run in held:
        # Windows of `margin` events and their target share an event when they begin no further apart.
        first, last = run.start - margin, run.stop - 1 + margin
        rest = [
            part
            for segment in rest
            for part in (
                range(segment.start, min(segment.stop, first)),
                range(max(segment.start, last + 1), segment.stop),
            )
            if len(part)
        ]
    return held, rest


def _take_pieces(
    pieces: list[range], groups: NDArray[np.int64], fraction: float, seed: int, *, keep: int
) -> tuple[list[range], list[range], NDArray[np.int64]]:
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
    return taken, [piece for piece, out in zip(pieces, held, strict=True) if not out], groups[~held]


def covered(events: int, starts: Indices, window_size: int) -> NDArray[np.bool_]:
    """(events,) whether each position is an input or the target of some window that begins at `starts`."""
    # +1 where a window begins, -1 after its target: the running sum counts the windows over a position.
    steps = np.zeros(events + 1, np.int64)
    np.add.at(steps, starts, 1)
    np.add.at(steps, starts + window_size + 1, -1)
    return np.cumsum(steps)[:-1] > 0


def supervisable(events: int, splits: Splits, window_size: int) -> NDArray[np.bool_] | Supervisable:
    """Whether each position may be trained on as a target: not where a validation or test window has its own.

    Only `loss.supervision=every` needs it: the last step's targets are those of the training windows, which are no
    other window's.

    Returns:
        (events,) one bool a position, or for parts that are not listed a function of positions.
    """
    if isinstance(splits.val, Starts) or isinstance(splits.test, Starts):
        return Supervisable(splits, window_size)
    allowed = np.ones(events, np.bool_)
    allowed[splits.val + window_size] = False
    allowed[splits.test + window_size] = False
    return allowed


class Supervisable:
    """`supervisable` as a function, where the parts are not listed."""

    def __init__(self, splits: Splits, window_size: int) -> None:
        """Args: as for `supervisable`."""
        self.parts = [part for part in (splits.val, splits.test) if isinstance(part, Starts)]
        self.window_size = window_size

    def __getitem__(self, positions: Indices) -> NDArray[np.bool_]:
        """Whether each of the positions, of any shape, may be trained on."""
        allowed = np.ones(positions.shape, np.bool_)
        for part in self.parts:
            allowed &= ~part.contains(positions - self.window_size)
        return allowed


@dataclass(frozen=True, slots=True)
class Leak:
    """How much of the validation set the training set has already seen.

    Attributes:
        by_index: share of validation windows whose target event is, at the same position, an input or a target of
            some training window.
        by_content: share of validation windows whose events, input and target, occur alike in some training window.
        by_transposition: the same where a training window may be higher or lower by any number of semitones.
        windows: how many validation windows were looked at.
    """

    by_index: float
    by_content: float
    by_transposition: float
    windows: int


def leak(tokens: NDArray[np.uint8], splits: Splits, window_size: int) -> Leak:
    """Measure the leak of a split.

    Args:
        tokens: (N, 3) classes of all pieces.
        splits: the windows.
        window_size: events before the target.
    """
    assert not isinstance(splits.train, Starts)
    assert not isinstance(splits.val, Starts)
    by_index = covered(len(tokens), splits.train, window_size)[splits.val + window_size].mean()
    by_content, by_transposition = (
        float(np.isin(digests[splits.val], digests[splits.train]).mean())
        for digests in (window_digests(tokens, window_size + 1), transposed_digests(tokens, window_size + 1))
    )
    return Leak(float(by_index), by_content, by_transposition, len(splits.val))


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
    code = event_codes(tokens)
    digest = np.zeros(len(tokens) - length + 1, np.uint64)
    for k in range(length):
        digest = digest * DIGEST_MULTIPLIER + code[k : k + len(digest)]
    return digest


def transposed_digests(
    tokens: NDArray[np.uint8],
    length: int,
    digests: Callable[[NDArray[np.uint8], int], NDArray[np.uint64]] = window_digests,
) -> NDArray[np.uint64]:
    """A 64-bit digest of every run of `length` events that is equal for runs that differ by a transposition alone.

    Of the first event its velocity and time count, of the others also the interval from the event before.

    Args:
        tokens: (N, 3) classes.
        length: events of a run, at least 1.
        digests: finds those of all runs of one length.

    Returns:
        (N - length + 1,) digests.
    """
    first, steps = tokens.copy(), tokens.copy()
    first[:, 0] = 0
    # Modulo 256, which tells all intervals from -127 to 127 apart.
    steps[1:, 0] -= tokens[:-1, 0]
    following = digests(steps, length - 1)[1:]
    return event_codes(first)[: len(following)] * np.uint64(0xD1342543DE82EF95) + following


def digests_at(tokens: NDArray[np.uint8], starts: Indices, length: int) -> NDArray[np.uint64]:
    """(W,) the digests of the runs of `length` events from each start (W,) on; see `window_digests`."""
    digest = np.zeros(len(starts), np.uint64)
    for k in range(length):
        digest = digest * DIGEST_MULTIPLIER + event_codes(tokens[starts + k])
    return digest


def event_codes(tokens: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """(N,) a number for each event (N, 3), other events having others."""
    code = tokens[:, 2].astype(np.uint64)
    for channel in (1, 0):
        code = (code << np.uint64(8)) | tokens[:, channel]
    # Mixed by the finaliser of SplitMix64 (Steele, Lea and Flood 2014), so that neighbouring codes do not cancel.
    code = (code ^ (code >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    code = (code ^ (code >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    code ^= code >> np.uint64(31)
    return code
