"""Launchers and the search: they compose, they say what they lack, and a stop reaches every job."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
import pytest
from omegaconf import DictConfig

from composer import cli, files
from composer.config import compose as configs
from composer.config import paths
from composer.errors import RunInterrupted
from composer.sweeps import hydra as hydra_sweeps
from composer.sweeps import jobs as sweep
from composer.sweeps import processes

# The stand-ins leave no configs and metrics, so that there is nothing to compare at the end.
pytestmark = pytest.mark.filterwarnings("ignore:not compared", "ignore:.*left out of TensorBoard's means")

PLUGINS = {
    "hydra/launcher=joblib": "hydra_joblib_launcher",
    "hydra/launcher=slurm": "hydra_submitit_launcher",
    "hydra/launcher=ray": "hydra_ray_launcher",
    "hydra/sweeper=optuna": "hydra_optuna_sweeper",
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def composed(*overrides: str) -> DictConfig:
    configs.register()
    with hydra.initialize_config_dir(str(paths.CONF_DIR), version_base="1.3"):
        return hydra.compose("train", list(overrides), return_hydra_config=True)


# Composition


@pytest.mark.parametrize(("switch", "plugin"), PLUGINS.items())
def test_a_switch_composes_with_and_without_its_plugin(switch: str, plugin: str) -> None:
    """With it, Hydra knows two configs of one name, and would warn of that or refuse ours."""
    group = switch.split("=")[0].split("/")[1]
    node = composed(switch).hydra[group]
    assert node["_target_"].split(".")[1] == plugin
    ours = paths.CONF_DIR / "hydra" / group / f"{switch.split('=')[1]}.yaml"
    assert set(node) == {line.split(":")[0] for line in ours.read_text().splitlines() if line[:1].isidentifier()}


@pytest.mark.parametrize(("switch", "plugin"), PLUGINS.items())
def test_what_a_switch_names_exists_in_its_plugin(switch: str, plugin: str) -> None:
    pytest.importorskip(f"hydra_plugins.{plugin}")
    node = composed(switch).hydra[switch.split("=")[0].split("/")[1]]
    assert hydra.utils.get_class(node["_target_"])
    if "initializer" in node:
        assert hydra.utils.instantiate(node.initializer) is processes.leave_signals


def test_joblib_is_always_installed() -> None:
    assert importlib.util.find_spec("hydra_plugins.hydra_joblib_launcher")


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["-m", switch, "seed=0,1"] for switch in PLUGINS] + [["ablation=search"]])
def test_missing_plugin_names_package_and_writes_nothing(
    arguments: list[str], here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name.startswith("hydra_plugins.") else found(name)
    )
    assert cli.run("train", arguments) == 1
    out, err = capsys.readouterr()
    switch = arguments[1] if len(arguments) > 1 else "hydra/sweeper=optuna"
    package = PLUGINS[switch].replace("_", "-")
    assert out == ""
    choice = switch.split("=")[1]
    install = package if choice == "joblib" else f"'lstm-composer[{choice}]'"
    assert err == f"composer train: {switch}: needs {package}; pip install {install}\n"
    assert list(here.iterdir()) == []


# Folder names


def test_the_name_of_a_searched_job_is_short_and_readable() -> None:
    values = {"model.hidden_size": "128", "model.dropout": "0.37454011884736254", "optimizer.lr": "0.0012345678901"}
    values["regularizer.weight"] = "3.2123456789e-06"
    name = files.safe_name(",".join(f"{key}={value}" for key, value in values.items()))
    assert name.startswith("hidden_size-128_dropout-0.3745_lr-0.001235_weight-3.212")
    assert len(name) == 64
    assert files.safe_name("optimizer.lr=1e+30").startswith("optimizer.lr-1e30-")


# Stopping


STAND_IN = """
import json, os, signal, sys, time
folder = sys.argv[1]
with open(os.path.join(folder, "starts"), "a") as file:
    file.write("x")
BODY
summary = {"status": "completed", "split": "shuffled", "loss/val": VALUE, "accuracy/val": 0.25}
json.dump(summary, open(os.path.join(folder, "summary.json"), "w"))
"""
WAITS = """
def stop(number, frame):
    open(os.path.join(folder, "saved"), "a").write(f"{number} ")
    sys.exit(128 + number)
