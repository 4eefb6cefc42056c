"""Windows gathered from one array, and the order of the batches."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from composer.data.windows import BatchOrder, Supervised, epoch_order, loader
from tests.references import windows_at


def tokens_of(events: int) -> NDArray[np.uint8]:
    """(N, 3) classes, no two events alike."""
    return np.stack([np.arange(events) % 89, np.arange(events) % 128, np.arange(events) % 11], axis=1).astype(np.uint8)


def batches(order: BatchOrder) -> list[list[int]]:
    return [batch.tolist() for batch in order]


# Windows


@given(data=st.data(), events=st.integers(2, 60))
def test_a_batch_is_the_slices_at_its_starts(data: st.DataObject, events: int) -> None:
    size = data.draw(st.integers(1, events - 1))
    starts = data.draw(st.lists(st.integers(0, events - size - 1), min_size=1, max_size=20))
    numbers = data.draw(st.lists(st.integers(0, len(starts) - 1), max_size=10))
    tokens = tokens_of(events)
    windows = windows_at(tokens, starts, size)
    assert len(windows) == len(starts)
    batch = windows[np.array(numbers, np.int64)]
    assert batch.dtype == torch.uint8
    assert batch.shape == (len(numbers), size + 1, 3)
    expected = [tokens[starts[number] : starts[number] + size + 1].tolist() for number in numbers]
    assert batch.tolist() == expected


def test_windows_share_the_array_and_take_3_bytes_an_event() -> None:
    tokens = tokens_of(10_000)
    windows = windows_at(tokens, np.arange(10_000 - 30), 30)
    assert np.shares_memory(windows.tokens[:], tokens)
    assert tokens.nbytes == 30_000


def test_a_batch_is_a_copy() -> None:
    tokens = tokens_of(20)
    windows_at(tokens, np.arange(10), 5)[np.array([0, 1])].fill_(0)
    assert tokens.tolist() == tokens_of(20).tolist()


def test_supervised_batch_masks_each_step_by_the_event_after_it() -> None:
    tokens = tokens_of(9)
    supervisable = np.array([0, 1, 1, 0, 1, 1, 1, 0, 1], np.bool_)
    windows = windows_at(tokens, [0, 2, 5], 3, supervisable)
    batch = windows[np.array([1, 0, 2])]
    assert isinstance(batch, Supervised)
    assert batch.windows.tolist() == [tokens[start : start + 4].tolist() for start in (2, 0, 5)]
    assert batch.mask.tolist() == [[False, True, True], [True, True, False], [True, False, True]]
    assert isinstance(windows_at(tokens, [0], 3)[np.array([0])], torch.Tensor)


# Order


def test_epoch_order_is_a_function_of_seed_and_epoch() -> None:
    assert epoch_order(8, seed=7, epoch=0).tolist() == [6, 2, 0, 5, 3, 7, 1, 4]
    np.random.default_rng().random(1000)
    assert epoch_order(8, seed=7, epoch=1).tolist() == [6, 3, 0, 5, 7, 4, 2, 1]
    assert epoch_order(8, seed=7, epoch=0).tolist() == [6, 2, 0, 5, 3, 7, 1, 4]
    assert epoch_order(8, seed=8, epoch=0).tolist() != [6, 2, 0, 5, 3, 7, 1, 4]


def test_batches_follow_the_order_of_the_epoch() -> None:
    order = BatchOrder(8, 3, seed=7, shuffle=True)
    assert len(order) == 3
    assert batches(order) == [[6, 2, 0], [5, 3, 7], [1, 4]]
    assert batches(order) == [[6, 2, 0], [5, 3, 7], [1, 4]]
    order.set_epoch(1)
    assert batches(order) == [[6, 3, 0], [5, 7, 4], [2, 1]]
    plain = BatchOrder(8, 3, seed=7, shuffle=False)
    plain.set_epoch(1)
    assert batches(plain) == [[0, 1, 2], [3, 4, 5], [6, 7]]


@given(
    count=st.integers(1, 50),
    size=st.integers(1, 20),
    place=st.tuples(st.integers(0, 3), st.integers(0, 60)),
    shuffle=st.booleans(),
)
def test_start_at_skips_exactly_the_batches_before(
    count: int, size: int, place: tuple[int, int], shuffle: bool
) -> None:
    epoch, batch = place
    whole = BatchOrder(count, size, seed=3, shuffle=shuffle)
    whole.set_epoch(epoch)
    resumed = BatchOrder(count, size, seed=3, shuffle=shuffle)
    resumed.start_at(epoch, batch)
    assert batches(resumed) == batches(whole)[batch:]
    # Lightning names the epoch that it is in once more: still in the middle.
    resumed.set_epoch(epoch)
    assert batches(resumed) == batches(whole)[batch:]


def test_the_epoch_after_a_resumed_one_is_whole() -> None:
    order = BatchOrder(8, 3, seed=7, shuffle=True)
    order.start_at(0, 2)
    assert batches(order) == [[1, 4]]
    order.set_epoch(1)
    assert batches(order) == [[6, 3, 0], [5, 7, 4], [2, 1]]
    order.set_epoch(0)
    assert batches(order) == [[6, 2, 0], [5, 3, 7], [1, 4]]


@given(count=st.integers(1, 60), size=st.integers(1, 20), shuffle=st.booleans())
def test_an_epoch_has_every_window_once(count: int, size: int, shuffle: bool) -> None:
    found = batches(BatchOrder(count, size, seed=0, shuffle=shuffle))
    assert sorted(number for batch in found for number in batch) == list(range(count))
    assert len(found) == -(-count // size)
    assert [len(batch) for batch in found[:-1]] == [size] * (len(found) - 1)


@given(count=st.integers(1, 60), size=st.integers(1, 20), world=st.integers(1, 5))
def test_ranks_share_every_batch(count: int, size: int, world: int) -> None:
    whole = batches(BatchOrder(count, size, seed=0, shuffle=True))
    shares = [batches(BatchOrder(count, size, seed=0, shuffle=True, rank=rank, world=world)) for rank in range(world)]
    for number, batch in enumerate(whole):
        parts = [share[number] for share in shares]
        counted = [
            BatchOrder(count, size, seed=0, shuffle=True, rank=rank, world=world).counted(number)
            for rank in range(world)
        ]
        assert all(whole == len(batch) for _, whole in counted)
        # A process without a share gets a window all the same, which does not count.
        assert all(len(part) == max(1, mine) for part, (mine, _) in zip(parts, counted, strict=True))
        shared = [window for part, (mine, _) in zip(parts, counted, strict=True) for window in part[:mine]]
        assert sorted(shared) == sorted(batch)
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_two_ranks_take_turns_in_a_batch() -> None:
    shares = [batches(BatchOrder(8, 4, seed=7, shuffle=True, rank=rank, world=2)) for rank in (0, 1)]
    assert shares == [[[6, 0], [3, 1]], [[2, 5], [7, 4]]]


# Loader


# Newer Pythons warn of every fork beside threads; the workers only gather.
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_two_workers_give_the_same_batches_as_none() -> None:
    windows = windows_at(tokens_of(100), np.arange(10, 60), 7)

    def epochs(num_workers: int) -> list[list[torch.Tensor]]:
        order = BatchOrder(len(windows), 8, seed=1, shuffle=True)
        order.start_at(0, 2)
        found = loader(windows, order, num_workers)
        first = list(found)
        order.set_epoch(1)
        return [first, list(found)]

    alone, helped = epochs(0), epochs(2)
    assert [len(epoch) for epoch in alone] == [7 - 2, 7]
    for one, two in zip(alone, helped, strict=True):
        assert len(one) == len(two)
        assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


# Newer Pythons warn of every fork beside threads; the workers only gather.
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("num_workers", [0, 1])
def test_loader_keeps_masks_beside_their_windows(num_workers: int) -> None:
    supervisable = np.arange(20) % 3 > 0
    windows = windows_at(tokens_of(20), np.arange(5, 15), 2, supervisable)
    found = list(loader(windows, BatchOrder(10, 4, seed=0, shuffle=False), num_workers))
    assert [type(batch) for batch in found] == [Supervised] * 3
    assert torch.cat([batch.mask for batch in found]).tolist() == [
        supervisable[start + 1 : start + 3].tolist() for start in range(5, 15)
    ]


def test_loader_gathers_whole_batches_in_order() -> None:
    tokens = tokens_of(20)
    found = list(loader(windows_at(tokens, np.arange(5, 15), 2), BatchOrder(10, 4, seed=0, shuffle=False), 0))
    assert [batch.shape for batch in found] == [(4, 3, 3), (4, 3, 3), (2, 3, 3)]
    assert torch.cat(found).tolist() == [tokens[start : start + 3].tolist() for start in range(5, 15)]
