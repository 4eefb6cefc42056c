"""The command line: what it says, how it ends, and that a mistake costs one line and leaves nothing behind."""

import contextlib
import io
import json
import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import mido
import pytest

import composer.commands.train
from composer import cli
from composer.config import compose as configs
from composer.config import keys, run_file
from composer.config.commands import GenerateConfig
from composer.config.training import TrainConfig
from composer.errors import ComposerError, RunInterrupted
from composer.sweeps.jobs import OBJECTIVE

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current folder; what commands change for their whole process is put back."""
    monkeypatch.chdir(tmp_path)
    for name in ("HYDRA_FULL_ERROR", "COMPOSER_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    with contained_logging():
        yield tmp_path


@contextlib.contextmanager
def contained_logging() -> Iterator[None]:
    """Hydra gives the root logger a file and the standard output of the moment."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        for handler in root.handlers:
            if handler not in handlers:
                handler.close()
        root.handlers[:] = handlers
        root.setLevel(level)


def status_of(arguments: list[str]) -> Any:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    return caught.value.code


def python(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, timeout=120)


# Usage and exit statuses


@pytest.mark.parametrize(("arguments", "status"), [([], 2), (["--help"], 0), (["-h"], 0), (["help"], 0)])
def test_usage_names_the_commands(arguments: list[str], status: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of(arguments) == status
    out, err = capsys.readouterr()
    assert err == ""
    assert out.startswith("usage: composer COMMAND")
    assert all(f"\n  {name} " in out for name in cli.COMMANDS)


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_output_to_a_closed_pipe_ends_quietly(argument: str, folder: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "composer", argument]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, stdout=writing, stderr=subprocess.PIPE, timeout=60)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of(["--version"]) == 0
    assert capsys.readouterr().out == f"composer {composer.__version__}\n"


def test_a_misspelt_command_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of(["trian"]) == 2
    assert capsys.readouterr().err == "composer: there is no command trian; did you mean train?\n"


