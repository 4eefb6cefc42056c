"""Variations of training windows: what they are, that they repeat, and that nothing else is varied."""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from composer.config.compose import compose
from composer.config.data import DataConfig, EncodingConfig, TimeUnit, TransformConfig
from composer.config.training import Supervision
from composer.data import augmentation as augment
from composer.data.augmentation import Played, Transforms, factor, scaled, transposed, uniform
from composer.data.datamodule import MusicDataModule
from composer.data.prepare import PreparedData, load_data
from composer.data.vocabulary import Vocabulary
from composer.data.windows import Supervised
from composer.errors import ComposerError
from composer.music.events import Events

Data = Callable[..., DataConfig]
Encoding = Callable[..., EncodingConfig]

VOCABULARY = Vocabulary(24, 112, TimeUnit.seconds, (0.1, 0.2, 0.4), (0.0, 0.15, 0.3, 0.5))
ALL = TransformConfig(name="all", transpose=6, stretch=1.5, velocity=1.3)


def some_windows(count: int, length: int = 6, vocabulary: Vocabulary = VOCABULARY) -> tuple[NDArray[np.uint8], Played]:
    """Windows of classes with what they were made from."""
    rng = np.random.default_rng(0)
    times = rng.random((count, length)) * (rng.random((count, length)) < 0.7)
    velocities = rng.integers(0, 128, (count, length)) * (rng.random((count, length)) < 0.6)
    notes = np.clip(rng.integers(0, 89, (count, 1)) + rng.integers(-4, 5, (count, length)), 0, 88)
    velocities = velocities.astype(np.uint8)
    classes = [notes, vocabulary.velocity_classes(velocities), vocabulary.time_classes(times)]
    return np.stack(classes, axis=2).astype(np.uint8), Played(velocities, times)


# One window


@given(notes=st.lists(st.integers(0, 20), min_size=1, max_size=8), share=st.floats(0, 1, exclude_max=True))
def test_a_window_moves_as_a_whole_and_stays_in_range(notes: list[int], share: float) -> None:
    found = transposed(np.array([notes], np.uint8), np.array([share]), 6, 21)[0].astype(int)
    moves = {int(new) - old for new, old in zip(found, notes, strict=True)}
    possible = [move for move in range(-6, 7) if min(notes) + move >= 0 and max(notes) + move <= 20]
    assert len(moves) == 1
    assert moves == {possible[int(share * len(possible))]}


def test_every_possible_move_comes_as_often() -> None:
    shares = np.arange(1100) / 1100
    notes = np.full((1100, 3), 4, np.uint8)
    values, counts = np.unique(transposed(notes, shares, 6, 89)[:, 0], return_counts=True)
    assert values.tolist() == list(range(11))
    assert counts.tolist() == [100] * 11


@given(velocity=st.integers(0, 127), by=st.floats(0.25, 4))
def test_a_release_stays_one_and_a_strike_a_strike(velocity: int, by: float) -> None:
    found = int(scaled(np.array([[velocity]], np.uint8), np.array([by]))[0, 0])
    assert found == (0 if velocity == 0 else min(127, max(1, round(velocity * by))))


def test_factors_go_as_far_down_as_up() -> None:
    assert factor(np.array([0.0, 0.5, 1.0]), 1.25).tolist() == pytest.approx([0.8, 1.0, 1.25])


@pytest.mark.parametrize("vocabulary", [VOCABULARY, dataclasses.replace(VOCABULARY, velocity_values=(0, 20, 60, 100))])
def test_a_variation_is_what_the_varied_events_are_encoded_as(vocabulary: Vocabulary) -> None:
    windows, played = some_windows(50, vocabulary=vocabulary)
    turns, targets = np.full(50, 3), np.arange(100, 150)
    augmentation = Transforms(ALL, vocabulary, seed=5)
    varied = augmentation.vary(windows, played, turns, targets)
    shares = [uniform(key, turns, targets) for key in augmentation.keys]
    for k in range(50):
        low, high = int(windows[k, :, 0].min()), int(windows[k, :, 0].max())
        possible = [move for move in range(-6, 7) if low + move >= 0 and high + move <= 88]
        move = possible[int(shares[0][k] * len(possible))]
        stretch, louder = (most ** (2 * share[k] - 1) for most, share in ((1.5, shares[1]), (1.3, shares[2])))
        velocity = [0 if v == 0 else min(127, max(1, round(int(v) * louder))) for v in played.velocity[k]]
        pitch = (windows[k, :, 0].astype(int) + 24 + move).astype(np.uint8)
        events = Events(pitch, np.array(velocity, np.uint8), played.delta_time[k] * stretch, TimeUnit.seconds)
        assert varied[k].tolist() == vocabulary.encode(events).tolist()
    assert varied.dtype == np.uint8
    assert not np.shares_memory(varied, windows)