signal.signal(signal.SIGINT, stop)
open(os.path.join(folder, "ready"), "w").close()
time.sleep(60)
"""


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[sweep.Job], tuple[str, float]]], None]:
    """Replaces the training: the function says what a job does before it ends, and with which figure."""

    def install(behaviour: Callable[[sweep.Job], tuple[str, float]]) -> None:
        def command(job: sweep.Job, folder: Path) -> list[str]:
            body, value = behaviour(job)
            code = STAND_IN.replace("BODY", body).replace("VALUE", repr(value))
            return [sys.executable, "-S", "-c", code, str(job.folder)]

        monkeypatch.setattr(processes, "_command", command)

    return install


def when(path: Path, action: Callable[[], object]) -> None:
    def wait() -> None:
        while not path.exists():
            time.sleep(0.02)
        action()

    threading.Thread(target=wait, daemon=True).start()


def job_in(folder: Path) -> sweep.Job:
    folder.mkdir(parents=True)
    return sweep.Job(number=0, overrides=["seed=0"], swept={"seed": "0"}, folder=folder)


def test_stopping_a_sweep_reaches_jobs_without_signals(stand_in: Any, here: Path) -> None:
    """As on another machine: the process that runs the job hears nothing but what stands in the sweep's folder."""
    stand_in(lambda job: (WAITS, 1.0))
    job = job_in(here / "sweep" / "job")
    when(job.folder / "ready", lambda: (here / "sweep" / sweep.STOP).write_text(f"{int(signal.SIGTERM)}\n"))
    with pytest.raises(RunInterrupted, match="SIGTERM: the sweep was stopped") as caught:
        processes.run_job(here / "sweep", job)
    assert caught.value.exit_status == 143
    assert (job.folder / "saved").read_text() == "2 ", "once, and as Ctrl-C"
    assert sweep.Job.read(job.folder).status == "interrupted"


def test_the_second_process_of_a_job_keeps_no_account(
    stand_in: Any, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On two nodes it ends before the first one has written the summary."""
    stand_in(lambda job: ("", 1.0))
    job = job_in(here / "sweep" / "job")
    monkeypatch.setenv("SLURM_PROCID", "1")
    monkeypatch.setattr(processes, "_command", lambda job, sweep: [sys.executable, "-c", ""])
    processes.run_job(here / "sweep", job)
    assert job.status == "completed"
    assert not (job.folder / "job.json").exists()


def test_a_job_whose_turn_comes_after_the_stop_does_not_begin(stand_in: Any, here: Path) -> None:
    stand_in(lambda job: ("", 1.0))
    job = job_in(here / "sweep" / "job")
    (here / "sweep" / sweep.STOP).write_text("2\n")
    with pytest.raises(RunInterrupted, match="SIGINT"):
        processes.run_job(here / "sweep", job)
    assert list(job.folder.iterdir()) == []


@pytest.mark.slow
def test_signal_stops_sweep_and_same_command_continues(
    stand_in: Any, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stand_in(lambda job: (WAITS, 1.0))

    def stop() -> None:
        while not (found := list(here.glob("outputs/*/*/seed-0/ready"))):
            time.sleep(0.02)
        found[0].unlink()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop, daemon=True).start()
    before = signal.getsignal(signal.SIGTERM)
    assert cli.run("train", ["-m", "seed=0,1"]) == 143
    assert signal.getsignal(signal.SIGTERM) is before
    out, err = capsys.readouterr()
    assert "SIGTERM: running jobs save and end" in out
    assert err == "composer train: SIGTERM: the sweep was stopped and its jobs saved; the same command continues it\n"
    (folder,) = here.glob("outputs/*/*")
    assert {job.folder.name: job.status for job in sweep.jobs(folder)} == {"seed-0": "interrupted"}
    assert not (folder / "seed-1").exists()
    stand_in(lambda job: ("", 1.0))
    assert cli.run("train", ["-m", "seed=0,1"]) == 0
    assert {job.folder.name: job.status for job in sweep.jobs(folder)} == {"seed-0": "completed", "seed-1": "completed"}


def test_result_of_a_stopped_job_ends_a_search() -> None:
    with pytest.raises(hydra_sweeps._Stop):
        float(hydra_sweeps._Stopped(RunInterrupted("SIGINT: stopped", 2)))  # type: ignore[arg-type]


# The search


@pytest.mark.filterwarnings("default")  # optuna 2 uses what SQLAlchemy calls old
def test_search_survives_failures_and_repeats_its_trials(
    stand_in: Any, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")

    def behaviour(job: sweep.Job) -> tuple[str, float]:
        return "sys.exit(1)" if job.number in (2, 13) else "", float(job.swept["model.dropout"])

    stand_in(behaviour)
    command = ["ablation=search", "hydra.sweeper.n_trials=15"]
    assert cli.run("train", command) == 1
    (folder,) = here.glob("outputs/search/*")
    found = sweep.jobs(folder)
    assert [job.number for job in found if job.status == "failed"] == [2, 13]
    assert len(found) == 15
    assert all(len(job.folder.name) <= 64 for job in found)
    best = (folder / "optimization_results.yaml").read_text()
    assert f"best_value: {min(float(j.swept['model.dropout']) for j in found if j.status == 'completed')}" in best
    assert cli.run("train", command) == 1
    assert capsys.readouterr().out.count("(from before)") == 13
    assert [job.folder for job in sweep.jobs(folder)] == [job.folder for job in found]
    starts = {job.number: len((job.folder / "starts").read_text()) for job in found}
    assert starts == {number: 2 if number in (2, 13) else 1 for number in range(15)}


# For real

QUICK = [
    "model.hidden_size=4",
    "trainer.progress_bar=false",
    "sampling.events=5",
    "sampling_grid.pieces=0",
    "logging.sample_media=false",
]
TRAIN = [sys.executable, "-m", "composer.cli", "train", "-m"]


def processes_of(group: int) -> list[int]:
    """Processes in the process group, those that only wait to be noticed left out."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, owner = path.read_text().rpartition(") ")[2].split()[:3]
        except OSError:
            continue  # it ended meanwhile
        if int(owner) == group and state != "Z":
            found.append(int(path.parent.name))
    return found


