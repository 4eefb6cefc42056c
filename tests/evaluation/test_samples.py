"""Pieces composed during the training: what they leave, that they repeat, and that the training does not notice."""

import csv
import dataclasses
import io
import json
import re
import signal
import wave
from pathlib import Path
from typing import Any

import mido
import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from composer import cli
from composer.commands.copying import of_run
from composer.commands.train import resume, start
from composer.composing.composer import Composer
from composer.config.compose import compose
from composer.config.data import TimeUnit
from composer.errors import RunInterrupted
from composer.evaluation.quality import polyphony
from composer.evaluation.samples import judge, show
from composer.files import read_json
from composer.music.events import prelude_piece
from composer.music.midi import write_midi
from composer.music.notes import notes_of
from composer.progress import Progress
from composer.runs import checkpoint as ckpt
from composer.runs.layout import locked
from composer.runs.record import RunLog

QUICK = (
    "model.hidden_size=8",
    "data.window_size=10",
    "data.batch_size=64",
    "trainer.max_epochs=4",
    "trainer.threads=1",
    "trainer.progress_bar=false",
    "sampling.events=40",
    "logging.sample_events=120",
    "logging.sample_media=false",
    "sampling_grid.pieces=0",
)
MEDIA = "logging.sample_media=true"
EVERY = "logging.sample_every_epochs=2"


def quick(*overrides: str) -> Any:
    return compose(*QUICK, *overrides)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return ckpt.model_state(ckpt.load(folder / "checkpoints" / "last.ckpt"))


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    accumulator.Reload()
    tags = accumulator.Tags()["scalars"]
    return {tag: [(event.step, event.value) for event in accumulator.Scalars(tag)] for tag in tags}


@pytest.mark.slow
def test_each_sample_can_be_seen_and_heard_in_tensorboard(sampled: Path) -> None:
    accumulator = EventAccumulator(str(sampled), size_guidance={"images": 0, "audio": 0})
    accumulator.Reload()
    assert accumulator.Tags()["audio"] == ["sample/sound"]
    sounds = accumulator.Audio("sample/sound")
    assert [sound.step for sound in sounds] == [2, 4]
    assert all(sound.encoded_audio_string.startswith(b"RIFF") and sound.length_frames > 0 for sound in sounds)
    assert [image.step for image in accumulator.Images("sample/piano_roll")] == [2, 4]


def media_steps(folder: Path) -> dict[str, list[int]]:
    """Steps of images and sounds by tag."""
    accumulator = EventAccumulator(str(folder), size_guidance={"images": 0, "audio": 0})
    accumulator.Reload()
    found = {tag: [image.step for image in accumulator.Images(tag)] for tag in accumulator.Tags()["images"]}
    return found | {tag: [sound.step for sound in accumulator.Audio(tag)] for tag in accumulator.Tags()["audio"]}


@pytest.mark.slow
def test_the_final_piece_is_in_tensorboard_after_few_epochs_too(tmp_path: Path) -> None:
    few = ("trainer.max_epochs=1", "logging.sample_every_epochs=50")
    start(quick(*few, MEDIA), tmp_path / "run")
    steps = media_steps(tmp_path / "run")
    assert steps == {"sample/score": [1], "sample/piano_roll": [1], "sample/sound": [1]}
    start(quick(*few), tmp_path / "silent")
    assert media_steps(tmp_path / "silent") == {}
    metrics = [(tmp_path / name / "metrics.csv").read_bytes() for name in ("run", "silent")]
    assert metrics[0] == metrics[1]
    one, two = weights(tmp_path / "run"), weights(tmp_path / "silent")
    assert all(torch.equal(value, two[name]) for name, value in one.items())
    assert scalars(tmp_path / "run") == scalars(tmp_path / "silent")


@pytest.mark.slow
def test_what_follows_the_training_is_never_twice_in_the_record(tmp_path: Path) -> None:
    run = tmp_path / "run"
    start(quick("trainer.max_epochs=1", "logging.sample_every_epochs=50", MEDIA), run)
    # The end again, with another temperature; then more epochs.
    resume(str(run), ["sampling.temperature=0.9"])
    assert set(map(tuple, media_steps(run).values())) == {(1,)}
    resume(str(run), ["trainer.max_epochs=3"])
    assert set(map(tuple, media_steps(run).values())) == {(3,)}
    assert [step for step, _ in scalars(run)["loss/val"]] == [1, 2, 3]


def test_a_piece_without_a_note_is_silence_and_a_notice(tmp_path: Path) -> None:
    piece = prelude_piece(TimeUnit.seconds)
    silent = dataclasses.replace(piece.events, velocity=np.zeros_like(piece.events.velocity))
    record = RunLog(tmp_path)
    show(record, 1, dataclasses.replace(piece, events=silent))
    record.close()
    assert media_steps(tmp_path) == {"sample/score": [1], "sample/piano_roll": [1], "sample/sound": [1]}
    accumulator = EventAccumulator(str(tmp_path))
    accumulator.Reload()
    (sound,) = accumulator.Audio("sample/sound")
    with wave.open(io.BytesIO(sound.encoded_audio_string)) as file:
        assert file.getnframes() == file.getframerate() == sound.length_frames
        assert set(file.readframes(sound.length_frames)) == {0}