def test_what_is_left_out_stays_and_the_rest_is_the_same() -> None:
    windows, played = some_windows(50)
    turns, targets = np.zeros(50, int), np.arange(50)
    whole = Transforms(ALL, VOCABULARY, seed=5).vary(windows, played, turns, targets)
    for channel, changes in enumerate(({"transpose": 0}, {"velocity": 1.0}, {"stretch": 1.0})):
        config = dataclasses.replace(ALL, **changes)
        varied = Transforms(config, VOCABULARY, seed=5).vary(windows, played, turns, targets)
        for other in range(3):
            expected = windows if other == channel else whole
            assert np.array_equal(varied[..., other], expected[..., other])
    alone = TransformConfig(name="all", transpose=6, stretch=1.0, velocity=1.0)
    assert not Transforms(alone, VOCABULARY, seed=5).needs_played


# Draws


def test_draws_are_even_and_unlike_their_neighbours() -> None:
    key = np.uint64(7)
    targets = np.arange(20_000)
    shares = uniform(key, np.zeros(20_000, int), targets)
    assert np.histogram(shares, 10, (0, 1))[0] == pytest.approx(np.full(10, 2000), rel=0.1)
    next_turn = uniform(key, np.ones(20_000, int), targets)
    for other in (np.roll(shares, 1), next_turn, np.roll(next_turn, 1)):
        assert abs(np.corrcoef(shares, other)[0, 1]) < 0.03


def test_a_draw_depends_on_seed_turn_and_target_alone() -> None:
    windows, played = some_windows(50)
    turns, targets = np.arange(50) % 3, np.arange(50) * 7
    augmentation = Transforms(ALL, VOCABULARY, seed=5)
    whole = augmentation.vary(windows, played, turns, targets)
    order = np.random.default_rng(1).permutation(50)[:20]
    part = Transforms(ALL, VOCABULARY, seed=5).vary(
        windows[order], Played(*(each[order] for each in played)), turns[order], targets[order]
    )
    assert np.array_equal(part, whole[order])
    for other in (
        Transforms(ALL, VOCABULARY, seed=6).vary(windows, played, turns, targets),
        augmentation.vary(windows, played, turns + 1, targets),
        augmentation.vary(windows, played, turns, targets + 1),
    ):
        assert not np.array_equal(other, whole)


# Batches


def module_of(
    data: DataConfig, encoding: EncodingConfig, supervision: Supervision = Supervision.last, **augmentation: float
) -> tuple[PreparedData, MusicDataModule]:
    music = load_data(data, encoding, seed=0)
    values = {"transpose": 0, "stretch": 1.0, "velocity": 1.0} | augmentation
    return music, MusicDataModule(music, data, 0, supervision, TransformConfig(name="all", **values))  # type: ignore[arg-type]


def batches(module: MusicDataModule, epoch: int, batch: int = 0) -> list[torch.Tensor]:
    module.start_at(epoch, batch)
    return list(module.train_dataloader())


def test_each_pass_varies_training_windows_anew_and_only_these(data_config: Data, encoding_config: Encoding) -> None:
    config = data_config(window_size=5)
    music, module = module_of(config, encoding_config(), transpose=6, stretch=1.2, velocity=1.2)
    plain = MusicDataModule(music, config, 0)
    first, second = batches(module, 0), batches(module, 1)
    for epoch, varied in enumerate((first, second)):
        order = batches(plain, epoch)
        assert [len(batch) for batch in varied] == [len(batch) for batch in order]
        for mine, theirs in zip(varied, order, strict=True):
            moves = mine[..., 0].int() - theirs[..., 0].int()
            assert torch.equal(moves, moves[:, :1].expand_as(moves))
            assert torch.equal(mine[..., 1] == 0, theirs[..., 1] == 0)
            assert torch.equal(mine[..., 2] == 0, theirs[..., 2] == 0)
        assert not torch.equal(torch.cat(varied), torch.cat(order))
    assert sorted(torch.cat(first).tolist()) != sorted(torch.cat(second).tolist())
    for name in ("val_dataloader", "test_dataloader"):
        for mine, theirs in zip(getattr(module, name)(), getattr(plain, name)(), strict=True):
            assert torch.equal(mine, theirs)


