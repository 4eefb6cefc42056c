"""What `composer evaluate` measures, against slow and plain computations of the same."""

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path

import mido
import numpy as np
import pytest
import torch

from composer.commands.evaluate import evaluate, run
from composer.commands.train import start
from composer.composing.composer import Composer
from composer.config.commands import ContextConfig
from composer.config.compose import compose
from composer.config.data import DataConfig, EncodingConfig, TimeUnit
from composer.corpus.corpus import read_corpus
from composer.errors import ComposerError
from composer.evaluation import context
from composer.evaluation.calibration import Reliability
from composer.evaluation.scores import Seconds, over_pieces, score_windows
from composer.evaluation.statistics import bootstrap_interval
from composer.nets.build import Network, build_model
from composer.reporting.run_tables import column_text
from tests.references import windows_at

SIZES = (6, 5, 4)
SIZE = 4
# Two pieces, end to end.
OFFSETS = np.array([0, 25])
TOKENS = np.random.default_rng(0).integers(0, 4, (60, 3)).astype(np.uint8)
KINDS = [
    "model=lstm",
    "model=gru model.num_layers=2 model.heads=chained",
    "model=transformer model.heads=chained",
    "model=attentive_lstm",
]


def network(overrides: str) -> Network:
    torch.manual_seed(0)
    model = build_model(compose(*overrides.split(), "model.hidden_size=8").model, SIZES).double().eval()
    # Far from the even odds that a new network gives.
    model.linear.weight.data.mul_(8)
    return model


class FixedSeconds(Seconds):
    """Seconds that a test chooses."""

    def __init__(self, times: np.ndarray) -> None:
        self.times = times

    def __getitem__(self, positions: np.ndarray) -> np.ndarray:
        return self.times[positions]


def probabilities(logits: torch.Tensor) -> np.ndarray:
    odds = np.exp(logits.detach().numpy() - logits.detach().numpy().max())
    return odds / odds.sum()


# Sums


@pytest.mark.parametrize("overrides", KINDS)
def test_scores_are_those_of_one_window_after_another(overrides: str) -> None:
    model = network(overrides)
    starts = np.array([30, 3, 0, 21 - SIZE, 44])
    times = np.random.default_rng(1).random(60)
    batches = [np.array([2, 0]), np.array([1, 3, 4])]
    scores = score_windows(model, windows_at(TOKENS, starts, SIZE), batches, OFFSETS, FixedSeconds(times))
    nats: dict[int, list[list[float]]] = {0: [], 1: []}
    right: dict[int, list[list[bool]]] = {0: [], 1: []}
    seconds = {0: 0.0, 1: 0.0}
    for begin in starts.tolist():
        window = torch.from_numpy(TOKENS[None, begin : begin + SIZE + 1])
        target = window[0, -1].tolist()
        given, free = model(window[:, :-1], window[:, -1]), model(window[:, :-1])
        piece = int(begin >= 25)
        nats[piece].append([-math.log(probabilities(g[0])[t]) for g, t in zip(given, target, strict=True)])
        right[piece].append([int(f[0].argmax()) == t for f, t in zip(free, target, strict=True)])
        seconds[piece] += times[begin + SIZE]
    every, hits = nats[0] + nats[1], right[0] + right[1]
    loss = sum(map(sum, every)) / 5
    found = scores.figures("x")
    assert scores.windows == 5
    assert found["loss/x"] == pytest.approx(loss)
    assert found["perplexity/x"] == pytest.approx(math.exp(loss))
    assert found["perplexity_time/x"] == pytest.approx(math.exp(sum(row[2] for row in every) / 5))
    assert found["accuracy_velocity/x"] == pytest.approx(sum(row[1] for row in hits) / 5)
    assert found["accuracy_joint/x"] == pytest.approx(sum(all(row) for row in hits) / 5)
    assert found["bits_per_event/x"] == pytest.approx(loss / math.log(2))
    assert found["bits_per_second/x"] == pytest.approx(5 * loss / math.log(2) / (seconds[0] + seconds[1]))
    for piece, figures in scores.pieces(["a", "b"]).items():
        count = len(nats[piece])
        assert (figures["piece"], figures["windows"]) == ("ab"[piece], count)
        assert figures["loss"] == pytest.approx(sum(map(sum, nats[piece])) / count)
        assert figures["accuracy"] == pytest.approx(sum(map(sum, right[piece])) / count / 3)
        assert figures["seconds"] == pytest.approx(seconds[piece])