@pytest.mark.slow
def test_a_piece_that_cannot_be_drawn_ends_no_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any) -> None:
        raise ValueError("no ink")

    monkeypatch.setattr("composer.evaluation.samples.show", fail)
    with pytest.warns(UserWarning, match=r"epoch 2: the sample is not shown in TensorBoard \(ValueError\('no ink'\)\)"):
        assert start(quick(EVERY, MEDIA, "trainer.max_epochs=2"), tmp_path / "run")["status"] == "completed"


def of_music(points: dict[str, Any]) -> dict[str, Any]:
    return {tag: values for tag, values in points.items() if tag.startswith(("copying/", "quality/"))}


@pytest.fixture(scope="module")
def sampled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "sampled"
    start(quick(EVERY, MEDIA), folder)
    return folder


@pytest.mark.slow
def test_piece_per_interval_is_written_and_judged(sampled: Path) -> None:
    names = sorted(path.name for path in (sampled / "samples").iterdir())
    assert names == ["epoch-0002.mid", "epoch-0004.mid", "train-seed0-000.mid"]
    for name in names:
        assert mido.MidiFile(sampled / "samples" / name).length > 0
    points = of_music(scalars(sampled))
    assert {tuple(step for step, _ in values) for values in points.values()} == {(2, 4)}
    for tag in (
        *("copying/interval_8", "copying/longest_notes", "quality/pitch_class_entropy", "quality/overlap_mean"),
        *("quality/distance", "quality/on_grid", "quality/surprise"),
    ):
        assert tag in points
        ((_, first), (_, second)) = points[f"{tag}/held_out"]
        assert first == second
    assert "quality/note_density/training" in points


@pytest.mark.slow
def test_every_sample_has_the_same_primer_and_random_numbers(sampled: Path, tmp_path: Path) -> None:
    # One more run whose second epoch has the same weights gives the same file, whatever was composed before.
    start(quick("logging.sample_every_epochs=1", "trainer.max_epochs=2"), tmp_path / "run")
    one, two = (folder / "samples" / "epoch-0002.mid" for folder in (sampled, tmp_path / "run"))
    assert one.read_bytes() == two.read_bytes()
    assert one.read_bytes() != (tmp_path / "run" / "samples" / "epoch-0001.mid").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("experiment=best", "model.hidden_size=8", "trainer.max_epochs=2"),
        ("model=gru", "model.num_layers=2", "model.weight_dropout=0.3", "model.variational_dropout=0.2"),
        ("model.inputs=shuffle_note", "data.num_workers=1", "optimizer=adamw"),
    ],
    ids=["lstm", "best", "gru", "shuffled input"],
)
def test_the_training_does_not_notice(overrides: tuple[str, ...], tmp_path: Path) -> None:
    for name, every in (("without", "null"), ("with", "1")):
        start(quick("trainer.max_epochs=3", *overrides, f"logging.sample_every_epochs={every}"), tmp_path / name)
    one, two = weights(tmp_path / "without"), weights(tmp_path / "with")
    assert all(torch.equal(value, two[name]) for name, value in one.items())
    tables = [(tmp_path / name / "metrics.csv").read_bytes() for name in ("without", "with")]
    assert tables[0] == tables[1]
    points = scalars(tmp_path / "with")
    assert scalars(tmp_path / "without") == {tag: points[tag] for tag in points.keys() - of_music(points).keys()}


@pytest.mark.slow
@pytest.mark.parametrize("epoch", [1, pytest.param(2, marks=pytest.mark.nightly)])
def test_resumed_run_ends_with_same_samples_and_record(
    epoch: int, sampled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    update = Progress.update

    def hooked(progress: Progress, now_epoch: int, now_batch: int) -> None:
        update(progress, now_epoch, now_batch)
        if (now_epoch, now_batch) == (epoch, 5):
            monkeypatch.setattr(Progress, "update", update)
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Progress, "update", hooked)
    run = tmp_path / "run"
    with pytest.raises(RunInterrupted):
        start(quick(EVERY, MEDIA), run)
    resume(str(run), [])
    assert scalars(run) == scalars(sampled)
    assert media_steps(run) == media_steps(sampled)
    assert (run / "metrics.csv").read_bytes() == (sampled / "metrics.csv").read_bytes()
    for path in (sampled / "samples").iterdir():
        assert (run / "samples" / path.name).read_bytes() == path.read_bytes()
    summaries = [read_json(folder / "summary.json") for folder in (run, sampled)]
    assert all(summary.pop("seconds") > 0 for summary in summaries)
    assert summaries[0] == summaries[1]


