"""Large corpora: windows that are not listed and tokens that are not held give the figures of small corpora."""

import dataclasses
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import mido
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from composer.commands.evaluate import evaluate
from composer.commands.train import resume, start
from composer.composing.composer import Composer
from composer.config.compose import compose
from composer.config.data import DataConfig, EncodingConfig, TimeBinning
from composer.config.training import Supervision
from composer.data import leakage
from composer.data.datamodule import MusicDataModule
from composer.data.prepare import PreparedData, load_data
from composer.data.tokens import ArrayTokens
from composer.data.vocabulary import fit
from composer.data.window_sets import ListedWindows, WindowSet
from composer.data.windows import BatchOrder, Supervised
from composer.evaluation.baselines import Examples, count, measure
from tests.references import window_digests

Data = Callable[..., DataConfig]
Encoding = Callable[..., EncodingConfig]


def write_songs(root: Path, songs: int = 8, events: int = 400) -> Path:
    root.mkdir()
    rng = np.random.default_rng(0)
    for k in range(songs):
        file = mido.MidiFile(type=0, ticks_per_beat=480)
        track = file.add_track()
        phrase = rng.integers(50, 60, 40)
        for number in range(events + 7 * k):
            track.append(
                mido.Message(
                    "note_on",
                    note=int(phrase[number % 40]),
                    velocity=64 + number % 2,
                    time=int(rng.integers(0, 3)) * 60,
                )
            )
        file.save(root / f"{k}.mid")
    # One that no article encoding takes: it lies in the store and not in the run.
    file.tracks[0].insert(0, mido.Message("note_on", note=125, velocity=1, time=0))
    file.save(root / "4_high.mid")
    return root


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_songs(tmp_path_factory.mktemp("songs") / "music")


@pytest.fixture
def unlisted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("composer.corpus.corpus.MAX_EVENTS_IN_MEMORY", 100)
    monkeypatch.setattr("composer.corpus.store.CHUNK", 333)


def both(
    monkeypatch: pytest.MonkeyPatch, data: DataConfig, encoding: EncodingConfig
) -> tuple[PreparedData, PreparedData]:
    small = load_data(data, encoding, seed=1)
    monkeypatch.setattr("composer.corpus.corpus.MAX_EVENTS_IN_MEMORY", 100)
    monkeypatch.setattr("composer.corpus.store.CHUNK", 333)
    return small, load_data(data, encoding, seed=1)


def windows_of(music: PreparedData, windows: WindowSet, size: int) -> list[bytes]:
    return [window.tobytes() for window in music.tokens.windows(windows.positions(), size + 1)]


@pytest.mark.parametrize("first_target", [None, 20])
@pytest.mark.parametrize("binning", TimeBinning)
@pytest.mark.parametrize("split", ["blocked", "by_piece"])
def test_large_corpus_has_parts_classes_and_leak_of_a_small_one(
    songs: Path,
    data_config: Data,
    encoding_config: Encoding,
    monkeypatch: pytest.MonkeyPatch,
    split: str,
    binning: TimeBinning,
    first_target: int | None,
) -> None:
    data = data_config(source="midi", path=str(songs), split=split, window_size=10, first_target=first_target)
    small, large = both(monkeypatch, data, encoding_config(time_binning=binning, time_bins=2))
    assert (large.pieces.on_disk, small.pieces.on_disk) == (True, False)
    assert (large.splits.train.computed, small.splits.train.computed) == (True, False)
    assert large.vocabulary.time_edges == small.vocabulary.time_edges
    assert large.vocabulary.time_values == pytest.approx(small.vocabulary.time_values)
    assert large.time_error.mean == pytest.approx(small.time_error.mean)
    for one, other in (("train", "train"), ("val", "val"), ("test", "test")):
        mine, theirs = getattr(large.splits, one), getattr(small.splits, other)
        assert windows_of(large, mine, 10) == windows_of(small, theirs, 10)
    assert large.leak == small.leak
    assert (large.sha256, large.skipped) == (small.sha256, small.skipped)
    assert large.events == small.events < len(large.tokens)


