"""Splits by exact indices, what they promise about shared events, and the two measures of leak."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from composer.config.data import Block, DataConfig
from composer.data.leakage import Leak, transposed_digests, window_digests
from composer.data.leakage import leak as leak_of
from composer.data.splits import Splits, Supervisable, split_windows
from composer.data.tokens import ArrayTokens
from composer.data.window_sets import WindowSet
from composer.errors import ComposerError
from tests.references import splits_at, window_starts

Data = Callable[..., DataConfig]


def lists(splits: Splits) -> tuple[list[int], list[int], list[int]]:
    return splits.train.positions().tolist(), splits.val.positions().tolist(), splits.test.positions().tolist()


def tokens_of(codes: list[int]) -> NDArray[np.uint8]:
    """(N, 3) classes; each code its own event."""
    return np.array([[code % 5, code // 5, 1] for code in codes], np.uint8)


def leak(tokens: NDArray[np.uint8], splits: Splits, window_size: int) -> Leak:
    return leak_of(ArrayTokens(tokens), splits, window_size, seed=0)


# Exact indices: 20 events in windows of 3 + 1 make the windows 0 .. 16


def test_windows_do_not_cross_pieces() -> None:
    assert [starts.tolist() for starts in window_starts([5, 2, 3, 6], 3)] == [[0, 1], [], [], [10, 11, 12]]


@pytest.mark.parametrize(
    ("block", "test", "rest"),
    [
        # round(0.2 * 17) = 3 windows, and a gap of 3 where there are neighbours.
        (Block.start, [0, 1, 2], [*range(6, 17)]),
        (Block.middle, [7, 8, 9], [0, 1, 2, 3, 13, 14, 15, 16]),
        (Block.end, [14, 15, 16], [*range(11)]),
    ],
)
def test_test_block_and_its_gap(data_config: Data, block: Block, test: list[int], rest: list[int]) -> None:
    config = data_config(window_size=3, split="shuffled", val_fraction=0.25, test_fraction=0.2, test_block=block)
    splits = split_windows([20], config, seed=0)
    assert splits.test.positions().tolist() == test
    assert sorted([*splits.train.positions().tolist(), *splits.val.positions().tolist()]) == rest
    assert len(splits.train) == int(len(rest) * 0.75)


def test_shuffled_is_the_seeds_permutation(data_config: Data) -> None:
    config = data_config(window_size=3, split="shuffled", val_fraction=0.3, test_fraction=0.0)
    assert lists(split_windows([13], config, seed=0)) == ([9, 1, 3, 8, 7, 6, 0], [4, 2, 5], [])
    again = lists(split_windows([13], config, seed=0))
    assert again == ([9, 1, 3, 8, 7, 6, 0], [4, 2, 5], [])
    assert lists(split_windows([13], config, seed=1)) != again


@pytest.mark.parametrize(
    ("block", "val", "train"),
    [
        (Block.start, [0, 1, 2], [*range(6, 17)]),
        (Block.middle, [7, 8, 9], [0, 1, 2, 3, 13, 14, 15, 16]),
        (Block.end, [14, 15, 16], [*range(11)]),
    ],
)
def test_blocked_validation_and_its_gap(data_config: Data, block: Block, val: list[int], train: list[int]) -> None:
    config = data_config(window_size=3, split="blocked", val_fraction=0.2, val_block=block, test_fraction=0.0)
    assert lists(split_windows([20], config, seed=0)) == (train, val, [])
    # The seed has no part in it.
    assert lists(split_windows([20], config, seed=5)) == (train, val, [])


def test_blocked_validation_beside_a_test_block(data_config: Data) -> None:
    config = data_config(
        window_size=2,
        split="blocked",
        val_fraction=0.2,
        val_block=Block.start,
        test_fraction=0.1,
        test_block=Block.end,
    )
    # 30 windows: the last 3 test, 25 and 26 are their gap; round(0.2 * 25) = 5 validate, 5 and 6 are theirs.
    train, val, test = lists(split_windows([32], config, seed=0))
    assert (train, val, test) == ([*range(7, 25)], [0, 1, 2, 3, 4], [27, 28, 29])


def test_blocked_validation_of_several_pieces_is_a_block_of_each(data_config: Data) -> None:
    config = data_config(window_size=2, split="blocked", val_fraction=0.25, val_block=Block.end, test_fraction=0.0)
    # Windows 0..3 and 6..17: a quarter from the end of each, and its gap.
    assert lists(split_windows([6, 14], config, seed=0)) == ([0, *range(6, 13)], [3, 15, 16, 17], [])


def test_by_piece_holds_out_whole_pieces(data_config: Data) -> None:
    config = data_config(window_size=3, split="by_piece", val_fraction=0.4, test_fraction=0.0)
    # Seed 0 takes pieces 4 and 2 of five, whose windows are 10, 11 and 20, 21.
    train, val, test = lists(split_windows([5] * 5, config, seed=0))
    assert (train, val, test) == ([0, 1, 5, 6, 15, 16], [10, 11, 20, 21], [])
    assert lists(split_windows([5] * 5, config, seed=2))[1] == [0, 1, 5, 6]


def test_by_piece_holds_out_test_pieces_first(data_config: Data) -> None:
    config = data_config(window_size=3, split="by_piece", val_fraction=0.1, test_fraction=0.1)
    train, val, test = lists(split_windows([5] * 5, config, seed=0))
    assert test == [20, 21]  # piece 4
    assert len(val) == 2  # one of the four others
    assert len(train) == 6
    assert sorted(train + val + test) == [0, 1, 5, 6, 10, 11, 15, 16, 20, 21]


def test_several_pieces_hold_out_a_test_piece_in_every_split(data_config: Data) -> None:
    config = data_config(window_size=3, split="shuffled", val_fraction=0.25, test_fraction=0.1)
    train, val, test = lists(split_windows([5, 5, 5, 5, 5], config, seed=0))
    assert test == [20, 21]
    assert sorted(train + val) == [0, 1, 5, 6, 10, 11, 15, 16]
    assert len(val) == 2


def test_alike_pieces_are_held_out_together(data_config: Data) -> None:
    config = data_config(window_size=3, split="by_piece", val_fraction=0.4, test_fraction=0.0)
    # Pieces 1 and 3 are alike. Two are wanted; the seed orders the groups 2, 1, 0, 3: after piece 2 there is no room
    # for group 1, and piece 0 follows.
    assert np.random.default_rng([0, 2]).permutation(4).tolist() == [2, 1, 0, 3]
    train, val, test = lists(split_windows([5] * 5, config, 0, groups=np.array([0, 1, 2, 1, 3])))
    assert (train, val, test) == ([5, 6, 15, 16, 20, 21], [0, 1, 10, 11], [])


def test_where_no_group_fits_the_smallest_is_held_out(data_config: Data) -> None:
    config = data_config(window_size=3, split="by_piece", val_fraction=0.1, test_fraction=0.0)
    for seed in range(5):
        _, val, _ = lists(split_windows([5] * 5, config, seed, groups=np.array([0, 0, 0, 1, 1])))
        assert val == [15, 16, 20, 21]


@given(
    data=st.data(),
    lengths=st.lists(st.integers(8, 40), min_size=2, max_size=8),
    split=st.sampled_from(["shuffled", "blocked", "by_piece"]),
    seed=st.integers(0, 1000),
    fractions=st.tuples(st.floats(0.01, 0.9), st.just(0.0) | st.floats(0.01, 0.9)),
)
def test_no_group_of_pieces_is_divided(
    data_config: Data,
    data: st.DataObject,
    lengths: list[int],
    split: str,
    seed: int,
    fractions: tuple[float, float],
) -> None:
    groups = np.array(data.draw(st.lists(st.integers(0, 3), min_size=len(lengths), max_size=len(lengths))))
    config = data_config(window_size=4, split=split, val_fraction=fractions[0], test_fraction=fractions[1])
    try:
        splits = split_windows(lengths, config, seed, groups=groups)
    except ComposerError:
        return
    bounds = np.cumsum(lengths)

    def of(part: WindowSet) -> set[int]:
        return {int(groups[piece]) for piece in np.searchsorted(bounds, part.positions(), side="right")}

    assert not of(splits.test) & (of(splits.train) | of(splits.val))
    if split == "by_piece":
        assert not of(splits.val) & of(splits.train)


@given(count=st.integers(2, 12), seed=st.integers(0, 1000), fraction=st.floats(0.01, 0.9))
def test_different_pieces_are_held_out_in_the_seed_order(
    data_config: Data, count: int, seed: int, fraction: float
) -> None:
    config = data_config(window_size=4, split="by_piece", val_fraction=fraction, test_fraction=0.0)
    held = np.random.default_rng([seed, 2]).permutation(count)[: min(max(1, round(count * fraction)), count - 1)]
    expected = [5 * piece for piece in sorted(held.tolist())]
    for groups in (None, np.arange(count)):
        assert split_windows([5] * count, config, seed, groups=groups).val.positions().tolist() == expected


@pytest.mark.parametrize(
    ("split", "test_fraction", "least"), [("by_piece", 0.0, 2), ("by_piece", 0.1, 3), ("blocked", 0.1, 2)]
)
def test_too_few_groups_tell_the_way_out(data_config: Data, split: str, test_fraction: float, least: int) -> None:
    config = data_config(window_size=3, split=split, test_fraction=test_fraction)
    with pytest.raises(ComposerError) as caught:
        split_windows([30] * 4, config, 0, groups=np.zeros(4, np.int64))
    assert str(caught.value) == (
        f"data.split={split}: needs {least} groups of dissimilar pieces, and the 4 pieces make 1; "
        "data.group_similarity=null takes each piece by itself"
    )


# Folds


def test_a_fold_is_one_of_equal_blocks_with_its_gap(data_config: Data) -> None:
    # 17 windows in 3 blocks: 5, 6 and 6.
    expected = [
        ([*range(8, 17)], [0, 1, 2, 3, 4]),
        ([0, 1, 14, 15, 16], [5, 6, 7, 8, 9, 10]),
        ([*range(8)], [11, 12, 13, 14, 15, 16]),
    ]
    for fold, (train, val) in enumerate(expected):
        config = data_config(window_size=3, split="blocked", test_fraction=0.0, folds=3, fold=fold)
        assert lists(split_windows([20], config, seed=0)) == (train, val, [])


def test_a_fold_reaches_over_the_test_block(data_config: Data) -> None:
    config = data_config(window_size=3, split="blocked", test_fraction=0.2, folds=3, fold=1)
    # The test is 7, 8 and 9, and 4 to 6 and 10 to 12 are its gap: of 0..3 and 13..16 the middle is 2, 3 and 13.
    with pytest.raises(ComposerError, match="^data.window_size=3: leaves 0 training and 3 validation"):
        split_windows([20], config, seed=0)
    wider = data_config(window_size=1, split="blocked", test_fraction=0.2, folds=3, fold=1)
    # 19 windows: 7 to 10 are the test, 6 and 11 its gap: of 0..5 and 12..18 the middle is 4, 5, 12 and 13.
    assert lists(split_windows([20], wider, seed=0)) == ([0, 1, 2, 15, 16, 17, 18], [4, 5, 12, 13], [7, 8, 9, 10])


@given(lengths=st.lists(st.integers(12, 60), min_size=1, max_size=4), folds=st.integers(2, 6), test=st.booleans())
def test_every_window_validates_in_exactly_one_fold(
    data_config: Data, lengths: list[int], folds: int, test: bool
) -> None:
    parts = []
    for fold in range(folds):
        config = data_config(window_size=1, split="blocked", test_fraction=0.1 if test else 0.0, folds=folds, fold=fold)
        parts.append(split_windows(lengths, config, seed=3))
        train, val = parts[-1].train.positions(), parts[-1].val.positions()
        assert not positions(train, 1) & positions(val, 1)
        # Only neighbours of what is held out are left out.
        rest = {int(start) for piece in window_starts(lengths, 1) for start in piece} - set(train.tolist())
        near = positions(val, 1) | positions(parts[-1].test.positions(), 1)
        assert all({start, start + 1} & near for start in rest)
    held = np.concatenate([splits.val.positions() for splits in parts])
    assert len(set(held.tolist())) == len(held)
    starts = {int(start) for piece in window_starts(lengths, 1) for start in piece}
    unused = starts - set(held.tolist()) - set(parts[0].test.positions().tolist())
    assert all({start - 1, start + 1} & set(parts[0].test.positions().tolist()) for start in unused)
    assert all(splits.test.positions().tolist() == parts[0].test.positions().tolist() for splits in parts)


def test_a_fold_needs_blocks(data_config: Data) -> None:
    with pytest.raises(ComposerError) as caught:
        data_config(split="shuffled", fold=0)
    assert str(caught.value) == "data.fold=0: must be null unless data.split=blocked"


def test_a_smaller_share_of_the_training_is_part_of_a_larger(data_config: Data) -> None:
    lengths = [20, 35, 11, 28, 50, 17, 40, 33]
    by_piece = {"window_size": 3, "split": "by_piece", "val_fraction": 0.2}
    whole = lists(split_windows(lengths, data_config(**by_piece), 4))
    before: set[int] = set()
    for share in (0.01, 0.25, 0.5, 0.75, 1.0):
        train, val, test = lists(split_windows(lengths, data_config(**by_piece, train_share=share), 4))
        assert (val, test) == whole[1:]
        assert before <= set(train) <= set(whole[0])
        assert train == sorted(train)
        # Whole pieces: one at least, and none that leads beyond the share.
        assert len(train) <= share * len(whole[0]) or not before
        before = set(train)
    assert before == set(whole[0])


def test_a_share_of_the_training_needs_whole_pieces(data_config: Data) -> None:
    with pytest.raises(ComposerError, match=r"^data\.train_share=0\.5: needs whole pieces.*data\.split=shuffled"):
        split_windows([20, 30], data_config(window_size=3, split="shuffled", train_share=0.5), 0)


def test_article_has_716_training_and_80_validation_windows(data_config: Data) -> None:
    config = data_config(window_size=30, split="shuffled", val_fraction=0.1, test_fraction=0.0)
    train, val, test = lists(split_windows([826], config, seed=0))
    assert (len(train), len(val), len(test)) == (716, 80, 0)
    assert sorted(train + val) == list(range(796))


def test_a_share_below_one_window_holds_out_one(data_config: Data) -> None:
    config = data_config(window_size=3, split="blocked", val_fraction=0.02, test_fraction=0.02)
    splits = split_windows([20], config, seed=0)
    assert splits.test.positions().tolist() == [8]
    assert splits.val.positions().tolist() == [2]
    assert splits.train.positions().tolist() == [12, 13, 14, 15, 16]


# Promises

configs = st.fixed_dictionaries(
    {
        "window_size": st.integers(1, 6),
        "split": st.sampled_from(["shuffled", "blocked", "by_piece"]),
        "val_fraction": st.floats(0.01, 0.6),
        "val_block": st.sampled_from(Block),
        "test_fraction": st.just(0.0) | st.floats(0.01, 0.5),
        "test_block": st.sampled_from(Block),
    }
)


def positions(starts: NDArray[np.int64], window_size: int) -> set[int]:
    return {start + k for start in starts.tolist() for k in range(window_size + 1)}


@given(lengths=st.lists(st.integers(1, 60), min_size=1, max_size=5), changes=configs, seed=st.integers(0, 2**32 - 1))
def test_held_out_windows_share_no_event_and_gaps_are_minimal(
    data_config: Data, lengths: list[int], changes: dict[str, Any], seed: int
) -> None:
    config = data_config(**changes)
    size = config.window_size
    starts = {start for piece in window_starts(lengths, size) for start in piece.tolist()}
    try:
        splits = split_windows(lengths, config, seed)
    except ComposerError as error:
        line = str(error)
    else:
        line = ""
    if line:
        # Refused only for a reason: too few pieces for whole ones, or too few windows.
        few_pieces = config.split == "by_piece" and len(lengths) < (3 if config.test_fraction else 2)
        assert line.startswith("data.split=by_piece" if few_pieces else "data.window_size=")
        return
    train, val, test = lists(splits)
    assert train
    assert val
    assert len(set(train + val + test)) == len(train) + len(val) + len(test)
    assert set(train + val + test) <= starts

    # No event of the test is in another window; none of the validation in a training window unless shuffled.
    held = positions(splits.test.positions(), size)
    assert not held & positions(splits.train.positions(), size)
    assert not held & positions(splits.val.positions(), size)
    if config.split != "shuffled":
        held |= positions(splits.val.positions(), size)
        assert not positions(splits.train.positions(), size) & positions(splits.val.positions(), size)
    # What is used for nothing shares an event with a held-out window.
    assert all(held & positions(np.array([start]), size) for start in starts - set(train + val + test))
    # The same again: a function of its arguments.
    assert lists(split_windows(lengths, config, seed)) == (train, val, test)


@given(
    lengths=st.lists(st.integers(8, 40), min_size=3, max_size=6),
    seed=st.integers(0, 1000),
    fractions=st.tuples(st.floats(0.01, 0.9), st.floats(0.01, 0.9)),
)
def test_by_piece_never_divides_a_piece(
    data_config: Data, lengths: list[int], seed: int, fractions: tuple[float, float]
) -> None:
    config = data_config(window_size=4, split="by_piece", val_fraction=fractions[0], test_fraction=fractions[1])
    splits = split_windows(lengths, config, seed)
    bounds = np.cumsum(lengths)
    parts = [
        set(np.searchsorted(bounds, part.positions(), side="right").tolist())
        for part in (splits.train, splits.val, splits.test)
    ]
    assert all(parts)
    assert sum(len(part) for part in parts) == len(lengths)
    assert len(splits.train) + len(splits.val) + len(splits.test) == sum(lengths) - 4 * len(lengths)


# Too little music


@pytest.mark.parametrize("test_block", Block)
@pytest.mark.parametrize("test_fraction", [0.0, 0.2])
def test_by_piece_needs_several_pieces(data_config: Data, test_fraction: float, test_block: Block) -> None:
    # Also where a test block divides the one piece in two.
    config = data_config(window_size=3, split="by_piece", test_fraction=test_fraction, test_block=test_block)
    with pytest.raises(ComposerError) as caught:
        split_windows([60], config, seed=0)
    expected = "data.split=by_piece: needs several pieces; data.split=blocked holds out part of one"
    assert str(caught.value) == expected


def test_by_piece_with_a_test_piece_needs_three(data_config: Data) -> None:
    config = data_config(window_size=3, split="by_piece", test_fraction=0.1)
    with pytest.raises(ComposerError) as caught:
        split_windows([60, 60], config, seed=0)
    assert str(caught.value) == "data.split=by_piece: needs 3 pieces with a test piece, and there are 2"


@pytest.mark.parametrize(
    ("length", "changes", "counts"),
    [
        (4, {"split": "shuffled", "test_fraction": 0.0}, "0 training and 1 validation"),
        (3, {"split": "shuffled", "test_fraction": 0.0}, "0 training and 0 validation"),
        (3, {"split": "blocked", "test_fraction": 0.5}, "0 training and 0 validation"),
        (8, {"split": "blocked", "test_fraction": 0.0, "val_fraction": 0.5}, "0 training and 2 validation"),
        (9, {"split": "shuffled", "test_fraction": 0.5}, "0 training and 0 validation"),
    ],
)
def test_too_little_music_tells_the_counts_and_the_way_out(
    data_config: Data, length: int, changes: dict[str, Any], counts: str
) -> None:
    with pytest.raises(ComposerError) as caught:
        split_windows([length], data_config(**{"window_size": 3, **changes}), seed=0)
    assert str(caught.value) == (
        f"data.window_size=3: leaves {counts} windows; use a smaller window, smaller held-out shares "
        "(data.test_fraction, data.val_fraction) or more music"
    )


# A first target that does not depend on the window


def test_first_target_gives_every_window_size_the_same_targets(data_config: Data) -> None:
    changes = {"split": "shuffled", "val_fraction": 0.3, "test_fraction": 0.2, "first_target": 4}
    # 20 events have the targets 4 .. 19: round(0.2 * 16) = 3 in the middle are the test, 4 on each side the gap.
    expected = ([5, 19, 18], [4, 17], [10, 11, 12])
    for size in (1, 3, 4):
        splits = split_windows([20], data_config(window_size=size, **changes), seed=0)
        assert tuple([start + size for start in part] for part in lists(splits)) == expected
    # Without it the size decides: 3 leaves four more.
    alone = split_windows([20], data_config(**{**changes, "window_size": 3, "first_target": None}), seed=0)
    assert sorted(alone.test.positions() + 3) == [10, 11, 12]
    assert sorted([*(alone.train.positions() + 3), *(alone.val.positions() + 3)]) == [3, 4, 5, 6, 16, 17, 18, 19]


def test_first_target_is_the_gap_around_a_block(data_config: Data) -> None:
    config = data_config(
        window_size=1, first_target=3, split="blocked", val_fraction=0.2, val_block=Block.middle, test_fraction=0.0
    )
    # As with windows of 3 (above), each cut to its last event and its target.
    assert lists(split_windows([20], config, seed=0)) == (
        [start + 2 for start in [0, 1, 2, 3, 13, 14, 15, 16]],
        [start + 2 for start in [7, 8, 9]],
        [],
    )


@given(
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=5),
    changes=configs,
    seed=st.integers(0, 1000),
    longer=st.integers(0, 5),
)
def test_first_target_has_the_targets_of_windows_that_long(
    data_config: Data, lengths: list[int], changes: dict[str, Any], seed: int, longer: int
) -> None:
    size = changes["window_size"]
    whole = data_config(**{**changes, "window_size": size + longer})
    cut = data_config(**changes, first_target=size + longer)

    def targets(config: DataConfig) -> list[list[int]] | None:
        try:
            splits = split_windows(lengths, config, seed)
        except ComposerError:
            return None
        return [(part.positions() + config.window_size).tolist() for part in (splits.train, splits.val, splits.test)]

    assert targets(cut) == targets(whole)
    if not longer:
        assert targets(cut) == targets(data_config(**changes))


def test_too_little_music_for_the_first_target_names_it(data_config: Data) -> None:
    config = data_config(window_size=2, first_target=9, split="shuffled", test_fraction=0.5)
    with pytest.raises(ComposerError, match=r"^data\.first_target=9: leaves 0 training and 0 validation windows; "):
        split_windows([12], config, seed=0)


# What may be trained on


@given(
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=5),
    changes=configs,
    seed=st.integers(0, 1000),
    longer=st.integers(0, 5),
)
def test_supervisable_excludes_held_out_targets_alone(
    data_config: Data, lengths: list[int], changes: dict[str, Any], seed: int, longer: int
) -> None:
    size = changes["window_size"]
    try:
        splits = split_windows(lengths, data_config(**changes, first_target=size + longer), seed)
    except ComposerError:
        return
    allowed = Supervisable(splits, size)[np.arange(sum(lengths))]
    held = {start + size for part in (splits.val, splits.test) for start in part.positions().tolist()}
    assert set(np.flatnonzero(~allowed).tolist()) == held
    # So the last step of every training window is always trained on.
    assert allowed[splits.train.positions() + size].all()


# Leak


def test_leak_by_index_asks_where_the_target_lies() -> None:
    # Training windows cover 0..4; the targets of windows 1, 2 and 3 (size 2) are 3, 4 and 5.
    measured = leak(tokens_of([*range(8)]), splits_at([0, 2], [1, 2, 3]), 2)
    assert (measured.by_index, measured.by_content) == (2 / 3, 1 / 3)


def test_leak_by_content_counts_windows_that_occur_in_training() -> None:
    # The events 0 1 2 return at 5 and, with another last event, at 9.
    tokens = tokens_of([0, 1, 2, 7, 8, 0, 1, 2, 9, 0, 1, 3])
    measured = leak(tokens, splits_at([0], [5, 9]), 2)
    assert (measured.by_index, measured.by_content) == (0.0, 0.5)


def test_leak_of_the_splits_on_one_long_piece(data_config: Data) -> None:
    # 1000 different events: nothing repeats, so that only the same positions can leak.
    tokens = np.stack([np.arange(1000) // 100, np.arange(1000) % 100, np.arange(1000) * 0], axis=1).astype(np.uint8)
    config = data_config(window_size=30, test_fraction=0.0, split="shuffled")
    shuffled = leak(tokens, split_windows([1000], config, 0), 30)
    config = data_config(window_size=30, test_fraction=0.0, split="blocked")
    blocked = leak(tokens, split_windows([1000], config, 0), 30)
    assert shuffled.by_index == pytest.approx(1.0, abs=0.03)
    assert (shuffled.by_content, blocked.by_index, blocked.by_content) == (0.0, 0.0, 0.0)


@given(
    codes=st.lists(st.integers(0, 2) | st.integers(0, 7), min_size=8, max_size=40),
    size=st.integers(1, 5),
    data=st.data(),
)
def test_leak_equals_a_slow_search(codes: list[int], size: int, data: st.DataObject) -> None:
    windows = st.integers(0, len(codes) - size - 1)
    train = data.draw(st.lists(windows, min_size=1, max_size=10, unique=True))
    val = data.draw(st.lists(windows, min_size=1, max_size=10, unique=True))

    def content(start: int) -> tuple[int, ...]:
        return tuple(codes[start : start + size + 1])

    seen = {start + k for start in train for k in range(size + 1)}

    def shape(start: int) -> tuple[Any, ...]:
        events = tokens_of(codes)[start : start + size + 1].tolist()
        return tuple((note - events[0][0], velocity, time) for note, velocity, time in events)

    heard = {content(start) for start in train}
    shapes = {shape(start) for start in train}
    measured = leak(tokens_of(codes), splits_at(train, val), size)
    assert measured.by_transposition == pytest.approx(sum(shape(start) in shapes for start in val) / len(val))
    assert measured.by_index == pytest.approx(sum(start + size in seen for start in val) / len(val))
    assert measured.by_content == pytest.approx(sum(content(start) in heard for start in val) / len(val))


@given(
    events=st.lists(st.tuples(*[st.integers(0, 1)] * 3), min_size=5, max_size=60)
    | st.lists(st.tuples(*[st.integers(0, 255)] * 3), min_size=5, max_size=60),
    length=st.integers(1, 5),
)
def test_digests_are_equal_exactly_where_the_runs_are(events: list[tuple[int, int, int]], length: int) -> None:
    digests = window_digests(np.array(events, np.uint8), length).tolist()
    runs = [tuple(events[k : k + length]) for k in range(len(events) - length + 1)]
    assert len(digests) == len(runs)
    # Both number the runs alike.
    assert [digests.index(digest) for digest in digests] == [runs.index(run) for run in runs]


def test_leak_by_transposition_hears_a_window_at_another_pitch() -> None:
    # Notes 5 7 4 return a fifth higher at 3, with another velocity at 6, and with another interval at 9.
    notes, velocities = [5, 7, 4, 12, 14, 11, 12, 14, 11, 12, 14, 12], [1] * 8 + [2] + [1] * 3
    tokens = np.array([notes, velocities, [1] * 12], np.uint8).T
    measured = leak(np.ascontiguousarray(tokens), splits_at([0], [3, 6, 9]), 2)
    assert (measured.by_index, measured.by_content, measured.by_transposition) == (0.0, 0.0, 1 / 3)


def test_transposed_digests_tell_the_widest_intervals_apart() -> None:
    tokens = np.array([[0, 1, 1], [127, 1, 1], [0, 1, 1], [127, 1, 2], [0, 2, 1]], np.uint8)
    assert len(set(transposed_digests(tokens, 2).tolist())) == 4
    # Of single events the pitch does not count at all.
    one = transposed_digests(tokens, 1).tolist()
    assert one[0] == one[1] == one[2]
    assert len(set(one)) == 3


def test_digests_tell_channels_and_order_apart() -> None:
    events = [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0], [0, 0, 0], [0, 1, 0], [128, 0, 0], [0, 255, 0], [255, 0, 0]]
    assert len(set(window_digests(np.array(events, np.uint8), 1).tolist())) == 7
    swapped = np.array([[1, 2, 3], [4, 5, 6], [1, 2, 3]], np.uint8)
    assert len(set(window_digests(swapped, 2).tolist())) == 2
