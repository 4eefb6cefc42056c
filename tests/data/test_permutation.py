"""Permutations that are computed."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from composer.data.permutation import Permutation

GOLDEN = [0, 4, 5, 7, 2, 1, 3, 8, 6, 9]
GOLDEN_BIG = [256954969, 112386754, 283457875, 16884799]


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
