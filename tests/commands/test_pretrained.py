"""The run that comes with the package: it fits today's schema, composes at once, and is never written to."""

import os
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import mido
import numpy as np
import pytest

import composer
from composer import cli
from composer.api.runs import Run
from composer.composing.composer import Composer
from composer.config import run_file
from composer.config.compose import compose
from composer.errors import ComposerError
from composer.files import read_json
from composer.runs import checkpoint as ckpt
from composer.runs.layout import CONFIG, MANIFEST, PRETRAINED, PRETRAINED_DIR, SUMMARY, check_config, run_path
from scripts import make_pretrained


def state(folder: Path) -> dict[str, int]:
    return {path.relative_to(folder).as_posix(): path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.fixture(autouse=True)
def unchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Work in an empty folder; the package is as before afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    before = state(PRETRAINED_DIR)
    yield
    assert state(PRETRAINED_DIR) == before


def test_pretrained_run_is_small_and_whole() -> None:
    files = {path.relative_to(PRETRAINED_DIR).as_posix() for path in PRETRAINED_DIR.rglob("*") if path.is_file()}
    assert files == set(make_pretrained.FILES)
    assert sum(path.stat().st_size for path in PRETRAINED_DIR.rglob("*") if path.is_file()) < make_pretrained.MAX_BYTES
    assert read_json(PRETRAINED_DIR / SUMMARY)["status"] == "completed"
    check_config(PRETRAINED_DIR)
    # Nothing of the machine that made it.
    text = "".join(path.read_text() for path in PRETRAINED_DIR.iterdir() if path.is_file())
    assert not set(make_pretrained._LEFT_OUT) & set(read_json(PRETRAINED_DIR / MANIFEST))
    assert "/tmp" not in text
    assert "/home" not in text


def test_pretrained_config_is_that_of_the_script_today() -> None:
    stored = run_file.read_config(PRETRAINED_DIR / CONFIG)
    assert run_file.differing_keys(stored, compose(*make_pretrained.OVERRIDES)) == []


def test_pretrained_checkpoint_holds_weights_only() -> None:
    values = ckpt.load(PRETRAINED_DIR / "checkpoints" / "best.ckpt")
    assert "optimizer_states" not in values
    assert {str(weights.dtype) for weights in ckpt.model_state(values).values()} == {"torch.float32"}


def test_pretrained_composes_a_whole_piece_on_the_beat() -> None:
    began = time.perf_counter()
    run = composer.load(PRETRAINED)
    assert isinstance(run, Run)
    run.generate(events=100, seed=3).save("piece.mid")
    # Two seconds on a free core; the machine may be busy.
    assert time.perf_counter() - began < 20
    events = mido.MidiFile("piece.mid")
    sounding: set[int] = set()
    onsets = []
    ticks = 0
    for message in mido.merge_tracks(events.tracks):
        ticks += message.time
        if message.type == "note_on" and message.velocity:
            sounding.add(message.note)
            onsets.append(ticks / events.ticks_per_beat)
        elif message.type in ("note_on", "note_off"):
            sounding.discard(message.note)
    assert len(onsets) > 30
    assert sounding == set()
    twelfths = np.array(onsets) * 12
    assert np.abs(twelfths - twelfths.round()).max() < 0.1


@pytest.mark.slow
def test_generate_without_a_run_composes_and_says_so(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert cli.run("generate", ["events=30"]) == 0
    line, drawn, network, own = capsys.readouterr().out.splitlines()
    assert Path(line.split("  ")[0]).name == "pretrained-seed0-000.mid"
    assert drawn.startswith("sampled at temperature ")
    assert network == "pretrained is a small run on J. S. Bach: Prelude in C major, BWV 846"
    assert own == "your own: composer train data=midi data.path=my.mid, then composer generate RUN_DIR"

    # The word, and the same piece.
    assert cli.run("generate", ["pretrained", "events=30", "output=again"]) == 0
    (first,) = tmp_path.glob("outputs/generate/*/*.mid")
    assert (tmp_path / "again" / first.name).read_bytes() == first.read_bytes()


@pytest.mark.slow
def test_other_commands_take_the_pretrained_run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert cli.run("evaluate", ["pretrained", "samples=0", "figures=false", "context.windows=0"]) == 0
    assert "val (shuffled)" in capsys.readouterr().out
    assert cli.run("report", ["pretrained", "temperatures=[]", "events=40"]) == 0
    assert capsys.readouterr().out == "page         outputs/report/pretrained.html\n"
    assert "BWV 846" in (tmp_path / "outputs" / "report" / "pretrained.html").read_text()
    assert cli.run("export", ["pretrained", "output=mine.safetensors"]) == 0
    composed = Composer.load("mine.safetensors").generate(events=40, seed=1)
    Composer.load(PRETRAINED).generate(events=40, seed=1).save("a.mid")
    composed.save("b.mid")
    assert Path("a.mid").read_bytes() == Path("b.mid").read_bytes()
    assert cli.run("copying", ["a.mid", "pretrained", "output=copied"]) == 0
    assert "8 notes, transposed or not" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("run", [PRETRAINED, str(PRETRAINED_DIR)])
def test_resuming_the_pretrained_run_is_refused(run: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert cli.run("train", [f"resume={run}", "trainer.max_epochs=99"]) == 1
    err = capsys.readouterr().err
    assert err == (
        f"composer train: resume={run}: the run that comes with composer has no training to go on with; train a run of "
        "your own: composer train\n"
    )
    with pytest.raises(ComposerError, match="has no training to go on with"):
        composer.train([f"resume={run}"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_last_weights_of_the_pretrained_run_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run("generate", ["checkpoint=last"]) == 1
    assert "has no last.ckpt, only best.ckpt: compose with checkpoint=best" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.filterwarnings("default:pretrained is the run")
def test_word_pretrained_is_not_a_folder_of_that_name(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / PRETRAINED).mkdir()
    assert run_path(PRETRAINED) == PRETRAINED_DIR
    assert run_path(Path(PRETRAINED)) == run_path(f"{PRETRAINED}/") == run_path(f"./{PRETRAINED}") == Path(PRETRAINED)
    assert cli.run("generate", ["events=10"]) == 0
    assert capsys.readouterr().err == (
        "warning: pretrained is the run that comes with composer; your folder is ./pretrained\n"
    )
    assert cli.run("generate", ["./pretrained"]) == 1
    assert "has no checkpoints" in capsys.readouterr().err


@pytest.mark.nightly
def test_script_makes_the_same_figures_again(tmp_path: Path) -> None:
    command = [sys.executable, make_pretrained.__file__, "--output", str(tmp_path / "made")]
    subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL)
    made, kept = (read_json(folder / SUMMARY)["best"] for folder in (tmp_path / "made", PRETRAINED_DIR))
    assert made["loss/val"] == pytest.approx(kept["loss/val"], rel=0.1)
