"""The baselines by hand on a few events, against slow searches, and on the article's piece against known figures."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from composer.config.compose import compose
from composer.config.data import Block, DataConfig
from composer.data.prepare import load_data
from composer.data.splits import split_windows
from composer.data.tokens import ArrayTokens
from composer.data.window_sets import ListedWindows
from composer.evaluation import baselines
from composer.evaluation.baselines import (
    Contexts,
    Examples,
    accuracies,
    best,
    count,
    markov,
    measure,
    nearest,
    repeat_last,
    skill,
)
from tests.references import splits_at, windows_at

Events = list[tuple[int, int, int]]


def joint(note: int, velocity: int, time: int) -> list[int]:
    """A row of predictions for one event."""
    return [note, velocity, time, note * 65536 + velocity * 256 + time]


def examples(events: Events, starts: list[int], window_size: int) -> Contexts:
    return contexts(np.array(events, np.uint8), starts, window_size)


def contexts(tokens: NDArray[np.uint8], starts: object, window_size: int) -> Contexts:
    return Contexts(windows_at(tokens, starts, window_size)[np.arange(len(np.asarray(starts)))].numpy())


def notes(codes: str, starts: list[int], window_size: int) -> Contexts:
    """Events that differ in their note alone, a letter each."""
    return examples([(ord(letter), 0, 0) for letter in codes], starts, window_size)


def said(predicted: NDArray[np.int32]) -> str:
    return "".join(chr(note) for note in predicted[:, 0])


# By hand


def test_majority_joint_event_is_one_that_occurs() -> None:
    # Targets after the first event: notes 1 1 2 2 3 -> 1 (a tie), velocities 5 6 7 7 7 -> 7, times all 0;
    # the event 2 7 0 comes twice, the three classes 1 7 0 never stand together.
    train = examples([(9, 9, 9), (1, 5, 0), (1, 6, 0), (2, 7, 0), (2, 7, 0), (3, 7, 0)], [0, 1, 2, 3, 4], 1)
    predicted = markov(count(train, 0), train)[0]
    expected = [1, 7, 0, joint(2, 7, 0)[3]]
    assert predicted.tolist() == [expected] * 5
    figures = accuracies(predicted, train, "val")
    assert figures == {
        "accuracy/val": pytest.approx((2 / 5 + 3 / 5 + 1) / 3),
        "accuracy_joint/val": 2 / 5,
        "accuracy_note/val": 2 / 5,
        "accuracy_velocity/val": 3 / 5,
        "accuracy_time/val": 1.0,
        "windows_val": 5,
    }


def test_repeat_last_is_the_event_before_the_target() -> None:
    scored = examples([(1, 2, 3), (4, 5, 6), (7, 8, 9), (4, 5, 6)], [0, 1], 2)
    assert repeat_last(scored).tolist() == [joint(4, 5, 6), joint(7, 8, 9)]


def test_markov_backs_off_to_the_longest_known_context() -> None:
    # Targets: b c b d b c. After a: nothing but b; after b: c twice, d once; after ab: c, d; after cb: d.
    train = notes("abcbdbc", [0, 1, 2, 3, 4, 5], 1)
    assert said(markov(count(train), train)[1]) == "bcbcbc"
    train = notes("xabcbdbc", [0, 1, 2, 3, 4, 5], 2)
    # The last two letters: cb (then d), xb (never, so b, then c), zc (never, so c, then b), zz (never: majority b).
    scored = notes("cb.xb.zc.zz.", [0, 3, 6, 9], 2)
    tables = count(train)
    assert len(tables) == 3
    assert [said(predicted) for predicted in markov(tables, scored)] == ["bbbb", "ccbb", "dcbb"]


def test_markov_counts_each_channel_after_the_joint_context() -> None:
    # After the event 0 0 0: notes 1 1 2, velocities 3 4 4, joint events all different, of which 1 3 0 is the lowest.
    events = [(0, 0, 0), (1, 4, 0), (0, 0, 0), (1, 3, 0), (0, 0, 0), (2, 4, 0)]
    train = examples(events, [0, 2, 4], 1)
    assert markov(count(train), train)[1].tolist() == [[1, 4, 0, joint(1, 3, 0)[3]]] * 3


def test_markov_order_is_the_lowest_best_on_validation() -> None:
    # After a comes b, but after ba comes c: order 2 knows that, and order 3 has never heard zba.
    tokens = np.array([(ord(letter), 0, 0) for letter in "xxabxxabxbaczbac"], np.uint8)
    results = measure(ArrayTokens(tokens), splits_at([0, 4, 8], [12]), 3, seed=0)
    assert results["markov"]["order"] == 2
    assert (results["markov"]["accuracy_note/val"], results["majority"]["accuracy_note/val"]) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("known", "asked", "copied"),
    [
        # Three letters and what follows them; letters count where they stand.
        ("abcx abdy", "abd", "y"),
        ("abcx bcay", "abz", "x"),
        # Two agreeing places each: the one with the last letter right wins, then the one before.
        ("abzx zbcy", "abc", "y"),
        ("azcx zbcy", "abc", "y"),
        # The same places right: the earliest.
        ("abqx abry", "abc", "x"),
    ],
)
def test_nearest_copies_what_followed_the_most_similar_context(known: str, asked: str, copied: str) -> None:
    text = known.replace(" ", "")
    assert said(nearest(notes(text, [0, 4], 3), notes(asked + ".", [0], 3))) == copied


def test_nearest_counts_entries_before_it_looks_at_recent_ones() -> None:
    # The first agrees in five of six entries, the second in four, though in the whole last event.
    first = [(1, 1, 1), (2, 2, 9), (50, 0, 0)]
    second = [(1, 9, 9), (2, 2, 2), (60, 0, 0)]
    train = examples(first + second, [0, 3], 2)
    scored = examples([(1, 1, 1), (2, 2, 2), (0, 0, 0)], [0], 2)
    assert nearest(train, scored).tolist() == [joint(50, 0, 0)]


@pytest.mark.parametrize(
    ("accuracy", "baseline", "expected"), [(0.9, 0.8, 0.5), (0.8, 0.8, 0.0), (1.0, 0.3, 1.0), (0.7, 0.8, -0.5)]
)
def test_skill_is_the_share_of_the_way_to_perfect(accuracy: float, baseline: float, expected: float) -> None:
    assert skill(accuracy, baseline) == pytest.approx(expected)


def test_nothing_has_skill_beside_a_perfect_baseline() -> None:
    assert skill(1.0, 1.0) is None
    assert skill(0.5, 1.0) is None


def test_best_is_of_the_split_that_is_asked_for() -> None:
    measured = {"majority": {"accuracy/val": 0.4, "accuracy/test": 0.3}, "nearest": {"accuracy/val": 0.2}}
    assert (best(measured, "val"), best(measured, "test"), best(measured, "train")) == (0.4, 0.3, None)


# Against slow and obvious searches

pieces = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1), st.integers(0, 1)), min_size=12, max_size=60)


@given(events=pieces, window_size=st.integers(1, 5), data=st.data())
def test_nearest_equals_a_slow_search(events: Events, window_size: int, data: st.DataObject) -> None:
    windows = st.integers(0, len(events) - window_size - 1)
    train = data.draw(st.lists(windows, min_size=1, max_size=15, unique=True))
    asked = data.draw(st.lists(windows, min_size=1, max_size=8, unique=True))

    def likeness(one: int, two: int) -> tuple[int, ...]:
        """Agreeing entries in all, then those of each event, the last first."""
        agreeing = [
            sum(a == b for a, b in zip(events[one + k], events[two + k], strict=True)) for k in range(window_size)
        ]
        return (sum(agreeing), *reversed(agreeing))

    expected = []
    for start in asked:
        chosen = max(sorted(train), key=lambda known: likeness(known, start))  # noqa: B023
        expected.append(joint(*events[chosen + window_size]))
    predicted = nearest(examples(events, sorted(train), window_size), examples(events, asked, window_size))
    assert predicted.tolist() == expected


@given(events=pieces, window_size=st.integers(1, 4), data=st.data())
def test_markov_equals_counting_in_dictionaries(events: Events, window_size: int, data: st.DataObject) -> None:
    windows = st.integers(0, len(events) - window_size - 1)
    train = data.draw(st.lists(windows, min_size=1, max_size=30, unique=True))
    asked = data.draw(st.lists(windows, min_size=1, max_size=10, unique=True))

    def commonest(position: int, order: int) -> list[int]:
        context = events[position - order : position]
        found = [start + window_size for start in train if events[start + window_size - order :][:order] == context]
        if not found:
            return commonest(position, order - 1)  # order 0 finds every window
        rows = [joint(*events[target]) for target in found]
        return [
            min(Counter(column).items(), key=lambda item: (-item[1], item[0]))[0] for column in zip(*rows, strict=True)
        ]

    predicted = markov(count(examples(events, train, window_size)), examples(events, asked, window_size))
    assert len(predicted) == window_size + 1
    for order, rows in enumerate(predicted):
        assert rows.tolist() == [commonest(start + window_size, order) for start in asked]


@given(events=pieces, window_size=st.integers(1, 10))
def test_markov_on_training_is_never_worse_with_longer_contexts(events: Events, window_size: int) -> None:
    train = examples(events, [*range(len(events) - window_size)], window_size)
    measured = [accuracies(predicted, train, "train") for predicted in markov(count(train), train)]
    for shorter, longer in zip(measured, measured[1:], strict=False):
        assert all(longer[key] >= shorter[key] - 1e-12 for key in shorter)


def test_long_windows_are_compared_entry_by_entry_too() -> None:
    # 3 x 100 entries: a count of them does not fit a byte.
    tokens = np.zeros((303, 3), np.uint8)
    tokens[0:44, 0] = 9  # window 0 agrees in 256 entries, which a byte would call 0
    tokens[101:150] = 9  # window 101 agrees in 153
    tokens[100], tokens[201] = 1, 2
    train, scored = (contexts(tokens, starts, 100) for starts in ([0, 101], [202]))
    assert nearest(train, scored).tolist() == [joint(1, 1, 1)]


# Samples and repetition


def random_piece(length: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 4, (length, 3)).astype(np.uint8)


def test_figures_do_not_depend_on_the_order_of_the_windows(
    data_config: Callable[..., DataConfig],
) -> None:
    tokens = ArrayTokens(random_piece(300))
    splits = split_windows([300], data_config(), seed=0)
    turned = splits_at(splits.train.positions()[::-1], splits.val.positions()[::-1], splits.test.positions())
    assert measure(tokens, splits, 30, 0) == measure(tokens, splits, 30, 0) == measure(tokens, turned, 30, 0)


def test_a_sample_stands_for_many_windows_and_the_result_says_so(
    data_config: Callable[..., DataConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(baselines, "MAX_COUNTED", 100)
    monkeypatch.setattr(baselines, "MAX_SEARCHED", 10)
    monkeypatch.setattr(baselines, "MAX_ENTRIES", 10 * 3 * 5 * 50)
    tokens = ArrayTokens(random_piece(2000))
    splits = split_windows([2000], data_config(window_size=5), seed=0)
    measured = measure(tokens, splits, 5, seed=0)
    used = {name: [figures.get(f"windows_{s}") for s in ("train", "val", "test")] for name, figures in measured.items()}
    assert used == {
        "majority": [100, 100, 100],
        "repeat_last": [None, 100, 100],
        "markov": [100, 100, 100],
        "nearest": [50, 10, 10],
    }
    assert measure(tokens, splits, 5, seed=0) == measured
    assert measure(tokens, splits, 5, seed=1) != measured


def test_split_without_windows_has_no_figures(
    data_config: Callable[..., DataConfig],
) -> None:
    tokens = ArrayTokens(random_piece(200))
    splits = split_windows([200], data_config(test_fraction=0.0), seed=0)
    measured = measure(tokens, splits, 30, 0)
    assert not [key for figures in measured.values() for key in figures if "test" in key]
    other = Examples(ArrayTokens(random_piece(50)), ListedWindows(np.arange(20)), 30)
    scored = measure(tokens, splits, 30, 0, other)
    assert scored["nearest"]["windows_data"] == 20
    assert scored["markov"]["order"] == measured["markov"]["order"]
    assert not [key for figures in scored.values() for key in figures if "val" in key]


# The article's piece: accuracies at the orders 1, 3 and 8, known from a table of counts in plain dictionaries

KNOWN = {"shuffled": [0.772, 0.857, 0.907], "end": [0.781, 0.928, 0.975], "middle": [0.654, 0.709, 0.709]}


@pytest.fixture(scope="module")
def krebs(shared_data: Path) -> NDArray[np.uint8]:
    path = f"data.path={shared_data / 'krebs.mid'}"
    config = compose("experiment=article", "data=midi", path)
    return load_data(config.data, config.encoding, config.seed).tokens[:]


def orders(tokens: NDArray[np.uint8], train: NDArray[np.int64], val: NDArray[np.int64]) -> list[float]:
    scored = contexts(tokens, val, 30)
    predicted = markov(count(contexts(tokens, train, 30)), scored)
    return [accuracies(predicted[order], scored, "val")["accuracy/val"] for order in (1, 3, 8)]


@pytest.mark.parametrize(("block", "begin"), [("end", 717), ("middle", 398)])
def test_known_figures_of_held_out_tenths(krebs: NDArray[np.uint8], block: str, begin: int) -> None:
    # The known figures hold out 79 windows, from the centre on for the middle. They differ from ours by the ties
    # alone, which went to the class seen first.
    starts = np.arange(796)
    train = starts[(starts < begin - 30) | (starts >= begin + 79 + 30)]
    assert orders(krebs, train, starts[begin : begin + 79]) == pytest.approx(KNOWN[block], abs=0.01)


def test_known_figures_of_shuffled_windows(krebs: NDArray[np.uint8]) -> None:
    # 80 windows: from one shuffle to the next the figures scatter by 0.025, so that the mean of many is compared.
    shuffles = [np.random.default_rng(seed).permutation(796) for seed in range(20)]
    mean = np.mean([orders(krebs, shuffle[:716], shuffle[716:]) for shuffle in shuffles], axis=0)
    assert mean.tolist() == pytest.approx(KNOWN["shuffled"], abs=0.04)


@pytest.mark.parametrize(
    ("block", "expected"), [(Block.end, [0.787, 0.921, 0.971]), (Block.middle, [0.767, 0.817, 0.817])]
)
def test_our_own_blocks_of_a_tenth(
    krebs: NDArray[np.uint8], data_config: Callable[..., DataConfig], block: Block, expected: list[float]
) -> None:
    # The middle block is centred here, 40 windows before the known one, on a passage that is easier.
    config = data_config(split=compose("data.split=blocked").data.split, val_block=block, test_fraction=0.0)
    splits = split_windows([len(krebs)], config, seed=0)
    assert orders(krebs, splits.train.positions(), splits.val.positions()) == pytest.approx(expected, abs=0.001)