@pytest.mark.slow
def test_sampling_may_change_when_a_run_is_resumed(tmp_path: Path) -> None:
    run = tmp_path / "run"
    start(quick("trainer.max_epochs=1", "logging.sample_every_epochs=null"), run)
    resume(str(run), ["trainer.max_epochs=3", "logging.sample_every_epochs=3", "logging.sample_events=20"])
    assert (run / "samples" / "epoch-0003.mid").exists()
    with (run / "metrics.csv").open() as stream:
        assert len(list(csv.DictReader(stream))) == 3


@pytest.mark.slow
def test_the_summary_holds_the_final_pieces_beside_human_music(sampled: Path) -> None:
    summary = json.loads((sampled / "summary.json").read_text())
    copying, quality = summary["copying"], summary["quality"]
    assert copying["split"] == quality["split"] == "test"
    assert set(copying["composed"]) == set(copying["held_out"])
    assert 0 < copying["held_out"]["interval_8"] <= 1
    (longest,) = copying["longest"]
    assert longest["file"] == "train-seed0-000.mid"
    assert longest["notes"] == copying["composed"]["longest_notes"]
    assert set(quality["overlap"]["held_out"]) == {*quality["divergence"]["held_out"], "mean"}


@pytest.mark.slow
def test_figures_are_those_of_the_written_piece(sampled: Path) -> None:
    # So small a network holds notes too long: what it draws is not what is heard.
    player = Composer.load(sampled)
    reference, _ = of_run(sampled)
    (composition,) = player.compose(player.config.sampling, player.config.seed)
    added = len(composition.written.events) - len(composition.piece.events)
    assert added > 0
    composed = judge([composition], reference).quality.composed
    assert composed["polyphony"] == pytest.approx(polyphony(notes_of(composition.written)))
    assert composed["polyphony"] < polyphony(notes_of(composition.piece))
    assert composed["released_per_500"] == pytest.approx(500 * added / len(composition.piece.events))
    summary = json.loads((sampled / "summary.json").read_text())
    assert summary["quality"]["composed"] == composed


@pytest.mark.slow
def test_noise_is_said_in_the_log_and_at_the_end(sampled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start(quick("logging.sample_every_epochs=1", "trainer.max_epochs=1"), sampled.parent / "noise")
    said = capsys.readouterr()
    assert "epoch 1: what it composes is noise: its notes carry " in said.err
    assert "\nwarning      what it composes is noise: its notes carry " in said.out
    assert re.search(
        r" quality distance of the composed pieces to human music, held out and trained on: \d\.\d ",
        " ".join(said.out.split()),
    )


@pytest.mark.slow
def test_a_collapse_is_said_in_the_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # One epoch in, the likeliest event is always the same.
    config = quick("trainer.max_epochs=1", "logging.sample_every_epochs=1", "sampling.top_k=1")
    summary = start(config, tmp_path / "run")
    assert "epoch 1: what it composes has collapsed: " in capsys.readouterr().err
    assert summary["quality"]["collapse"]


def test_what_a_killed_write_left_among_the_samples_is_removed(tmp_path: Path) -> None:
    left = tmp_path / "samples" / ".epoch-0002.mid.17.tmp"
    left.parent.mkdir()
    left.write_bytes(b"half")
    with locked(tmp_path):
        assert not left.exists()


# composer copying


@pytest.mark.slow
def test_the_command_tells_what_a_file_copies_and_writes_a_page(
    sampled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_midi(tmp_path / "the piece.mid", prelude_piece(TimeUnit.seconds))
    assert cli.run("copying", ["the piece.mid", f"run={sampled}"]) == 0
    out = capsys.readouterr().out
    assert "8 notes, transposed or not" in out
    assert "held-out music, test (held-out block)" in out
    folder = tmp_path / "outputs" / "copying" / next((tmp_path / "outputs" / "copying").iterdir()).name
    found = json.loads((folder / "copying.json").read_text())
    first = found["passages"][0]
    assert (first["first"], first["source_start"], first["transposition"]) == (0, 0, 0)
    assert found["composed"]["longest_notes"] == max(passage["notes"] for passage in found["passages"])
    assert f"  at 0.0 s: {first['notes']} notes, " in out
    assert '"passages":[{"start":0.0' in (folder / "player.html").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["none.mid", "run=RUN"], "none.mid"),
        (["piece.mid", "run=/nope"], "run=/nope: no such run directory"),
        (["piece.mid", "run=."], "config.yaml: not found, so this is not a run directory"),
        (["piece.mid"], "run is missing: add run=RUN_DIR, or run=pretrained"),
    ],
)
def test_what_cannot_be_looked_up_is_one_line(
    arguments: list[str],
    words: str,
    sampled: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write_midi(tmp_path / "piece.mid", prelude_piece(TimeUnit.seconds))
    assert cli.run("copying", [argument.replace("RUN", str(sampled)) for argument in arguments]) in (1, 2)
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1