@pytest.mark.parametrize("command", ["zzz", "--verbose", ""])
def test_an_unknown_command_names_the_known_ones(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of([command, "seed=1"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    commands = "train, generate, evaluate, compare, explore, export, report, render, copying, explain, live, new"
    assert err == f"composer: there is no command {command}; there are {commands}\n"


@pytest.mark.slow
@pytest.mark.parametrize("command", ["train", "generate", "explore", "report", "render", "copying", "live", "new"])
def test_help_of_a_command_shows_how_to_use_it(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of([command, "--help"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.startswith(f"composer {command}: ")
    assert f"\n  composer {command} " in out
    if command == "train":
        text = " ".join(out.split())
        assert " regularizer elastic_net, l1, l2, none, proximal_l1 " in text
        ablations = (
            "augmentation, bar_position, channels, data_size, dropout, embedding, heads, hidden_size, l1, l1_path, "
            "label_smoothing, model, num_layers, regularizer, search, split, stateful, supervision, "
            "variational_dropout, weight_dropout, window_size"
        )
        assert f" ablation {ablations} " in text


@pytest.mark.slow
def test_cfg_job_shows_every_key_and_runs_nothing(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    assert cli.run("train", ["--cfg", "job", "seed=7", "regularizer=l2"]) == 0
    shown = run_file.parse_config(capsys.readouterr().out, "stdout")
    assert (shown.seed, shown.regularizer.name) == (7, "l2")
    assert shown == configs.compose("seed=7", "regularizer=l2")
    assert cli.run("generate", ["--cfg", "job"]) == 0
    printed = {line.split(":")[0].strip("'") for line in capsys.readouterr().out.splitlines()}
    assert printed == set(keys.schema_keys(GenerateConfig))
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("status", [1, 130, 143])
def test_the_exit_status_is_the_errors(
    status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(arguments: list[str]) -> None:
        raise ComposerError("no") if status == 1 else RunInterrupted("no", status - 128)

    monkeypatch.setitem(cli.COMMANDS, "train", (fail, ""))
    assert status_of(["train"]) == status
    assert capsys.readouterr().err == "composer train: no\n"


def test_ctrl_c_before_a_run_has_begun_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(arguments: list[str]) -> None:
        raise KeyboardInterrupt

    monkeypatch.setitem(cli.COMMANDS, "train", (interrupted, ""))
    assert cli.run("train", []) == 130
    assert capsys.readouterr().err == "composer train: stopped\n"


def test_a_warning_is_one_line_without_a_place_in_the_source(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def warn(arguments: list[str]) -> None:
        warnings.simplefilter("always")
        warnings.warn("the file is odd", UserWarning, stacklevel=1)

    monkeypatch.setitem(cli.COMMANDS, "train", (warn, ""))
    with warnings.catch_warnings():
        assert cli.run("train", []) == 0
    assert capsys.readouterr().err == "warning: the file is odd\n"


# Mistakes

MISTAKES = [
    # command, arguments, exit status, what the line must hold
    ("train", ["foo"], 2, ["foo: not understood; write key=value"]),
    ("train", ["model.hidden_sise=3"], 1, ["model.hidden_sise=3: there is no key", "did you mean model.hidden_size"]),
    ("train", ["+model.l1_lamda=1"], 1, ["did you mean regularizer.weight"]),
    ("train", ["-m", "+model.l1_lamda=1,2"], 1, ["did you mean regularizer.weight"]),
    ("train", ["regularizer=l3"], 1, ["regularizer=l3", "elastic_net, l1, l2, none, proximal_l1"]),
    (
        "train",
        ["experiment=articel"],
        1,
        ["experiment=articel", "did you mean article?"],
    ),
    ("train", ["model=null"], 1, ["model=null: model is one of attentive_lstm, gru, lstm, transformer"]),
    ("train", ["experiment=null"], 1, ["experiment is one of article, article_last_tenth, article_leak"]),
    ("train", ["-m", "regularizer=l1,null"], 1, ["regularizer is one of"]),
    ("train", ["seed=-1"], 1, ["seed=-1: must be from 0 to 4294967295"]),
    ("train", ["seed=many"], 1, ["seed=many: must be an integer"]),
    ("train", ["model.dropout=1"], 1, ["model.dropout=1.0: must be at least 0 and less than 1"]),
    ("train", ["model={hidden: 3}"], 1, ["Key 'hidden' not in 'RecurrentConfig'"]),
    ("train", ["model.hidden_size=1,2"], 1, ["model.hidden_size=1,2", "--multirun"]),
    ("train", ["name=../up", "seed=-1"], 1, ["name=../up: must be"]),
    ("train", ["name=..", "trainer.max_epochs=1"], 1, ["name=..: must be"]),
    ("train", ["name=a/b/c"], 1, ["name=a/b/c: must be"]),
    ("train", ["~model"], 2, ["model is missing"]),
    ("train", ["data=midi"], 1, ["data.path=null: must be a MIDI file or a folder"]),
    ("train", ["data.path=x.mid"], 1, ["must be used with data=midi"]),
    ("train", ["data=midi", "data.path=/nope.mid"], 1, ["/nope.mid", "no such file or folder"]),
    ("train", ["data.window_size=2000"], 1, ["data.window_size=2000"]),
    ("train", ["hydra/launcher=nope"], 1, ["hydra/launcher=nope", "joblib"]),
    ("train", ["resume=/nope"], 1, ["resume=/nope: no such run directory"]),
    ("train", ["resume=/nope", "-m"], 2, ["-m: not used with resume=/nope"]),
    (
        "train",
        ["++resume=/nope", "trainer.max_epochs=1"],
        2,
        ["resume=/nope: only composer train resume=RUN_DIR resumes a run"],
    ),
    ("evaluate", [], 2, ["run is missing: add run=RUN_DIR, or run=pretrained"]),
    ("generate", ["foo"], 1, ["run=foo: no such run directory or checkpoint file"]),
    ("generate", ["run=/nope"], 1, ["run=/nope: no such run directory or checkpoint file"]),
    ("generate", ["run=."], 1, ["run=.: has no checkpoints"]),
    ("generate", ["run=/nope", "n=0"], 1, ["n=0: must be at least 1"]),
    ("generate", ["run=/nope", "seconds=inf"], 1, ["seconds=inf: must be null, or above 0 and at most 86400 (a day)"]),
    ("generate", ["run=/nope", "sampling.n=2"], 1, ["did you mean n"]),
    ("generate", ["run=/nope", "mode=statefull"], 1, ["statefull", "[window, stateful]"]),
    ("generate", ["run=/nope", "method=beam", "n=9"], 1, ["n=9: must be at most beams=8 with method=beam"]),
    ("generate", ["run=/nope", "note_top_k=0"], 1, ["note_top_k=0: must be null or at least 1"]),
    ("generate", ["run=/nope", "continue_from=x.mid", "primer=3"], 1, ["used without primer and include_primer"]),
    ("live", ["run=/nope", "n=2"], 1, ["n=2: must be 1: a port plays one piece"]),
    ("live", ["run=/nope", "method=beam"], 1, ["method=beam: must be sample or greedy"]),
    ("generate", ["run=/nope", "data=midi"], 1, ["there is no key data"]),
    ("explore", ["data=midi", "data.path=/nope.mid"], 1, ["/nope.mid: no such file or folder"]),
    ("explore", ["data=mdi"], 1, ["data=mdi", "did you mean midi?"]),
    ("explore", ["model=lstm"], 1, ["there is no key model"]),
    ("explore", ["data.splitt=blocked"], 1, ["did you mean data.split"]),
    ("explore", ["seed=-1"], 1, ["seed=-1: must be from 0 to 4294967295"]),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "arguments", "status", "words"), MISTAKES, ids=[" ".join([m[0], *m[1]]) for m in MISTAKES]
)
def test_a_mistake_gets_one_line_and_leaves_nothing(
    command: str, arguments: list[str], status: int, words: list[str], capfd: pytest.CaptureFixture[str], folder: Path
) -> None:
    before = sorted(folder.parent.iterdir())
    assert cli.run(command, arguments) == status
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith(f"composer {command}: ")
    assert err.count("\n") == 1
    assert err.endswith("\n")
    assert all(word in err for word in words), err
    assert list(folder.rglob("*")) == []
    assert sorted(folder.parent.iterdir()) == before
    assert "HYDRA_FULL_ERROR" not in os.environ


def test_a_misspelt_key_in_a_users_own_experiment_is_one_line(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    mine = folder / "mine" / "experiment"
    mine.mkdir(parents=True)
    for name, body in [("good", "model:\n  hidden_size: 3\n"), ("bad", "model:\n  hiden_size: 3\n")]:
        (mine / f"{name}.yaml").write_text(f"# @package _global_\n{body}")
    assert cli.run("train", ["--config-dir", "mine", "experiment=good", "--cfg", "job"]) == 0
    assert "  hidden_size: 3\n" in capsys.readouterr().out
    assert cli.run("train", ["--config-dir", "mine", "experiment=bad"]) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "hiden_size" in err
    assert not (folder / "outputs").exists()


def test_error_in_current_folder_removes_no_user_files(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    (folder / ".git").mkdir()
    (folder / "notes.log").write_text("mine")
    assert cli.run("train", ["hydra.run.dir=.", "seed=-1"]) == 1
    assert "seed=-1" in capsys.readouterr().err
    assert {".git", "notes.log"} <= {path.name for path in folder.iterdir()}


def test_a_developer_gets_the_whole_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COMPOSER_DEBUG", "1")
    assert cli.run("train", ["regularizer=l3"]) == 1
    first, *rest = capsys.readouterr().err.splitlines()
    assert first.startswith("composer train: ")
    assert "Traceback (most recent call last):" in rest

    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(Exception, match="regularizer/l3"):
        cli.run("train", ["regularizer=l3"])
    assert os.environ["HYDRA_FULL_ERROR"] == "1"


def test_internal_error_is_not_shown_as_a_user_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(config: TrainConfig, folder: Path) -> dict[str, Any]:
        raise ValueError("a bug")

    monkeypatch.setattr(composer.commands.train, "start", broken)
    with pytest.raises(ValueError, match="a bug"):
        cli.run("train", [])


# Starting runs. Where training itself does not matter, a stand-in writes a file, as a run would.


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[TrainConfig, Path]]:
    calls: list[tuple[TrainConfig, Path]] = []

    def start(config: TrainConfig, folder: Path) -> dict[str, Any]:
        calls.append((config, folder))
        (folder / "config.yaml").write_text(run_file.to_yaml(config))
        return {OBJECTIVE: 0.5}

    monkeypatch.setattr(composer.commands.train, "start", start)
    return calls


@pytest.fixture
def stopped_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stopped(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> "Stopped":
            return cls(2026, 1, 2, 3, 4, 5)

    monkeypatch.setattr(configs, "datetime", Stopped)


@pytest.mark.slow
def test_two_runs_of_the_same_second_have_different_folders(
    started: list[tuple[TrainConfig, Path]], stopped_clock: None, folder: Path
) -> None:
    assert cli.run("train", ["seed=3"]) == 0
    assert cli.run("train", ["seed=3"]) == 0
    one, two = [path for _, path in started]
    assert one != two
    for path in (one, two):
        assert path.parent == folder / "outputs" / "train"
        assert path.name.startswith("2026-01-02_03-04-05_")
        assert run_file.read_config(path / "config.yaml").seed == 3


def test_an_interrupted_run_is_one_line(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    seeds = []

    def start(config: TrainConfig, folder: Path) -> dict[str, Any]:
        seeds.append(config.seed)
        (folder / "config.yaml").write_text("begun")
        raise RunInterrupted("SIGTERM: stopped, and saved", 15)

    monkeypatch.setattr(composer.commands.train, "start", start)
    assert cli.run("train", ["seed=4"]) == 143
    assert capfd.readouterr().err == "composer train: SIGTERM: stopped, and saved\n"
    assert seeds == [4]


def test_resume_hands_over_the_folder_and_the_other_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("some where/a=b").mkdir(parents=True)
    calls: list[Any] = []
    monkeypatch.setattr(composer.commands.train, "resume", lambda run, arguments: calls.append((run, arguments)))
    assert cli.run("train", ["trainer.max_epochs=9", "resume=some where/a=b", "sampling.n=2"]) == 0
    assert calls == [("some where/a=b", ["trainer.max_epochs=9", "sampling.n=2"])]


# A real sweep, and composing with one of its runs


def write_tune(path: Path) -> None:
    track = mido.MidiTrack()
    for number in range(24):
        pitch = 60 + number % 5
        track.append(mido.Message("note_on", note=pitch, velocity=50 + number % 3, time=0))
        track.append(mido.Message("note_off", note=pitch, velocity=0, time=120))
    file = mido.MidiFile(ticks_per_beat=480)
    file.tracks.append(track)
    file.save(path)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, str, Path]:
    """Two jobs, the first of which cannot be: exit status, standard error, and the current folder of the sweep."""
    folder = tmp_path_factory.mktemp("sweep")
    write_tune(folder / "tune.mid")
    arguments = [
        "data=midi",
        "data.path=tune.mid",
        "model.hidden_size=4",
        "data.batch_size=16",
        "sampling.events=5",
        "sampling_grid.pieces=0",
        "logging.sample_media=false",
    ]
    arguments += ["trainer.max_epochs=1", "trainer.threads=1", "trainer.progress_bar=false", "data.window_size=500,5"]
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.chdir(folder),
        contained_logging(),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(warnings, "showwarning", warnings.showwarning)
        status = cli.run("train", ["-m", "name=sweep", *arguments])
    return status, err.getvalue(), folder


@pytest.mark.slow
def test_a_job_that_fails_does_not_stop_the_others(sweep: tuple[int, str, Path]) -> None:
    status, err, folder = sweep
    (made,) = (folder / "outputs" / "sweep").iterdir()
    failed, good = made / "data.window_size-500", made / "data.window_size-5"
    assert run_file.read_config(good / "config.yaml").model.hidden_size == 4
    assert json.loads((good / "summary.json").read_text())["status"] == "completed"
    assert not (failed / "config.yaml").exists()
    log = (failed / "train.log").read_text()
    assert "too few for one window" in log
    assert "Traceback (most recent call last):" in log

    assert status == 1
    assert err.startswith("composer train: 1 of 2 jobs did not complete")
    assert "Traceback" not in err


@pytest.mark.slow
def test_generate_composes_with_a_run_of_a_sweep(
    sweep: tuple[int, str, Path], capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    (run,) = (sweep[2] / "outputs" / "sweep").glob("*/data.window_size-5")
    assert cli.run("generate", [f"run={run}", "n=2", "seed=3", "events=8"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    *lines, drawn = out.splitlines()
    assert drawn.startswith("sampled at temperature ")
    paths = [Path(line.split("  ")[0]) for line in lines]
    assert [path.name for path in paths] == ["sweep-seed3-000.mid", "sweep-seed3-001.mid"]
    assert all(path.parent.parent == Path("outputs", "generate") for path in paths)
    assert sorted(path for path in folder.rglob("*") if path.is_file()) == [folder / path for path in paths]

    # Hydra itself leaves nothing beside the pieces, and a folder that is given is used.
    assert cli.run("generate", [f"run={run}", "events=8", "output=pieces"]) == 0
    assert capsys.readouterr().out.startswith("pieces/sweep-seed0-000.mid  8 events")
    assert {path.name for path in folder.iterdir()} == {"outputs", "pieces"}


def test_generate_names_the_runs_that_failed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run("generate", ["-m", "run=/nope,/none"]) == 1
    assert capsys.readouterr().err == (
        "composer generate: 2 of 2 jobs failed\n"
        "  run=/nope: run=/nope: no such run directory or checkpoint file\n"
        "  run=/none: run=/none: no such run directory or checkpoint file\n"
    )


# In a process of its own

QUICK = """
import sys
from composer import cli

for arguments in ([], ["--help"], ["--version"], ["train", "--help"], ["generate", "--help"], ["train", "--cfg", "job"],
                  ["generate", "--cfg", "job"], ["train", "regularizer=l3"], ["train", "modell=3"], ["evaluate"],
                  ["new", "--help"], ["new", "lab"]):
    try:
        cli.main(arguments)
    except SystemExit:
        continue
    sys.exit("main did not exit")
print(sorted({"torch", "pytorch_lightning", "tensorboard", "numpy", "mido"} & set(sys.modules)))
"""


@pytest.mark.slow
def test_help_and_mistakes_do_not_wait_for_torch(folder: Path) -> None:
    done = python("-c", QUICK, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
    assert "composer train: train a network" in done.stdout
    assert done.stderr.count("\n") == 3
    assert [path.name for path in folder.iterdir()] == ["lab"]


@pytest.mark.slow
@pytest.mark.parametrize("script", ["train", "generate", "explore", "report", "render", "copying"])
def test_a_script_works_from_any_folder(script: str, folder: Path) -> None:
    done = python(str(ROOT / "scripts" / f"{script}.py"), "--help", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"composer {script}: ")


@pytest.mark.slow
def test_a_mistake_of_a_real_command_ends_in_its_status(folder: Path) -> None:
    done = python("-m", "composer.cli", "train", "seed=-1", cwd=folder)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "composer train: seed=-1: must be from 0 to 4294967295\n"
    assert list(folder.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        ([], "outputs/train/"),
        (["hydra.run.dir=outputs/mine"], "outputs"),
        (["-m", "seed=0,1"], "outputs/train/sweep-"),
    ],
)
def test_a_run_directory_that_cannot_be_made_is_one_line(
    arguments: list[str], path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("outputs").write_text("a file")
    assert cli.run("train", [*arguments, "trainer.max_epochs=1"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("composer train: ")
    assert path in err
    assert "cannot be written (" in err
    assert err.count("\n") == 1
    assert Path("outputs").read_text() == "a file"
