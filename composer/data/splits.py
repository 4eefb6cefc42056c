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
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from composer import registry
from composer.config.data import Block, DataConfig
from composer.corpus.metadata import SplitPart
from composer.data.permutation import Permutation
from composer.data.window_sets import Indices, ListedWindows, RandomSubset, Ranges, WindowSet, positions_of, window_set
from composer.errors import ComposerError
from composer.random_streams import RandomStream
from composer.registry import Contract, implements


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
    runs = window_runs(piece_lengths, config.window_size, config.first_target, offsets)
    group_of = np.arange(len(runs)) if groups is None else groups
    rule = split_rule(config.split)
    splits = rule(config, seed).divide(runs, group_of, parts, computed=computed)
    if config.train_share < 1:
        if not rule.whole_pieces:
            raise ComposerError(
                f"data.train_share={config.train_share:g}: needs whole pieces held out, as data.split=by_piece does; "
                f"data.split={config.split} divides pieces"
            )
        splits = replace(splits, train=_take_share(runs, splits.train, config.train_share, seed, computed=computed))
    if not len(splits.train) or not len(splits.val):
        raise ComposerError(
            f"{config.margin_key}: leaves {len(splits.train)} training and {len(splits.val)} validation windows; "
            "use a smaller window, smaller held-out shares (data.test_fraction, data.val_fraction) or more music"
        )
    return splits


def _take_share(runs: list[range], train: WindowSet, share: float, seed: int, *, computed: bool) -> WindowSet:
    """Return the windows of training pieces in the seed's order, up to a share of all training windows, at least one.

    Args:
        runs: the windows of each piece.
        train: of whole pieces.
        share: above 0, below 1.
        seed: decides the order, so that a smaller share is part of a larger one.
        computed: do not list the windows.
    """
    pieces = [run for run in runs if len(run) and bool(train.contains(np.array([run.start]))[0])]
    order = np.random.default_rng([seed, RandomStream.TRAINING_PIECES]).permutation(len(pieces)).tolist()
    reached = np.cumsum([len(pieces[number]) for number in order])
    count = max(1, int(np.searchsorted(reached, share * len(train), side="right")))
    return window_set([pieces[number] for number in sorted(order[:count])], computed=computed)


def split_rule(name: str) -> type[SplitRule]:
    """Return the class of a value of `data.split`.

    Raises:
        ComposerError: nothing has registered the name.
    """
    return registry.part("split", name)  # type: ignore[return-value]


class SplitRule:
    """Division of the windows of the pieces into training, validation and test.

    A subclass defines `validation`; the test is held out before it, as `data.test_fraction` says.

    Attributes:
        meaning: what a figure of the validation says, in a sentence.
        reuses_passages: whether events of validation windows also occur in training windows.
        whole_pieces: whether all windows of a piece are in one part.
        least: pieces (and groups) that are needed without a test.
        config: the keys of the group `data`.
        seed: of the run.
    """

    meaning: ClassVar[str] = "val figures are of windows that training has not seen"
    reuses_passages: ClassVar[bool] = False
    whole_pieces: ClassVar[bool] = False
    least: ClassVar[int] = 1

    def __init__(self, config: DataConfig, seed: int) -> None:
        """Keep the keys and the seed."""
        self.config, self.seed = config, seed

    def validation(self, pieces: list[range], groups: NDArray[np.int64]) -> tuple[list[range], list[range]]:
        """Return the validation and the training windows outside the test, as ranges of first positions.

        Args:
            pieces: the windows of each piece, or of each segment beside the test block of a single one.
            groups: (P,) the group of each; copies of a piece are in its group.
        """
        raise NotImplementedError

    def divide(
        self,
        pieces: list[range],
        groups: NDArray[np.int64],
        parts: Sequence[SplitPart] | None,
        *,
        computed: bool,
    ) -> Splits:
        """Return the windows of each part.

        Args:
            pieces: the windows of each piece.
            groups: (P,) the group of each piece.
            parts: the part that a file names for each piece; None without such a file.
            computed: do not list the windows.

        Raises:
            ComposerError: too few pieces or groups, or a window is in two parts.
        """
        self.several = len(pieces) > 1
        test, rest, group_of = self._take_test(pieces, groups)
        val, train = self.validation(rest, group_of)
        self._check_apart(rest, val, train)
        return Splits(*(window_set(part, computed=computed) for part in (train, val, test)))

    def _check_apart(self, rest: list[range], *parts: list[range]) -> None:
        runs = sorted((run.start, run.stop) for part in parts for run in part if len(run))
        within = sum(len(run) for run in rest) >= sum(stop - start for start, stop in runs)
        if not within or any(stop > start for (_, stop), (start, _) in pairwise(runs)):
            raise ComposerError(f"data.split={self.config.split}: puts a window into training and validation")

    def _take_test(
        self, pieces: list[range], groups: NDArray[np.int64]
    ) -> tuple[list[range], list[range], NDArray[np.int64]]:
        """Return the runs of the test, the remaining pieces or segments, and the groups of these pieces."""
        config = self.config
        if config.test_fraction == 0:
            return [], pieces, groups
        if len(pieces) == 1:
            held, rest = _take_block(pieces, config.test_fraction, config.test_block, config.margin)
            return [held], rest, groups
        least = self.least + 1
        if len(pieces) < least:
            raise ComposerError(
                f"data.split={config.split}: needs {least} pieces with a test piece, and there are {len(pieces)}"
            )
        _require_groups(groups, least, config)
        return _take_pieces(pieces, groups, config.test_fraction, self.seed, keep=least - 1)