def test_no_windows_no_figures_and_no_time_no_bits_per_second() -> None:
    model, starts = network("model=lstm"), np.array([0])
    none = score_windows(model, windows_at(TOKENS, starts, SIZE), [], OFFSETS, FixedSeconds(np.zeros(60)))
    assert (none.figures("x"), none.pieces(["a", "b"])) == ({}, {})
    still = score_windows(model, windows_at(TOKENS, starts, SIZE), [np.array([0])], OFFSETS, FixedSeconds(np.zeros(60)))
    assert still.figures("x")["bits_per_second/x"] is None


def test_times_in_beats_are_taken_in_seconds(
    midi_file: Callable[..., Path],
    data_config: Callable[..., DataConfig],
    encoding_config: Callable[..., EncodingConfig],
) -> None:
    track = [mido.MetaMessage("set_tempo", tempo=500_000, time=0)]
    track += [mido.Message("note_on", note=60, velocity=64 * (k % 2), time=480) for k in range(20)]
    # Twice as slow from the 21st event on.
    track += [mido.MetaMessage("set_tempo", tempo=1_000_000, time=0)]
    track += [mido.Message("note_on", note=60, velocity=64 * (k % 2), time=480) for k in range(20)]
    data = data_config(source="midi", path=str(midi_file([track], file_type=0)), window_size=5)
    encoding = encoding_config(time_unit=TimeUnit.beats)
    corpus = read_corpus(data, encoding)
    seconds = Seconds(corpus, data)
    assert seconds[np.array([3, 19, 20, 39])].tolist() == [0.5, 0.5, 1.0, 1.0]


# Calibration


def test_the_calibration_error_is_that_of_guo_et_al() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.random((500, 3)) * 0.999 + 0.001
    confidence[:4] = [1.0, 1 / 15, 2 / 15]  # a bin's upper bound belongs to it
    right = rng.random((500, 3)) < confidence**2
    reliability = Reliability()
    for rows in (slice(0, 100), slice(100, 500)):
        reliability.add(confidence[rows], right[rows])
    found, bins = reliability.errors("x"), reliability.bins()
    for k, channel in enumerate(("note", "velocity", "time")):
        error, filled = 0.0, 0
        for m in range(15):
            inside = [n for n in range(500) if m / 15 < confidence[n, k] <= (m + 1) / 15]
            if inside:
                filled += 1
                mean = sum(confidence[n, k] for n in inside) / len(inside)
                error += len(inside) / 500 * abs(sum(right[n, k] for n in inside) / len(inside) - mean)
        assert found[f"ece_{channel}/x"] == pytest.approx(error)
        assert len(bins[channel]) == filled
        assert sum(each["predictions"] for each in bins[channel]) == 500


def test_calibrated_channel_has_no_calibration_error() -> None:
    reliability = Reliability()
    reliability.add(np.full((10, 3), 0.7), np.array([[k < 7] * 3 for k in range(10)]))
    assert reliability.errors("x") == pytest.approx(dict.fromkeys(("ece_note/x", "ece_velocity/x", "ece_time/x"), 0.0))
    assert reliability.bins()["note"] == [
        {"above": 10 / 15, "to": 11 / 15, "predictions": 10, "confidence": pytest.approx(0.7), "accuracy": 0.7}
    ]


# Context


def slow_losses(model: Network, targets: list[int], length: int | None) -> np.ndarray:
    """(3,) mean losses of the targets after so many events before each, or after all of its piece."""
    rows = []
    for target in targets:
        begin = (25 if target >= 25 else 0) if length is None else target - length
        event = torch.from_numpy(TOKENS[target])
        logits = model(torch.from_numpy(TOKENS[None, begin:target]), event[None])
        rows.append([-math.log(probabilities(c[0])[t]) for c, t in zip(logits, event.tolist(), strict=True)])
    return np.array(rows).mean(axis=0)