def test_large_corpus_has_groups_and_folds_of_a_small_one(
    tmp_path: Path, data_config: Data, encoding_config: Encoding, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_songs(tmp_path / "songs")
    shutil.copy(root / "2.mid", root / "copy.mid")
    file = mido.MidiFile(root / "5.mid")
    for message in file.tracks[0]:
        if message.type == "note_on":
            message.note += 3
    file.save(root / "transposed.mid")
    data = data_config(source="midi", path=str(root), split="by_piece", window_size=10, cache=str(tmp_path))
    small, large = both(monkeypatch, data, encoding_config())
    for music in (small, large):
        assert (len(music.pieces), music.groups.count) == (10, 8)
        assert (music.groups.copies, music.groups.near_copies) == (1, 1)
    assert large.groups.of.tolist() == small.groups.of.tolist()
    assert windows_of(large, large.splits.val, 10) == windows_of(small, small.splits.val, 10)

    # They are found once, and again for another limit.
    monkeypatch.setattr("composer.corpus.duplicates.group", None)
    assert load_data(data, encoding_config(), seed=2).groups.of.tolist() == small.groups.of.tolist()
    with pytest.raises(TypeError):
        load_data(dataclasses.replace(data, group_similarity=0.5), encoding_config(), seed=1)
    monkeypatch.undo()

    data = dataclasses.replace(data, split="blocked", fold=1, folds=3)
    small, large = both(monkeypatch, data, encoding_config())
    for part in ("train", "val", "test"):
        assert windows_of(large, getattr(large.splits, part), 10) == windows_of(small, getattr(small.splits, part), 10)


def test_large_corpus_has_binned_velocities_of_a_small_one(
    songs: Path, data_config: Data, encoding_config: Encoding, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = data_config(source="midi", path=str(songs), split="by_piece", window_size=10)
    small, large = both(monkeypatch, data, encoding_config(velocity_bins=8))
    assert small.vocabulary.sizes == (89, 9, 12)
    assert large.vocabulary.velocity_values == small.vocabulary.velocity_values
    assert windows_of(large, large.splits.val, 10) == windows_of(small, small.splits.val, 10)


def test_large_corpus_has_leak_of_short_windows_of_a_small_one(
    songs: Path, data_config: Data, encoding_config: Encoding, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = data_config(source="midi", path=str(songs), split="blocked", window_size=2)
    small, large = both(monkeypatch, data, encoding_config())
    assert large.leak == small.leak
    assert 0 < large.leak.by_content < large.leak.by_transposition < 1


def test_large_corpus_shuffled_is_another_draw_of_same_shares(
    songs: Path, data_config: Data, encoding_config: Encoding, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = data_config(source="midi", path=str(songs), window_size=10)
    small, large = both(monkeypatch, data, encoding_config())
    parts = [(len(m.splits.train), len(m.splits.val), len(m.splits.test)) for m in (small, large)]
    assert parts[0] == parts[1]
    assert sorted(windows_of(large, large.splits.train, 10) + windows_of(large, large.splits.val, 10)) == sorted(
        windows_of(small, small.splits.train, 10) + windows_of(small, small.splits.val, 10)
    )
    assert large.vocabulary.time_edges == small.vocabulary.time_edges
    assert large.leak.by_index == pytest.approx(1.0, abs=0.01)
    # The measure itself, by the slow way.
    train = set(windows_of(large, large.splits.train, 10))
    val = windows_of(large, large.splits.val, 10)
    assert large.leak.by_content == pytest.approx(np.mean([window in train for window in val]))
    held = large.splits
    assert held.train.computed
    assert not held.train.contains(held.val.positions()).any()


@pytest.mark.usefixtures("unlisted")
def test_no_supervised_step_is_a_held_out_target(songs: Path, data_config: Data, encoding_config: Encoding) -> None:
    data = data_config(source="midi", path=str(songs), window_size=10)
    music = load_data(data, encoding_config(), seed=0)
    module = MusicDataModule(music, data, seed=0, supervision=Supervision.every)
    windows = module.train_dataloader().dataset
    train, val = music.splits.train, music.splits.val
    assert train.computed
    batch = windows[np.arange(200)]
    assert isinstance(batch, Supervised)
    assert not batch.mask.all()
    assert batch.mask[:, -1].all()
    held = {int(first) + 10 for part in (val, music.splits.test) for first in part.positions()}
    for first, mask in zip(train[np.arange(200)].tolist(), batch.mask.tolist(), strict=True):
        assert mask == [first + 1 + step not in held for step in range(10)]


@given(codes=st.lists(st.integers(0, 3), min_size=1, max_size=80), length=st.integers(1, 40))
def test_rolling_digests_are_the_slow_ones(codes: list[int], length: int) -> None:
    if length > len(codes):
        return
    tokens = np.stack([codes, [64] * len(codes), np.array(codes) // 2], axis=1).astype(np.uint8)
    assert leakage.window_digests(tokens, length).tolist() == window_digests(tokens, length).tolist()


@given(
    times=st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.3, 1.0, 1.5, 2.0, 9.0]), max_size=60),
    binning=st.sampled_from(TimeBinning),
    bins=st.integers(1, 6),
)
def test_a_vocabulary_of_counts_is_that_of_the_times(
    encoding_config: Encoding, times: list[float], binning: TimeBinning, bins: int
) -> None:
    config = encoding_config(time_binning=binning, time_bins=bins)
    listed = np.array(times, np.float64)
    distinct = np.array([0.0, 0.1, 0.25, 0.3, 1.0, 1.5, 2.0, 9.0])
    counts = np.array([int((listed == time).sum()) for time in distinct])
    one, other = fit(config, listed), fit(config, distinct, counts)
    assert one.time_edges == other.time_edges
    assert other.time_values == pytest.approx(one.time_values)
    error, counted = one.time_error(listed), other.time_error(distinct, counts)
    assert (counted.mean, counted.maximum) == pytest.approx((error.mean, error.maximum), abs=1e-9)


@pytest.mark.usefixtures("unlisted")
def test_baselines_of_a_store_are_those_of_its_windows(
    songs: Path, data_config: Data, encoding_config: Encoding
) -> None:
    data = data_config(source="midi", path=str(songs), window_size=10)
    music = load_data(data, encoding_config(), seed=0)
    assert music.pieces.on_disk
    plain = ArrayTokens(music.tokens[:])
    listed = dataclasses.replace(
        music.splits,
        **{
            name: ListedWindows(np.sort(part.positions()))
            for name, part in (("train", music.splits.train), ("val", music.splits.val), ("test", music.splits.test))
        },
    )
    assert measure(music.tokens, music.splits, 10, 0) == measure(plain, listed, 10, 0)
    few = Examples(music.tokens, music.splits.train, 10).sample(50, 0, context=8)
    assert (few.windows.shape, len(few), few.window_size) == ((50, 9, 3), 50, 8)
    assert len(count(few)) == 9


# Epochs of less than all


@given(
    windows=st.integers(1, 60),
    size=st.integers(1, 20),
    per_epoch=st.integers(1, 90),
    arithmetic=st.booleans(),
    place=st.tuples(st.integers(0, 5), st.integers(0, 10)),
)
def test_epochs_go_on_through_all_windows(
    windows: int, size: int, per_epoch: int, arithmetic: bool, place: tuple[int, int]
) -> None:
    def order(epoch: int, batch: int = 0) -> list[list[int]]:
        found = BatchOrder(windows, size, 3, shuffle=True, per_epoch=per_epoch, arithmetic=arithmetic)
        found.start_at(epoch, batch)
        assert len(found) == -(-per_epoch // size)
        return [numbers.tolist() for numbers in found]

    row = [number for epoch in range(6) for batch in order(epoch) for number in batch]
    assert len(row) == 6 * per_epoch
    for begin in range(0, len(row) - windows + 1, windows):
        assert sorted(row[begin : begin + windows]) == list(range(windows))
    assert order(*place) == order(place[0])[place[1] :]


def test_eval_windows_is_a_fixed_draw_and_training_windows_stay(data_config: Data, encoding_config: Encoding) -> None:
    config = data_config(eval_windows=20, windows_per_epoch=100)
    music = load_data(config, encoding_config(), seed=0)
    module = MusicDataModule(music, config, seed=0)
    found = torch.cat(list(module.val_dataloader()))
    assert len(found) == 20
    assert torch.equal(found, torch.cat(list(module.val_dataloader())))
    assert sum(map(len, module.train_dataloader())) == 100
    assert sum(map(len, module.test_dataloader())) == 20


@pytest.mark.slow
@pytest.mark.usefixtures("unlisted")
def test_a_large_corpus_trains_resumes_composes_and_is_scored(songs: Path, tmp_path: Path) -> None:
    keys = [
        *("data=midi", f"data.path={songs}", "data.window_size=10", "data.windows_per_epoch=300"),
        *("data.eval_windows=100", "data.batch_size=60", "model.hidden_size=8", "loss.supervision=every"),
        *(
            "trainer.threads=1",
            "trainer.progress_bar=false",
            "sampling.events=5",
            "sampling_grid.pieces=0",
            "logging.sample_media=false",
        ),
    ]
    whole = start(compose(*keys, "trainer.max_epochs=3"), tmp_path / "whole")
    start(compose(*keys, "trainer.max_epochs=1"), tmp_path / "parts")
    resumed = resume(str(tmp_path / "parts"), ["trainer.max_epochs=3"])
    for key in ("loss/train", "loss/val", "accuracy/test"):
        assert resumed[key] == whole[key]
    composer = Composer.load(tmp_path / "whole", "last")
    scored = evaluate(composer)
    assert scored["same_data"]
    assert scored["loss/val"] == pytest.approx(whole["loss/val"])
    assert scored["baselines"] == whole["baselines"]
    assert scored["windows_val"] == 100
    assert len(composer.primer("20")) == 10
    other = evaluate(composer, str(songs / "0.mid"))
    assert other["windows_data"] == 100


# Memory


START = """
import sys
from composer.config.compose import compose
from composer.data.datamodule import MusicDataModule
from composer.data.prepare import load_data
import threading, time, re
peak = 0
def watch():
    global peak
    while True:
        status = open("/proc/self/status").read()
        peak = max(peak, int(re.search(r"RssAnon:\\s+(\\d+)", status)[1]))
        time.sleep(0.01)
import torch
before = int(re.search(r"RssAnon:\\s+(\\d+)", open("/proc/self/status").read())[1])
threading.Thread(target=watch, daemon=True).start()
config = compose("data=midi", f"data.path={sys.argv[1]}", *sys.argv[2:])
music = load_data(config.data, config.encoding, 0)
batches = iter(MusicDataModule(music, config.data, 0).train_dataloader())
for _ in range(1000):
    next(batches)
time.sleep(0.05)
print((peak - before) // 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's account of memory")
@pytest.mark.parametrize("split", ["shuffled", pytest.param("by_piece", marks=pytest.mark.nightly)])
def test_memory_does_not_grow_with_the_corpus(
    tmp_path: Path, split: str, repetitions: Callable[[int, int], int]
) -> None:
    synthetic = runpy.run_path(str(Path(__file__).resolve().parents[2] / "benchmarks" / "large_store.py"))["synthetic"]
    grown = []
    for millions in (6, repetitions(18, 48)):
        root, cache = tmp_path / f"music{millions}", tmp_path / f"cache{millions}"
        synthetic(root, cache, millions * 1_000_000)
        command = [sys.executable, "-c", START, str(root), f"data.cache={cache}", f"data.split={split}"]
        command.append("encoding=performance")
        out = subprocess.run(
            command, check=True, capture_output=True, text=True, cwd=Path(__file__).resolve().parents[2]
        )
        grown.append(int(out.stdout.split()[-1]))
    # 12 or 42 million events more: listed windows alone would take 96 or 340 MB more.
    assert grown[1] < grown[0] + 60
    assert grown[1] < 500
