"""Orders by arithmetic, and positions that are not listed."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from composer.data.permutation import Permutation
from composer.data.window_sets import ListedWindows, RandomSubset, Ranges, sample

GOLDEN = [0, 4, 5, 7, 2, 1, 3, 8, 6, 9]
GOLDEN_BIG = [256954969, 112386754, 283457875, 16884799]


def runs_of(gaps: list[tuple[int, int]]) -> list[range]:
    runs, place = [], 0
    for gap, length in gaps:
        runs.append(range(place + gap, place + gap + length))
        place += gap + length
    return runs


@given(count=st.integers(1, 3000), key=st.lists(st.integers(0, 2**32), min_size=1, max_size=3))
def test_every_number_goes_to_another_place_and_back(count: int, key: list[int]) -> None:
    order = Permutation(count, key)
    numbers = np.arange(count)
    found = order(numbers)
    assert sorted(found.tolist()) == numbers.tolist()
    assert order.inverse(found).tolist() == numbers.tolist()
    assert Permutation(count, key)(numbers[::-1]).tolist() == found[::-1].tolist()


@given(count=st.integers(1, 2**50), data=st.data())
def test_orders_of_any_size_lead_back(count: int, data: st.DataObject) -> None:
    numbers = np.array(data.draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=20)))
    order = Permutation(count, [1, 2])
    found = order(numbers)
    assert ((found >= 0) & (found < count)).all()
    assert order.inverse(found).tolist() == numbers.tolist()


def test_the_order_is_fixed_and_differs_by_key() -> None:
    # Golden: another order would end the resuming of old runs on large corpora.
    assert Permutation(10, [0, 0])(np.arange(10)).tolist() == GOLDEN
    assert Permutation(10, [0, 1])(np.arange(10)).tolist() != GOLDEN
    big = Permutation(300_000_000, [0])(np.arange(4))
    assert big.tolist() == GOLDEN_BIG


def test_an_order_looks_random() -> None:
    count = 200_000
    order = Permutation(count, [3])(np.arange(count))
    # Neighbours do not stay together, places are unrelated, and each tenth has its share of every tenth.
    assert abs(np.corrcoef(order[:-1], order[1:])[0, 1]) < 0.01
    assert abs(np.corrcoef(order, np.arange(count))[0, 1]) < 0.01
    table = np.histogram2d(np.arange(count), order, bins=10)[0]
    chi_square = ((table - count / 100) ** 2 / (count / 100)).sum()
    assert chi_square < 81 + 4 * (2 * 81) ** 0.5


@given(gaps=st.lists(st.tuples(st.integers(1, 5), st.integers(0, 8)), max_size=8), data=st.data())
def test_runs_are_used_as_their_list_would_be(gaps: list[tuple[int, int]], data: st.DataObject) -> None:
    runs = runs_of(gaps)
    listed = [position for run in runs for position in run]
    ranges = Ranges(runs)
    assert len(ranges) == len(listed)
    assert ranges[np.arange(len(listed))].tolist() == listed
    asked = np.arange(-2, 120)
    assert ranges.contains(asked).tolist() == [position in listed for position in asked.tolist()]
    assert [position for run in ranges.covered_runs(0, 0) for position in run] == listed
    if not listed:
        return
    assert ranges.lowest() == listed[0]
    begin = data.draw(st.integers(0, len(listed)))
    order = Permutation(len(listed), [5])
    first, second = RandomSubset(ranges, order, 0, begin), RandomSubset(ranges, order, begin, len(listed))
    parts = [part[np.arange(len(part))].tolist() for part in (first, second)]
    assert sorted(parts[0] + parts[1]) == listed
    same = [ListedWindows(np.array(own, np.int64)) for own in parts]
    for part, own in zip((first, second, *same), parts * 2, strict=True):
        assert part.contains(asked).tolist() == [position in own for position in asked.tolist()]
        assert part.contains(asked.reshape(2, -1)).shape == (2, 61)
        covered = {position + k for position in own for k in range(4)}
        assert part.touches(asked, 3).tolist() == [position in covered for position in asked.tolist()]
        assert part.positions().tolist() == own
        if own:
            assert part.lowest() == min(own)
    for part, own in zip(same, parts, strict=True):
        around = {position + k for position in own for k in range(-2, 4)}
        runs = part.covered_runs(2, 3)
        assert [position for run in runs for position in run] == sorted(around)


def test_a_sample_is_fixed_rising_and_without_repeats() -> None:
    ranges = Ranges([range(5, 50), range(100, 200)])
    few = sample(ranges, 20, [0])
    found = few.positions().tolist()
    assert len(set(found)) == 20
    assert found == sorted(found) == sample(ListedWindows(ranges.positions()), 20, [0]).positions().tolist()
    assert ranges.contains(few.positions()).all()
    assert sample(ranges, 145, [0]) is ranges
    assert sample(ranges, None, [0]) is ranges