def test_without_augmentation_the_batches_are_those_of_before(data_config: Data, encoding_config: Encoding) -> None:
    music, module = module_of(data_config(), encoding_config())
    for mine, theirs in zip(batches(module, 2), batches(MusicDataModule(music, module.config, 0), 2), strict=True):
        assert torch.equal(mine, theirs)


# Newer Pythons warn of every fork beside threads; the workers only gather.
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_the_middle_of_an_epoch_and_workers_see_the_same(data_config: Data, encoding_config: Encoding) -> None:
    config = data_config(windows_per_epoch=200)
    varied = {"transpose": 6, "stretch": 1.2, "velocity": 1.2}
    _, module = module_of(config, encoding_config(), **varied)
    _, helped = module_of(dataclasses.replace(config, num_workers=2), encoding_config(), **varied)
    # Within the eighth epoch of 200 windows the second pass over all 863 goes on.
    whole, rest, shared = batches(module, 4), batches(module, 4, 3), batches(helped, 4)
    assert all(torch.equal(one, two) for one, two in zip(whole[3:], rest, strict=True))
    assert all(torch.equal(one, two) for one, two in zip(whole, shared, strict=True))


def test_windows_of_other_sizes_are_varied_alike(data_config: Data, encoding_config: Encoding) -> None:
    found = []
    for size in (5, 20):
        _, module = module_of(data_config(window_size=size, first_target=20), encoding_config(), velocity=1.3)
        found.append(torch.cat([batch[:, -1, 1] for batch in batches(module, 0)]))
    assert torch.equal(found[0], found[1])


def test_masks_stay_beside_their_windows(data_config: Data, encoding_config: Encoding) -> None:
    music, module = module_of(data_config(), encoding_config(), Supervision.every, transpose=3)
    plain = MusicDataModule(music, module.config, 0, Supervision.every)
    for mine, theirs in zip(batches(module, 0), batches(plain, 0), strict=True):
        assert isinstance(mine, Supervised)
        assert isinstance(theirs, Supervised)
        assert torch.equal(mine.mask, theirs.mask)
        assert not torch.equal(mine.windows, theirs.windows)


def test_a_store_is_varied_like_an_array(
    shared_data: Path, tmp_path: Path, data_config: Data, encoding_config: Encoding, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "music"
    folder.mkdir()
    (folder / "krebs.mid").write_bytes((shared_data / "krebs.mid").read_bytes())
    data = data_config(source="midi", path=str(folder), window_size=10)
    varied = {"transpose": 6, "stretch": 1.2, "velocity": 1.2}
    _, small = module_of(data, encoding_config(), **varied)
    numbers = np.arange(1000, 1300)
    windows = small.train_dataloader().dataset
    targets, asked = windows.windows[numbers % len(windows)], windows[numbers]  # type: ignore[index]
    monkeypatch.setattr("composer.corpus.corpus.MAX_EVENTS_IN_MEMORY", 100)
    music, large = module_of(data, encoding_config(), **varied)
    stored = large._windows(targets, training=True)
    # As many passes as before.
    turns = numbers // len(windows)  # type: ignore[arg-type]
    assert torch.equal(stored[np.arange(300) + 300 * turns], asked)


# Keys


def test_drums_are_not_transposed() -> None:
    with pytest.raises(ComposerError, match=r"^augmentation\.transpose=6: must be 0 with data\.drums=true"):
        compose("augmentation=transpose", "data.drums=true")
    assert compose("augmentation=stretch", "data.drums=true").augmentation.active


@pytest.mark.slow
def test_nothing_is_varied_by_default() -> None:
    assert not compose().augmentation.active
    assert all(compose(f"augmentation={name}").augmentation.active for name in ("transpose", "stretch", "velocity"))
    assert math.prod(dataclasses.astuple(compose("augmentation=all").augmentation)[1:]) > 6
    assert augment.factor(np.array([0.3]), 1.0).tolist() == [1.0]
