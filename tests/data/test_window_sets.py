"""Window sets: listed ones, ranges and random subsets against lists of positions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from composer.data.permutation import Permutation
from composer.data.window_sets import ListedWindows, RandomSubset, Ranges, sample, window_set


def runs_of(gaps: list[tuple[int, int]]) -> list[range]:
    runs, place = [], 0
    for gap, length in gaps:
        runs.append(range(place + gap, place + gap + length))
        place += gap + length
    return runs


@given(gaps=st.lists(st.tuples(st.integers(1, 5), st.integers(0, 8)), max_size=8), data=st.data())
def test_window_sets_are_their_lists_of_positions(gaps: list[tuple[int, int]], data: st.DataObject) -> None:
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


def test_window_set_is_listed_or_computed() -> None:
    runs = [range(3, 6), range(9, 9), range(12, 14)]
    for computed in (False, True):
        windows = window_set(runs, computed=computed)
        assert windows.computed is computed
        assert windows.positions().tolist() == [3, 4, 5, 12, 13]


@pytest.mark.parametrize("computed", [False, True])
def test_empty_window_set_has_no_lowest_position(computed: bool) -> None:
    empty = window_set([], computed=computed)
    assert not empty.contains(np.arange(-3, 3)).any()
    assert not empty.touches(np.arange(-3, 3), 2).any()
    with pytest.raises(ValueError, match="no window"):
        empty.lowest()
