"""Sweeps with the user's own configs, and values that are refused before the first job."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from composer import cli
from composer.commands import train
from composer.config import run_file
from composer.config.compose import compose
from composer.errors import ComposerError
from composer.files import read_json, write_json
from composer.runs import code as source
from composer.sweeps import jobs as sweep
from composer.sweeps import processes
from composer.sweeps.jobs import OBJECTIVE

# The stand-ins leave a summary and nothing else.
pytestmark = pytest.mark.filterwarnings("ignore:not compared", "ignore:.*left out of TensorBoard.*")

EXPERIMENT = """# @package _global_
defaults:
  - override /model: gru
name: mine
model:
  hidden_size: 4
  num_layers: 1
trainer:
  max_epochs: 1
  threads: 1
  progress_bar: false
logging:
  sample_media: false
sampling:
  events: 20
sampling_grid:
  pieces: 0
"""
ABLATION = """# @package _global_
name: width
hydra:
  mode: MULTIRUN
  sweeper:
    params:
      model.hidden_size: 4,6
      seed: 0
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the user's with an experiment and an ablation."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "mine"
    for file, text in (("experiment/mine.yaml", EXPERIMENT), ("ablation/width.yaml", ABLATION)):
        (folder / file).parent.mkdir(parents=True)
        (folder / file).write_text(text)
    return folder


