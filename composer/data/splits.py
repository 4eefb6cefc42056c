"""The split: training, validation and test windows as pure functions of sizes and a seed.

A window is named by the position of its first event in the array that holds all pieces one after another; it covers
the events start .. start + window_size, the last being its target. Two windows leak into each other when they cover a
common position.

The test block is taken first; the rest is divided into training and validation. Around a held-out block the windows
that share an event with it are left out: a gap of one whole window on each side.

The windows of a large corpus are not listed: the parts are ranges of positions, or a random subset of ranges
(`window_sets.py`).

With `data.first_target` the first targets, the gaps and so all parts are those of windows of that many events,
whatever `data.window_size`: which part a target belongs to does not depend on the window's size.

Where whole pieces are held out, copies and near-copies (`corpus/duplicates.py`) are held out together. The split is
made of the pieces as they are read: augmentation must vary windows within the parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from composer.config.data import Block, DataConfig, Split
from composer.corpus.metadata import SplitPart
from composer.data.permutation import Permutation
from composer.data.window_sets import Indices, ListedWindows, RandomSubset, Ranges, WindowSet, positions_of, window_set
from composer.errors import ComposerError
from composer.random_streams import RandomStream


@dataclass(frozen=True, slots=True)
class Splits:
    """The windows of each part."""

    train: WindowSet
    val: WindowSet
    test: WindowSet


def window_runs(
    piece_lengths: Sequence[int],
    window_size: int,
    first_target: int | None = None,
    offsets: Sequence[int] | None = None,
) -> list[range]:
    """Return the first positions of all windows, piece by piece; no window crosses into the next piece.

    Args:
        piece_lengths: events of each piece.
        window_size: events before the target.
        first_target: events of a piece before its first target, at least `window_size`; None is `window_size`.
        offsets: position of the first event of each piece; None places the pieces end to end.
    """
    late = 0 if first_target is None else first_target - window_size
    if offsets is None:
        offsets = np.cumsum([0, *piece_lengths[:-1]]).tolist()
    return [
        range(offset + late, offset + max(late, length - window_size))
        for offset, length in zip(offsets, piece_lengths, strict=True)
    ]


def split_windows(
    piece_lengths: Sequence[int],
    config: DataConfig,
    seed: int,
    *,
    parts: Sequence[SplitPart] | None = None,
    groups: NDArray[np.int64] | None = None,
    offsets: Sequence[int] | None = None,
    computed: bool = False,
) -> Splits:
    """Split the windows of the pieces into training, validation and test.

    Args:
        piece_lengths: events of each piece.
        config: the kind of split, the held-out shares and the blocks.
        seed: decides the shuffle, and which pieces are held out.
        parts: with `data.split=file`, the part of each piece.
        groups: (P,) the group of each piece, numbered from 0; whole pieces are held out by whole groups. None makes
            each piece a group.
        offsets: position of the first event of each piece; None places the pieces end to end.
        computed: do not list the windows; a shuffled split then uses another permutation.

    Raises:
        ComposerError: too few pieces or windows for the held-out shares.
    """
    if config.split is Split.by_piece and len(piece_lengths) == 1:
        raise ComposerError("data.split=by_piece: needs several pieces; data.split=blocked holds out part of one")
    pieces = window_runs(piece_lengths, config.window_size, config.first_target, offsets)
    made = partial(window_set, computed=computed)
    train: WindowSet
    val: WindowSet
    if config.split is Split.file:
        if parts is None:
            raise ComposerError("data.split=file: needs a folder of MIDI files with a CSV file that names the parts")
        named = {part: [run for run, own in zip(pieces, parts, strict=True) if own is part] for part in SplitPart}
        train, val, test = made(named[SplitPart.train]), made(named[SplitPart.validation]), made(named[SplitPart.test])
    else:
        group_of = np.arange(len(pieces)) if groups is None else groups
        held, pieces, group_of = _take_test(pieces, group_of, config, seed)
        test = made(held)
        if config.split is Split.shuffled:
            train, val = _shuffle(pieces, config, seed, computed=computed)
        else:
            held, rest = _take_validation(pieces, group_of, config, seed, len(piece_lengths) > 1)
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
    """Return the runs of the test, the remaining pieces or segments, and the groups of these pieces."""
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
    # Without the key that groups pieces, each piece is a group.
    remedy = "data.group_similarity=null" if config.group_by is None else "data.group_by=null"
    if count < least:
        raise ComposerError(
            f"data.split={config.split.name}: needs {least} groups of dissimilar pieces, and "
            f"the {len(groups)} pieces make {count}; {remedy} takes each piece by itself"
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
        # One block of every piece: a single block would come from one piece.
        parts = [_take_block([p], config.val_fraction, config.val_block, config.margin) for p in pieces if len(p)]
        return [held for held, _ in parts], [segment for _, rest in parts for segment in rest]
    held, rest = _take_block(pieces, config.val_fraction, config.val_block, config.margin)
    return [held], rest


def _shuffle(pieces: list[range], config: DataConfig, seed: int, *, computed: bool) -> tuple[WindowSet, WindowSet]:
    """Return training and validation windows, drawn from all by the seed."""
    count = sum(len(piece) for piece in pieces)
    # Slightly above the product, which rounding may put below a whole number.
    train_count = int(count * (1 - config.val_fraction) + 1e-9)
    if computed:
        order = Permutation(count, [seed, RandomStream.SPLIT])
        pool = Ranges(pieces)
        return RandomSubset(pool, order, 0, train_count), RandomSubset(pool, order, train_count, count)
    shuffled = np.random.default_rng([seed, RandomStream.SPLIT]).permutation(positions_of(pieces))
    return ListedWindows(shuffled[:train_count]), ListedWindows(shuffled[train_count:])


def _take_block(segments: list[range], fraction: float, block: Block, margin: int) -> tuple[range, list[range]]:
    """Hold out a run of `fraction` of all windows, at least one, from the longest segment; drop those that overlap."""
    total = sum(len(segment) for segment in segments)
    longest = max(range(len(segments)), key=lambda k: len(segments[k]))
    segment = segments[longest]
    count = min(len(segment), max(1, round(total * fraction)))
    begin = {Block.start: 0, Block.middle: (len(segment) - count) // 2, Block.end: len(segment) - count}[block]
    held = segment[begin : begin + count]
    # A window of `margin` events shares an event with `margin` neighbours on each side.
    before, after = segment[: max(0, begin - margin)], segment[begin + count + margin :]
    kept = [s for s in [*segments[:longest], before, after, *segments[longest + 1 :]] if len(s)]
    return held, kept or [range(0)]


def _take_fold(segments: list[range], fold: int, folds: int, margin: int) -> tuple[list[range], list[range]]:
    """Hold out the windows of one of `folds` equal blocks, and keep those that share no event with it.

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
        # Windows of `margin` events and their target share an event if they begin at most `margin` events apart.
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
    """Hold out `fraction` of the pieces in whole groups, at least one, leaving at least `keep`, chosen by the seed.

    Groups are taken in the seed's order while they fit; if none fits, the smallest is taken.
    """
    count = min(max(1, round(len(pieces) * fraction)), len(pieces) - keep)
    names, sizes = np.unique(groups, return_counts=True)
    order = np.random.default_rng([seed, RandomStream.HELD_OUT_PIECES]).permutation(len(names)).tolist()
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


class Supervisable:
    """Positions that may be trained on as targets: those that are not the target of a validation or test window.

    Needed only by `loss.supervision=every` and `stream`: the target of the last step is that of a training window,
    which no held-out window shares.
    """

    def __init__(self, splits: Splits, window_size: int) -> None:
        """Store the held-out windows of `window_size` inputs."""
        self.held_out = (splits.val, splits.test)
        self.window_size = window_size

    def __getitem__(self, positions: Indices) -> NDArray[np.bool_]:
        """Return a mask of the positions, of any shape, that may be trained on."""
        allowed = np.ones(positions.shape, np.bool_)
        for windows in self.held_out:
            allowed &= ~windows.contains(positions - self.window_size)
        return allowed