@pytest.mark.parametrize("overrides", KINDS)
def test_the_probe_reads_so_many_events_or_all_of_the_piece(overrides: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "_STEPS", 7)
    monkeypatch.setattr(context, "_BATCH", 3)
    model = network(overrides)
    starts = np.array([50, 0, 5, 17, 25, 33])
    asked = ContextConfig(longest=9, windows=100)
    found = context.probe(model, windows_at(TOKENS, starts, SIZE), OFFSETS, asked, seed=0)
    # The targets at 4 and 29 have fewer events of their piece before them.
    targets = [9, 21, 37, 54]
    assert (found.windows, found.pieces, found.lengths) == (4, 2, list(range(1, 10)))
    for length, row in zip(found.lengths, found.nll, strict=True):
        assert row.tolist() == pytest.approx(slow_losses(model, targets, length).tolist())
    if not model.carries:
        assert found.stateful is None
    else:
        assert found.stateful is not None
        assert found.stateful.tolist() == pytest.approx(slow_losses(model, targets, None).tolist())
    plain = json.loads(json.dumps(found.to_plain()))
    assert plain["loss"][8] == pytest.approx(found.nll[8].sum())


def test_the_probe_draws_windows_by_the_seed_and_of_few_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "_MAX_PIECES", 1)
    model, windows = network("model=lstm"), windows_at(TOKENS, np.arange(20), SIZE)
    few = ContextConfig(longest=None, windows=5)
    one, again = (context.probe(model, windows, OFFSETS, few, seed=0) for _ in range(2))
    assert one.windows == 5
    assert one.nll.tolist() == again.nll.tolist()
    assert one.nll.tolist() != context.probe(model, windows, OFFSETS, few, seed=1).nll.tolist()
    both = windows_at(TOKENS, np.array([*range(10), *range(25, 35)]), SIZE)
    assert context.probe(model, both, OFFSETS, few, seed=0).pieces == 1


def test_a_context_longer_than_any_piece_is_named() -> None:
    asked = ContextConfig(longest=36, windows=5)
    with pytest.raises(ComposerError, match=r"^context\.longest=36: no scored event has as many"):
        context.probe(network("model=lstm"), windows_at(TOKENS, np.arange(20), SIZE), OFFSETS, asked, seed=0)


def test_lengths_spread_and_hold_the_window() -> None:
    assert context.lengths(30, 30)[:8] == [1, 2, 3, 4, 5, 6, 7, 8]
    spread = context.lengths(30, 500)
    assert 30 in spread
    assert (spread[0], spread[-1]) == (1, 500)
    assert len(spread) <= 25
    assert context.lengths(30, 1) == [1]


# Pieces


def test_the_interval_over_pieces_is_the_bootstraps() -> None:
    losses = [2.0, 3.5, 2.5, 4.0, 3.0, 2.2]
    by_piece = {k: {"piece": "a", "windows": 9, "loss": loss, "bits_per_second": None} for k, loss in enumerate(losses)}
    found = over_pieces(by_piece, 10_000)
    assert list(found) == ["loss"]
    assert found["loss"]["mean"] == pytest.approx(np.mean(losses))
    assert found["loss"]["interval"] == list(bootstrap_interval(np.array(losses), 10_000))
    one = over_pieces({0: by_piece[0]}, 10_000)["loss"]
    assert (one["pieces"], one["mean"], one["interval"]) == (1, 2.0, None)


# The command


def write_walk(path: Path, seed: int, low: int = 50) -> None:
    rng, track = np.random.default_rng(seed), mido.MidiTrack()
    for _ in range(40):
        pitch = int(rng.integers(low, low + 12))
        track.append(mido.Message("note_on", note=pitch, velocity=64, time=int(rng.integers(0, 3)) * 120))
        track.append(mido.Message("note_on", note=pitch, velocity=0, time=120))
    file = mido.MidiFile(type=0, ticks_per_beat=480)
    file.tracks.append(track)
    file.save(path)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    (folder / "corpus").mkdir()
    for k in range(6):
        write_walk(folder / "corpus" / f"{k}.mid", k)
    quick = ["model.hidden_size=8", "data.window_size=10", "data.batch_size=128", "trainer.max_epochs=2"]
    quick += [
        "trainer.threads=1",
        "trainer.progress_bar=false",
        "sampling.events=5",
        "sampling_grid.pieces=0",
        "logging.sample_media=false",
        "data.split=by_piece",
    ]
    start(compose(*quick, "data=midi", f"data.path={folder / 'corpus'}", "encoding.pitch_low=24"), folder / "run")
    return folder / "run"


