"""Scoring a run, and sharing its weights."""

import dataclasses
import json
import re
from pathlib import Path

import mido
import numpy as np
import pytest

import composer
from composer.commands.copying import of_run
from composer.commands.evaluate import evaluate, run
from composer.commands.export import run as export
from composer.commands.train import start
from composer.composing.composer import Composer
from composer.config.compose import compose
from composer.errors import ComposerError

QUICK = (
    "model.hidden_size=8",
    "data.window_size=10",
    "data.batch_size=128",
    "trainer.max_epochs=2",
    "trainer.threads=1",
    "trainer.progress_bar=false",
    "sampling.events=5",
    "sampling_grid.pieces=0",
    "logging.sample_media=false",
)


def write_scale(path: Path, low: int) -> Path:
    file = mido.MidiFile(type=0, ticks_per_beat=480)
    track = file.add_track()
    for k in range(40):
        track.append(mido.Message("note_on", note=low + k % 12, velocity=64, time=0))
        track.append(mido.Message("note_on", note=low + k % 12, velocity=0, time=120))
    file.save(path)
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    piece = write_scale(folder / "piece.mid", 60)
    start(compose(*QUICK, "data=midi", f"data.path={piece}"), folder / "run")
    return folder / "run"


@pytest.mark.slow
def test_a_run_scores_as_it_did_when_it_was_trained(trained: Path, tmp_path: Path) -> None:
    path = run(compose(f"run={trained}", "checkpoint=last", f"output={tmp_path}", command="evaluate"))
    results, summary = json.loads(path.read_text()), json.loads((trained / "summary.json").read_text())
    assert results["same_data"]
    for key in ("loss/val", "loss/test", "accuracy/val", "accuracy_joint/test"):
        assert results[key] == pytest.approx(summary[key])
    assert results["windows_test"] == summary["windows_test"]
    assert results["baselines"] == summary["baselines"]


@pytest.mark.slow
def test_what_a_run_composes_is_held_against_its_music(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["checkpoint=last", "samples=2", "figures=false", "context.windows=0", f"output={tmp_path}"]
    other = write_scale(tmp_path / "other.mid", 48)
    found = []
    for more in ([], [f"data.path={other}"]):
        path = run(compose(f"run={trained}", *asked, *more, command="evaluate"))
        found.append(json.loads(path.read_text()))
        out = capsys.readouterr().out
        assert "of its runs of 8 notes occur in the training music" in out
        assert re.search(r"^quality +composed +training( +held-out)?$", out, re.MULTILINE)
        assert re.search(r"^notes on a beat of the bar \(%\) +\d+ +\d+", out, re.MULTILINE)
    assert found[0]["copying"] == found[1]["copying"]
    assert found[0]["quality"] == found[1]["quality"]
    assert len(found[0]["copying"]["longest"]) == len(found[0]["copying"]["pieces"]) == 2
    one, other = found[0]["copying"]["pieces"]
    assert found[0]["copying"]["composed"]["notes"] == (one["notes"] + other["notes"]) / 2
    # As the pieces of `composer generate` with the run's own sampling are measured.
    player = Composer.load(trained, "last")
    sampling = dataclasses.replace(player.config.sampling, n=2)
    reference, _ = of_run(trained)
    pieces = [composition.written for composition in player.compose(sampling, player.config.seed)]
    assert found[0]["copying"]["composed"] == reference.copying(pieces).composed
    assert found[0]["quality"]["distance"] == reference.distance(pieces)
    assert evaluate(player)["copying"] is None


def test_a_long_scoring_says_how_much_is_left(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate(Composer.load(trained))
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("composer.progress._PATIENCE", 0.0)
    evaluate(Composer.load(trained))
    assert "scoring val: 1 of 1 batches, about 0 s left" in capsys.readouterr().err


def test_changed_training_data_is_warned_of(trained: Path) -> None:
    piece = trained.parent / "piece.mid"
    original = piece.read_bytes()
    write_scale(piece, 61)
    try:
        with pytest.warns(UserWarning, match=r"piece\.mid: its content is not what this run was trained on"):
            results = evaluate(Composer.load(trained))
    finally:
        piece.write_bytes(original)
    assert not results["same_data"]
    assert results["baselines"]["markov"]["accuracy/val"] > 0


def test_other_files_are_scored_and_training_data_recognised(trained: Path, tmp_path: Path) -> None:
    other = write_scale(tmp_path / "other.mid", 48)
    results = evaluate(Composer.load(trained), str(other))
    assert results["windows_data"] == 80 - 10
    assert results["loss/data"] > 0
    assert results["baselines"]["nearest"]["windows_data"] == 80 - 10
    # An octave lower no note is one that was trained on, and the velocities and times are alike.
    assert results["baselines"]["majority"]["accuracy_note/data"] == 0
    assert results["baselines"]["majority"]["accuracy_velocity/data"] == 0.5
    with pytest.warns(UserWarning, match="is the run's training data"):
        assert evaluate(Composer.load(trained), str(trained.parent / "piece.mid"))["same_data"]


@pytest.mark.slow
def test_missing_training_data_leaves_out_baselines(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other, piece = write_scale(tmp_path / "other.mid", 48), trained.parent / "piece.mid"
    config = compose(f"run={trained}", f"data.path={other}", f"output={tmp_path}", command="evaluate")
    original = piece.read_bytes()
    try:
        write_scale(piece, 61)
        with pytest.warns(UserWarning, match=r"^no baselines and no copying, .*piece\.mid: its content is not what"):
            path = run(config)
        piece.unlink()
        with pytest.warns(UserWarning, match=r"^no baselines and no copying, which need the run's .*piece\.mid"):
            run(config)
    finally:
        piece.write_bytes(original)
    assert json.loads(path.read_text())["baselines"] == {}
    line = next(line for line in capsys.readouterr().out.splitlines() if " data " in line)
    assert line.split()[-1] == "-"


def test_exported_weights_compose_the_same_piece(trained: Path, tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    file = tmp_path / "shared.safetensors"
    export(compose(f"run={trained}", f"output={file}", command="export"))
    expected = composer.load(trained).generate(events=30, seed=2)
    assert np.array_equal(composer.load(file).generate(events=30, seed=2).classes, expected.classes)


@pytest.mark.parametrize("content", [b"", b"\x08\0\0\0\0\0\0\0{}      ", b"x" * 100])
def test_a_damaged_or_foreign_safetensors_file_gets_one_line(tmp_path: Path, content: bytes) -> None:
    pytest.importorskip("safetensors")
    file = tmp_path / "bad.safetensors"
    file.write_bytes(content)
    with pytest.raises(ComposerError, match=r"bad\.safetensors: ") as error:
        composer.load(file)
    assert "\n" not in str(error.value)


def test_an_export_is_named_safetensors() -> None:
    with pytest.raises(ComposerError, match=r"^output=weights\.bin: must be a file name ending in \.safetensors"):
        compose("run=x", "output=weights.bin", command="export")
