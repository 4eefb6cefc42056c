"""Streams: what each batch reads, where the state begins anew, and that training on them is reading pieces whole."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import mido
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from composer.config.compose import compose
from composer.config.data import DataConfig, EncodingConfig
from composer.config.training import Supervision
from composer.data.datamodule import MusicDataModule
from composer.data.prepare import load_data
from composer.data.streams import Streamed, StreamOrder, Streams, segments
from composer.data.tokens import ArrayTokens
from composer.data.window_sets import ListedWindows
from composer.errors import ComposerError
from composer.training.losses import nll_every
from composer.training.module import ComposerModule
from tests.references import forward_every, window_starts

Data = Callable[..., DataConfig]
Encoding = Callable[..., EncodingConfig]


def passes(order: StreamOrder) -> Iterator[list[np.ndarray]]:
    rows = list(order)
    for size in order.sizes:
        yield rows[:size]
        rows = rows[size:]
    assert not rows


# Segments


def test_segments_are_what_training_windows_cover_piece_by_piece() -> None:
    # Three pieces, the last too short for a window; of the second a window in the middle is no training window.
    offsets = np.array([0, 12, 40])
    starts = np.concatenate(window_starts([12, 28, 3], 5))
    train = np.random.default_rng(0).permutation(starts[(starts < 20) | (starts > 26)])
    found = segments(ListedWindows(train), offsets, 5)
    assert found == [range(0, 12), range(12, 25), range(27, 40)]
    # Windows on both sides of a gap that is narrower than themselves cover it.
    assert segments(ListedWindows(np.array([0, 1, 4])), offsets, 5) == [range(0, 10)]


# Order


@given(
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=6),
    size=st.integers(1, 7),
    streams=st.integers(1, 9),
    epoch=st.integers(0, 2),
)
def test_each_pass_reads_every_segment_on_and_on(lengths: list[int], size: int, streams: int, epoch: int) -> None:
    begins = np.cumsum([3, *(length + 2 for length in lengths[:-1])]).tolist()
    runs = [range(begin, begin + length) for begin, length in zip(begins, lengths, strict=True)]
    order = StreamOrder(runs, size, streams, seed=1)
    order.set_epoch(epoch)
    assert len(list(order)) == len(order)
    for skipped, batches in enumerate(passes(order)):
        targets = []
        ends: dict[int, int] = {}
        for rows in batches:
            for stream, (first, steps, fresh) in enumerate(rows.tolist()):
                assert 0 <= steps <= size
                if steps == 0:
                    continue
                targets += range(first + 1, first + steps + 1)
                if not fresh:
                    # It goes on where it left off, and not before a whole chunk was read.
                    assert first == ends[stream]
                ends[stream] = first + size
        assert sorted(targets) == [k for run in runs for k in run[skipped + 1 :]]
        if batches:
            assert all(fresh for _, _, fresh in batches[0].tolist())
            assert max(map(len, batches)) == min(map(len, batches)) <= streams


def test_stream_order_depends_on_seed_and_epoch_alone() -> None:
    runs = [range(0, 40), range(50, 95), range(100, 171), range(200, 222)]
    whole = StreamOrder(runs, 6, 3, seed=1)
    whole.set_epoch(2)
    rows = [batch.tolist() for batch in whole]
    for batch in (1, len(rows) // 2, len(rows) - 1):
        resumed = StreamOrder(runs, 6, 3, seed=1)
        resumed.start_at(2, batch)
        resumed.set_epoch(2)
        assert [found.tolist() for found in resumed] == rows[batch:]
    whole.set_epoch(3)
    assert [batch.tolist() for batch in whole] != rows
    other = StreamOrder(runs, 6, 3, seed=2)
    other.set_epoch(2)
    assert [batch.tolist() for batch in other] != rows


def test_the_state_begins_anew_with_a_segment_and_a_share_alone() -> None:
    (first, *_) = passes(StreamOrder([range(0, 25)], 6, 2, seed=0))
    assert [batch.tolist() for batch in first] == [[[0, 6, 1], [12, 6, 1]], [[6, 6, 0], [18, 6, 0]]]
    (first, *_) = passes(StreamOrder([range(0, 10), range(20, 30)], 6, 1, seed=0))
    assert sorted(batch.tolist()[0] for batch in first) == [[0, 6, 1], [6, 3, 0], [20, 6, 1], [26, 3, 0]]


# Batches


def test_stream_batch_masks_held_out_events_and_those_beyond() -> None:
    tokens = np.arange(60, dtype=np.uint8).reshape(20, 3)
    supervisable = np.ones(20, np.bool_)
    supervisable[3] = False
    batch = Streams(ArrayTokens(tokens), 4, supervisable)[np.array([[1, 4, 1], [17, 2, 0]])]
    assert batch.windows[0].tolist() == tokens[1:6].tolist()
    assert batch.windows[1, :3].tolist() == tokens[17:20].tolist()
    assert batch.mask.tolist() == [[True, False, True, True], [True, True, False, False]]
    assert batch.fresh.tolist() == [True, False]


@pytest.mark.parametrize("split", ["shuffled", "blocked"])
def test_no_held_out_target_is_trained_on_and_all_else_is(
    data_config: Data, encoding_config: Encoding, split: str
) -> None:
    config = data_config(window_size=12, split=split, batch_size=4)
    music = load_data(config, encoding_config(), seed=0)
    module = MusicDataModule(music, config, 0, Supervision.stream)
    held = {start + 12 for part in (music.splits.val, music.splits.test) for start in part.positions().tolist()}
    trained = {start + k for start in music.splits.train.positions().tolist() for k in range(1, 13)}
    order = module.train_dataloader().sampler
    found = set()
    streams = module.train_dataloader().dataset
    for rows in order:
        mask = streams[rows].mask
        for (first, _, _), row in zip(rows.tolist(), mask.tolist(), strict=True):
            found |= {first + 1 + step for step, supervised in enumerate(row) if supervised}
    assert found == trained - held


def test_large_corpus_has_the_streams_of_a_small_one(
    tmp_path: Path, data_config: Data, encoding_config: Encoding, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        track = mido.MidiTrack()
        for k in range(60 + 7 * number):
            track.append(mido.Message("note_on", note=60 + k % 7, velocity=64 * (k % 2), time=120))
        file = mido.MidiFile(type=0)
        file.tracks.append(track)
        file.save(tmp_path / f"{number}.mid")
    data = data_config(source="midi", path=str(tmp_path), split="blocked", window_size=8, batch_size=3)
    found = []
    for large in (10**9, 50):
        monkeypatch.setattr("composer.corpus.corpus.MAX_EVENTS_IN_MEMORY", large)
        music = load_data(data, encoding_config(), seed=0)
        assert music.pieces.on_disk == (large == 50)
        found.append(list(MusicDataModule(music, data, 0, Supervision.stream).train_dataloader()))
    for one, two in zip(*found, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


# Training


@pytest.mark.parametrize("overrides", ["model=lstm model.num_layers=2", "model=gru model.heads=chained"])
def test_streams_are_pieces_read_whole_with_the_gradient_cut(overrides: str) -> None:
    config = compose(*overrides.split(), "model.hidden_size=8", "model.dropout=0", "loss.supervision=stream")
    torch.manual_seed(0)
    module = ComposerModule(
        model=config.model,
        sizes=(5, 5, 5),
        loss=config.loss,
        regularizer=config.regularizer,
        optimizer=config.optimizer,
        seed=0,
        max_epochs=1,
    ).double()
    model = module.model
    tokens = np.random.default_rng(0).integers(0, 5, (50, 3)).astype(np.uint8)
    runs = [range(0, 23), range(23, 50)]
    streams = Streams(ArrayTokens(tokens), 5, np.arange(50) != 11)
    (first, *_) = passes(StreamOrder(runs, 5, 2, seed=0))
    total, steps = 0.0, 0
    for rows in first:
        batch = streams[rows]
        loss = module._stream_loss(batch)
        assert all(not part.requires_grad for part in module.state or ())
        total += float(loss.detach()) * int(batch.mask.sum())
        steps += int(batch.mask.sum())
    expected = 0.0
    # The shares of two streams: each begins anew, also inside a segment.
    begins = sorted(row[0] for rows in first for row in rows.tolist() if row[1] and row[2])
    for begin in begins:
        segment = next(run for run in runs if begin in run)
        end = min([other for other in begins if other > begin] + [segment.stop - 1])
        window = torch.from_numpy(tokens[None, begin : end + 1])
        mask = torch.arange(begin + 1, end + 1)[None] != 11
        logits = forward_every(model, window[:, :-1], window[:, 1:])
        expected += float(nll_every(logits, window[:, 1:], mask).sum().detach())
    assert steps == 22 + 26 - 1
    assert total == pytest.approx(expected)
    sums = module.train_sums.values("train")
    assert sums["loss/train"] == pytest.approx(expected / steps)


def test_a_batch_without_a_supervised_step_teaches_nothing() -> None:
    config = compose("loss.supervision=stream", "model.hidden_size=8")
    groups = {"model": config.model, "loss": config.loss, "regularizer": config.regularizer}
    module = ComposerModule(sizes=(5, 5, 5), **groups, optimizer=config.optimizer)
    model = module.model
    windows = torch.zeros(2, 4, 3, dtype=torch.uint8)
    empty = Streamed(windows, torch.zeros(2, 3, dtype=torch.bool), torch.ones(2, dtype=torch.bool))
    loss = module._stream_loss(empty)
    loss.backward()
    assert math.isclose(float(loss.detach()), 0.0)
    assert not any(bool(p.grad.any()) for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("model=transformer", "model=transformer, which carries no state"),
        ("trainer.devices=2", r"trainer\.devices above 1"),
        ("augmentation=all", "augmentation, which varies windows"),
        ("data.windows_per_epoch=9", r"data\.windows_per_epoch"),
    ],
)
def test_what_does_not_go_with_streams_is_refused(override: str, reason: str) -> None:
    with pytest.raises(ComposerError, match=rf"^loss\.supervision=stream: must be last or every with {reason}"):
        compose("loss.supervision=stream", override)