@pytest.mark.slow
def test_a_folder_of_any_kind_is_scored_as_far_as_it_can_be(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for k in range(5):
        write_walk(other / f"{k}.mid", 10 + k)
    write_walk(other / "low.mid", 9, low=5)
    (other / "broken.mid").write_bytes(b"RIFF")
    output = tmp_path / "scores"
    path = run(compose(f"run={trained}", f"data.path={other}", f"output={output}", command="evaluate"))
    results = json.loads(path.read_text())
    assert {file.name for file in output.iterdir()} == {
        "evaluation.json",
        "pieces.csv",
        "context.png",
        "calibration.png",
    }
    rows = list(csv.DictReader((output / "pieces.csv").read_text().splitlines()))
    assert [row["piece"] for row in rows] == [f"{k}.mid" for k in range(5)]
    losses = [float(row["loss"]) for row in rows]
    over = results["over_pieces"]["data"]["loss"]
    assert over["mean"] == pytest.approx(np.mean(losses))
    assert (over["pieces"], over["method"]) == (5, "bootstrap")
    # All pieces have as many windows here, so that both means are the same.
    assert results["loss/data"] == pytest.approx(over["mean"])
    for baseline, figures in results["baselines"].items():
        reference = figures["accuracy/data"]
        expected = (results["accuracy/data"] - reference) / (1 - reference)
        assert results["skill"][baseline]["accuracy/data"] == pytest.approx(expected)
    probed = results["context"]["data"]
    assert probed["lengths"][-1] == 10
    assert probed["windows"] == results["windows_data"] == 5 * 70
    assert probed["loss"][-1] == pytest.approx(results["loss/data"])
    out = capsys.readouterr().out
    assert "bits/event" in out
    assert "95 % interval" in out


def test_the_probe_and_the_figures_can_be_left_out(trained: Path, tmp_path: Path) -> None:
    overrides = [f"run={trained}", f"output={tmp_path}", "context.windows=0", "figures=false"]
    results = json.loads(run(compose(*overrides, command="evaluate")).read_text())
    assert results["context"] == {}
    assert {file.name for file in tmp_path.iterdir()} == {"evaluation.json", "pieces.csv"}


def test_a_store_too_large_to_be_listed_scores_the_same(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    composer, folder = Composer.load(trained), str(trained.parent / "corpus")
    asked = ContextConfig(longest=None, windows=10_000)
    with pytest.warns(UserWarning, match="is the run's training data"):
        listed = evaluate(composer, folder, asked)
    monkeypatch.setattr("composer.corpus.corpus.MAX_EVENTS_IN_MEMORY", 1)
    with pytest.warns(UserWarning, match="is the run's training data"):
        computed = evaluate(composer, folder, asked)
    for part in ("by_piece", "calibration", "context", "over_pieces"):
        assert json.dumps(computed[part]) == json.dumps(listed[part])
    assert computed["bits_per_second/data"] == listed["bits_per_second/data"]


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("context.longest=0", r"^context\.longest=0: must be null or at least 1"),
        ("context.windows=-1", r"^context\.windows=-1: must be at least 0"),
        ("resamples=10", r"^resamples=10: must be from 1000 to 1000000"),
    ],
)
def test_limits_name_their_keys(override: str, line: str) -> None:
    with pytest.raises(ComposerError, match=line):
        compose("run=x", override, command="evaluate")


@pytest.mark.parametrize(
    ("values", "cells"),
    [
        ([None, 0.5, -0.0001], ["-", "0.500", "0.000"]),
        ([0.5, 1000.0], ["0.5", "1,000.0"]),
        ([12.25, 2.31e8], ["12", "231,000,000"]),
    ],
)
def test_figures_of_a_column_have_the_same_decimals(values: list[float | None], cells: list[str]) -> None:
    assert column_text(values) == cells