@pytest.fixture
def jobs_seen(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Replaces the training by a process that ends at once; the command lines that jobs would have had."""
    seen: list[list[str]] = []
    real: Callable[[sweep.Job, Path], list[str]] = processes._command

    def command(job: sweep.Job, folder: Path) -> list[str]:
        seen.append(real(job, folder))
        summary = {"status": "completed", "split": "shuffled", "loss/val": 1.5, "accuracy/val": 0.25}
        body = f"open({str(job.folder / 'summary.json')!r}, 'w').write({json.dumps(summary)!r})"
        return [sys.executable, "-S", "-c", body]

    monkeypatch.setattr(processes, "_command", command)
    return seen


def only(folder: Path, name: str) -> Path:
    (found,) = (folder / "outputs" / name).glob("sweep-*")
    return found


@pytest.mark.parametrize("way", ["--config-dir", "hydra.searchpath"])
def test_jobs_compose_from_frozen_copies_of_own_folders(
    mine: Path, jobs_seen: list[list[str]], tmp_path: Path, way: str
) -> None:
    given = ["--config-dir", "mine"] if way == "--config-dir" else [f"hydra.searchpath=[file://{mine}]"]
    cli.run("train", ["-m", *given, "experiment=mine", "seed=0,1"])
    folder = only(tmp_path, "mine")
    frozen = folder / source.FROZEN / "search" / "0"
    assert (frozen / "experiment" / "mine.yaml").read_text() == EXPERIMENT
    assert len(jobs_seen) == 2
    assert all(f"hydra.searchpath=['file://{frozen}']" in line for line in jobs_seen)
    # The same command goes on; with an edited config it begins another sweep.
    cli.run("train", ["-m", *given, "experiment=mine", "seed=0,1"])
    assert only(tmp_path, "mine") == folder
    (mine / "experiment" / "mine.yaml").write_text(EXPERIMENT.replace("hidden_size: 4", "hidden_size: 8"))
    cli.run("train", ["-m", *given, "experiment=mine", "seed=0,1"])
    assert len(list((tmp_path / "outputs" / "mine").glob("sweep-*"))) == 2


def test_a_sweep_of_another_version_goes_on_with_its_keys(
    mine: Path, jobs_seen: list[list[str]], tmp_path: Path
) -> None:
    """Frozen code checks the frozen configs: the present schema may lack their keys."""
    command = ["-m", "seed=0,1", "name=older", "hydra.sweep.dir=older"]
    cli.run("train", command)
    folder = tmp_path / "older"
    adam = source.frozen_conf(folder) / "optimizer" / "adam.yaml"
    adam.write_text("name: adam\nlr: 1.0e-3\nof_another_version: constant\n")
    about = read_json(folder / "sweep.json")
    about["code_sha256"] = source.frozen_digest(folder)
    write_json(folder / "sweep.json", about)
    shutil.rmtree(next(path for path in sorted(folder.iterdir()) if (path / "job.json").exists()))
    assert cli.run("train", command) == 0
    assert len(jobs_seen) == 3, "the job that was missing"
    assert {job.status for job in sweep.jobs(folder)} == {"completed"}
    with pytest.raises(ComposerError, match="there is no key optimizer.of_another_version"):
        compose("optimizer.of_another_version=1")


@pytest.mark.slow
@pytest.mark.nightly
def test_own_ablation_trains_what_it_says(mine: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "composer.cli", "train", "-m", "--config-dir", "mine", "ablation=width"]
    done = subprocess.run(
        [*command, "experiment=mine"], cwd=tmp_path, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": ""}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for width in (4, 6):
        config = run_file.read_config(only(tmp_path, "width") / f"model.hidden_size-{width}_seed-0" / "config.yaml")
        assert (config.model.name, config.model.hidden_size) == ("gru", width)


def test_hydra_keys_reach_the_jobs_and_name_the_sweep(jobs_seen: list[list[str]], mine: Path, tmp_path: Path) -> None:
    callback = "+hydra.callbacks.mine._target_=hydra.experimental.callbacks.LogJobReturnCallback"
    cli.run("train", ["-m", "name=one", "seed=0,1", "hydra.verbose=false"])
    cli.run("train", ["-m", "name=one", "seed=0,1", callback])
    assert ["hydra.verbose=false" in line for line in jobs_seen] == [True, True, False, False]
    assert [callback in line for line in jobs_seen] == [False, False, True, True]
    assert len(list((tmp_path / "outputs" / "one").glob("sweep-*"))) == 2


def test_a_subfolder_may_be_the_number_of_the_job(jobs_seen: list[list[str]], mine: Path, tmp_path: Path) -> None:
    assert cli.run("train", ["hydra.sweep.subdir=${hydra:job.num}", "-m", "seed=0,1"]) == 0
    folder = only(tmp_path, "train")
    assert {job.folder.name: job.swept for job in sweep.jobs(folder)} == {"0": {"seed": "0"}, "1": {"seed": "1"}}


@pytest.mark.parametrize(
    ("swept", "count"),
    [("model=glob(*)", 4), ("model=glob(*,exclude=t*)", 3), ("seed=range(0,3)", 3), ("seed=choice(4,5)", 2)],
)
def test_hydras_ways_to_sweep(jobs_seen: list[list[str]], mine: Path, swept: str, count: int) -> None:
    assert cli.run("train", ["-m", swept]) == 0
    assert len(jobs_seen) == count


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["-m", "model.hidden_size=0,64"], "model.hidden_size=0: must be from 1 to 16384"),
        (
            ["-m", "model=lstm,grru"],
            "model=grru: model is one of attentive_lstm, gru, lstm, transformer; did you mean gru?",
        ),
        (["-m", "seed=0,1", "experiment=nope"], "experiment=nope: experiment is one of article"),
        (["-m", "seed=0,1", "hydra.searchpath=[pkg://hydra.conf]"], "a sweep copies folders of configs"),
        (["-m", "seed=0,1", "--cfg", "job"], "--cfg, --info and --shell-completion stand alone"),
        (["--experimental-rerun", "x"], "not supported, because the file that it reads can hold code"),
        (["--shell-completion", "install=bash"], "composer completion bash"),
        (["--epochs", "5"], "there is no such flag; keys are written key=value: trainer.max_epochs=5"),
        (["--learning-rate=0.1"], "optimizer.lr=0.1"),
        (["modle=gru"], "did you mean model"),
        (["model.hidden_size=abc"], "model.hidden_size=abc: must be an integer"),
        (["model.dropout=abc"], "model.dropout=abc: must be a number"),
    ],
)
def test_a_mistake_is_one_line_before_anything_is_written(
    mine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], line: str
) -> None:
    assert cli.run("train", arguments) in (1, 2)
    (said,) = [text for text in capsys.readouterr().err.splitlines() if text.startswith("composer train: ")]
    assert line in said
    assert not (tmp_path / "outputs").exists()


def test_a_job_that_cannot_be_composed_says_why(mine: Path, tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    sweep.begin(folder, "mine", [], ["experiment"])
    job = sweep.Job(number=0, overrides=["experiment=mine"], swept={"experiment": "mine"}, folder=folder / "job")
    job.folder.mkdir()
    with pytest.raises(ComposerError, match="^experiment=mine: experiment is one of article, "):
        processes.run_job(folder, job)
    assert json.loads((job.folder / "job.json").read_text())["status"] == "failed"


def test_the_commands_of_the_page_run(
    jobs_seen: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "hydra.md").read_text()
    for name, body in re.findall(r"```yaml\n# mine/(\S+)\n(.*?)```", page, flags=re.DOTALL):
        (tmp_path / "mine" / name).parent.mkdir(parents=True)
        (tmp_path / "mine" / name).write_text(body)
    monkeypatch.chdir(tmp_path)
    started = []
    monkeypatch.setattr(train, "start", lambda config, folder: started.append(config) or {OBJECTIVE: 1.0})
    lines = [line for body in re.findall(r"```sh\n(.*?)```", page, flags=re.DOTALL) for line in body.splitlines()]
    for line in lines:
        program, command, *arguments = shlex.split(line.replace("/home/me", str(tmp_path)), comments=True)
        assert (program, cli.run(command, arguments)) == ("composer", 0), line
    assert [config.model.hidden_size for config in started] == [32]
    # Three seeds; two widths and three seeds; three seeds; four networks and two seeds; five seeds; two seeds.
    assert len(jobs_seen) == 3 + 6 + 0 + 8 + 5 + 2