CONTRACT = Contract(SplitRule, ("validation", "divide"))
_NEW_PIECES = "val figures measure prediction of pieces that training has not seen"


@implements("split", "shuffled")
class ShuffledSplit(SplitRule):
    """The article's: windows drawn from all by the seed."""

    meaning = "val figures measure how well gaps in training passages are filled, not prediction of new music"
    reuses_passages = True

    def divide(
        self,
        pieces: list[range],
        groups: NDArray[np.int64],
        parts: Sequence[SplitPart] | None,
        *,
        computed: bool,
    ) -> Splits:
        """Return the windows of each part."""
        test, rest, _ = self._take_test(pieces, groups)
        train, val = _shuffle(rest, self.config, self.seed, computed=computed)
        return Splits(train, val, window_set(test, computed=computed))


@implements("split", "blocked")
class BlockedSplit(SplitRule):
    """A block of each piece is held out."""

    meaning = "val figures measure prediction of passages that training has not seen, in pieces that it has"

    def validation(self, pieces: list[range], groups: NDArray[np.int64]) -> tuple[list[range], list[range]]:
        """Return a block of each piece, or one fold of it, and the rest."""
        config = self.config
        if config.fold is not None:
            segments = [[piece] for piece in pieces if len(piece)] if self.several else [pieces]
            folds = [_take_fold(own, config.fold, config.folds, config.margin) for own in segments]
            return [run for taken, _ in folds for run in taken], [run for _, kept in folds for run in kept]
        if self.several:
            # One block of every piece: a single block would come from one piece.
            parts = [_take_block([p], config.val_fraction, config.val_block, config.margin) for p in pieces if len(p)]
            return [held for held, _ in parts], [segment for _, rest in parts for segment in rest]
        held, rest = _take_block(pieces, config.val_fraction, config.val_block, config.margin)
        return [held], rest


@implements("split", "by_piece")
class PieceSplit(SplitRule):
    """Whole pieces are held out, in whole groups."""

    meaning = _NEW_PIECES
    whole_pieces = True
    least = 2

    def divide(
        self,
        pieces: list[range],
        groups: NDArray[np.int64],
        parts: Sequence[SplitPart] | None,
        *,
        computed: bool,
    ) -> Splits:
        """Return the windows of each part."""
        if len(pieces) == 1:
            raise ComposerError("data.split=by_piece: needs several pieces; data.split=blocked holds out part of one")
        return SplitRule.divide(self, pieces, groups, parts, computed=computed)

    def validation(self, pieces: list[range], groups: NDArray[np.int64]) -> tuple[list[range], list[range]]:
        """Return held-out pieces, and the others."""
        _require_groups(groups, 2, self.config)
        return _take_pieces(pieces, groups, self.config.val_fraction, self.seed, keep=1)[:2]


@implements("split", "file")
class FileSplit(SplitRule):
    """The parts that a file beside the pieces names."""

    meaning = _NEW_PIECES
    whole_pieces = True

    def divide(
        self,
        pieces: list[range],
        groups: NDArray[np.int64],
        parts: Sequence[SplitPart] | None,
        *,
        computed: bool,
    ) -> Splits:
        """Return the windows of each part."""
        if parts is None:
            raise ComposerError("data.split=file: needs a folder of MIDI files with a CSV file that names the parts")
        named = {part: [run for run, own in zip(pieces, parts, strict=True) if own is part] for part in SplitPart}
        in_order = (named[part] for part in (SplitPart.train, SplitPart.validation, SplitPart.test))
        return Splits(*(window_set(runs, computed=computed) for runs in in_order))


def _require_groups(groups: NDArray[np.int64], least: int, config: DataConfig) -> None:
    count = len(np.unique(groups))
    # Without the key that groups pieces, each piece is a group.
    remedy = "data.group_similarity=null" if config.group_by is None else "data.group_by=null"
    if count < least:
        raise ComposerError(
            f"data.split={config.split}: needs {least} groups of dissimilar pieces, and "
            f"the {len(groups)} pieces make {count}; {remedy} takes each piece by itself"
        )


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

    def __init__(self, splits: Splits, window_size: int, *, masked: bool = True) -> None:
        """Store the held-out windows of `window_size` inputs; unless `masked`, every position may be trained on."""
        self.held_out = (splits.val, splits.test) if masked else ()
        self.window_size = window_size

    def __getitem__(self, positions: Indices) -> NDArray[np.bool_]:
        """Return a mask of the positions, of any shape, that may be trained on."""
        allowed = np.ones(positions.shape, np.bool_)
        for windows in self.held_out:
            allowed &= ~windows.contains(positions - self.window_size)
        return allowed