def wait_for(folder: Path, pattern: str, count: int = 1) -> list[Path]:
    deadline = time.monotonic() + 120
    while len(found := list(folder.glob(pattern))) < count and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


@pytest.mark.slow
@pytest.mark.nightly
def test_joblib_job_that_fails_does_not_stop_others(tmp_path: Path) -> None:
    command = [*TRAIN, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", *QUICK]
    # Two events more than the piece has.
    command += ["trainer.max_epochs=15", "data.window_size=30,1100", "seed=0,1"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE) as process:
        (best,) = wait_for(tmp_path, "outputs/*/*/data.window_size-30_seed-0/checkpoints/best.ckpt")
        os.kill(int((best.parents[1] / ".lock").read_text()), signal.SIGKILL)
        out = process.communicate(timeout=300)[0].decode()
    assert process.returncode == 1
    (folder,) = tmp_path.glob("outputs/*/*")
    assert {job.folder.name: job.status for job in sweep.jobs(folder)} == {
        "data.window_size-30_seed-0": "killed",
        "data.window_size-30_seed-1": "completed",
        "data.window_size-1100_seed-0": "failed",
        "data.window_size-1100_seed-1": "failed",
    }
    assert "killed by SIGKILL" in out
    assert "too few for one window" in out


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("way", ["Ctrl-C", pytest.param("SIGTERM", marks=pytest.mark.nightly)])
def test_stopping_joblib_saves_jobs_and_leaves_no_process(tmp_path: Path, way: str) -> None:
    # One process more than there are jobs: it waits, and must not die of Ctrl-C and take the others with it.
    command = [*TRAIN, "hydra/launcher=joblib", "hydra.launcher.n_jobs=3", *QUICK, "trainer.max_epochs=500", "seed=0,1"]
    with subprocess.Popen(command, cwd=tmp_path, start_new_session=True) as process:
        wait_for(tmp_path, "outputs/*/*/*/checkpoints/last.ckpt", 2)
        jobs = [int(path.read_text()) for path in tmp_path.glob("outputs/*/*/*/.lock")]
        if way == "Ctrl-C":
            os.killpg(process.pid, signal.SIGINT)
        else:
            process.terminate()
        assert process.wait(timeout=60) == (130 if way == "Ctrl-C" else 143)
    deadline = time.monotonic() + 5
    while processes_of(process.pid) and time.monotonic() < deadline:
        time.sleep(0.1)  # joblib's tracker of resources ends a little later
    assert processes_of(process.pid) == []
    assert len(jobs) == 2
    assert not any(Path(f"/proc/{job}").exists() for job in jobs)
    found = {
        path.parent.name: json.loads(path.read_text())["status"] for path in tmp_path.glob("outputs/*/*/*/job.json")
    }
    assert found == {"seed-0": "interrupted", "seed-1": "interrupted"}
    summaries = [json.loads(path.read_text()) for path in tmp_path.glob("outputs/*/*/*/summary.json")]
    assert [summary["status"] for summary in summaries] == ["interrupted"] * 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("switch", "plugin"), [("submitit_local", "hydra_submitit_launcher"), ("ray", "hydra_ray_launcher")]
)
def test_other_launchers_run_a_sweep_with_a_job_that_fails(tmp_path: Path, switch: str, plugin: str) -> None:
    pytest.importorskip(f"hydra_plugins.{plugin}")
    command = [*TRAIN, f"hydra/launcher={switch}", *QUICK, "trainer.max_epochs=1", "data.window_size=30,1100"]
    done = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    (folder,) = tmp_path.glob("outputs/*/*")
    assert {job.folder.name: job.status for job in sweep.jobs(folder)} == {
        "data.window_size-30": "completed",
        "data.window_size-1100": "failed",
    }, done.stderr
