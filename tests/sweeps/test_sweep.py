"""Sweeps: jobs in processes of their own, on frozen code, that can be started again."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from composer import cli
from composer.commands.train import start
from composer.config import paths
from composer.config.compose import compose
from composer.corpus import chorales
from composer.errors import ComposerError, RunInterrupted
from composer.files import read_json
from composer.render.player import TEMPLATE
from composer.runs import code as source
from composer.sweeps import jobs as sweep
from composer.sweeps import overlays, processes

# The stand-ins leave no configs, so that there is nothing to compare at the end.
pytestmark = pytest.mark.filterwarnings("ignore:not compared")

# What stands in for a training: it counts its starts and ends as the test wants.
STAND_IN = """
import json, os, sys
folder = sys.argv[1]
print("said in", folder)
with open(os.path.join(folder, "starts"), "a") as file:
    file.write("x")
BODY
keys = [f"{m}/{s}" for s in ("train", "val") for m in METRICS]
with open(os.path.join(folder, "metrics.csv"), "w") as file:
    file.write(",".join(["epoch", *keys]) + "\\n")
    for epoch in (1, 2):
        file.write(",".join([str(epoch), *[str(int(sys.argv[2]) + epoch)] * len(keys)]) + "\\n")
summary = {"status": "completed", "split": "shuffled", "loss/val": 1.5, "accuracy/val": 0.25}
json.dump(summary, open(os.path.join(folder, "summary.json"), "w"))
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Replaces the training: `stand_in({"seed=1": "raise ValueError('no')"})` says what a job does before it ends."""

    def install(bodies: dict[str, str]) -> None:
        def command(job: sweep.Job, folder: Path) -> list[str]:
            body = next((bodies[key] for key in bodies if key in job.overrides), "")
            code = STAND_IN.replace("BODY", body).replace("METRICS", str(overlays._METRICS))
            return [sys.executable, "-S", "-c", code, str(job.folder), job.swept.get("seed", "0")]

        monkeypatch.setattr(processes, "_command", command)

    install({})
    return install


def ended(folder: Path) -> dict[str, str]:
    return {job.folder.name: job.status for job in sweep.jobs(folder)}


def only(folder: Path) -> Path:
    (found,) = (folder / "outputs").glob("*/sweep-*")
    return found


# Sweeps survive


@pytest.mark.slow
def test_failed_job_is_reported_and_others_complete(
    stand_in: Any, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stand_in(
        {
            "seed=1": "raise ValueError('not this one')",
            "seed=2": "sys.exit(3)",
            "seed=3": "os.kill(os.getpid(), 9)",
            "seed=4": "x = bytearray(1 << 62)",
            "seed=5": "print('composer train: data.path=x: not found', file=sys.stderr); sys.exit(1)",
        }
    )
    assert cli.run("train", ["-m", "seed=0,1,2,3,4,5,6"]) == 1
    assert ended(only(here)) == {
        "seed-0": "completed",
        "seed-1": "failed",
        "seed-2": "failed",
        "seed-3": "killed",
        "seed-4": "failed",
        "seed-5": "failed",
        "seed-6": "completed",
    }
    out, err = capsys.readouterr()
    assert err.startswith("composer train: 5 of 7 jobs did not complete")
    assert out.count("  starts\n") == 7
    assert "job 4 of 7  seed=3  ended after " in out
    jobs, _, ended_as = out.partition("figures of the validation windows: val (shuffled)\n")
    head, *lines = ended_as.split("\n\n")[0].splitlines()
    assert head.split() == ["job", "status", "time", "accuracy", "loss"]
    # The error of a job is below its row.
    rows = dict(row.split(" ", 1) for row in "\n".join(lines).replace("\n  ", " ").splitlines())
    assert rows["seed=0"].split()[-2:] == ["0.250", "1.500"]
    assert "ValueError: not this one" in rows["seed=1"]
    assert "said in" in rows["seed=2"]
    assert "killed by SIGKILL (out of memory?)" in rows["seed=3"]
    assert "MemoryError" in rows["seed=4"]
    assert rows["seed=5"].endswith("data.path=x: not found")
    assert "Traceback (most recent call last):" in (only(here) / "seed-1" / "train.log").read_text()


@pytest.mark.slow
def test_same_command_skips_completed_jobs(stand_in: Any, here: Path) -> None:
    stand_in({"seed=1": "sys.exit(1)"})
    assert cli.run("train", ["-m", "seed=0,1"]) == 1
    stand_in({})
    assert cli.run("train", ["-m", "seed=0,1"]) == 0
    assert ended(only(here)) == {"seed-0": "completed", "seed-1": "completed"}
    starts = {path.parent.name: path.read_text() for path in only(here).glob("*/starts")}
    assert starts == {"seed-0": "x", "seed-1": "xx"}


@pytest.mark.slow
def test_a_job_that_was_lost_with_its_machine_is_run_again(
    stand_in: Any, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run("train", ["-m", "seed=0,1"]) == 0
    job = sweep.Job.read(only(here) / "seed-1")
    job.status = "running"
    job.write()
    (job.folder / "summary.json").unlink()
    assert "lost" in "\n".join(sweep.table(sweep.jobs(only(here))))
    assert cli.run("train", ["-m", "seed=0,1"]) == 0
    assert sweep.Job.read(job.folder).status == "completed"


@pytest.mark.slow
def test_a_damaged_job_is_named_and_the_table_holds_the_others(
    stand_in: Any, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run("train", ["-m", "seed=0,1"]) == 0
    (only(here) / "seed-0" / "job.json").write_text("{}")
    assert [job.folder.name for job in sweep.jobs(only(here))] == ["seed-1"]
    assert "seed-0/job.json: damaged" in capsys.readouterr().err


def test_a_sweep_that_cannot_begin_leaves_nothing(here: Path) -> None:
    assert cli.run("train", ["-m", "regularizer=l1,l3"]) == 1
    assert list(here.iterdir()) == []


# TensorBoard


@pytest.mark.slow
def test_the_arms_of_a_sweep_have_runs_with_mean_and_band(stand_in: Any, here: Path) -> None:
    assert cli.run("train", ["-m", "regularizer=none,l1", "seed=0,2"]) == 0
    arms = only(here) / "arms"
    assert sorted(path.name for path in arms.iterdir() if path.is_dir()) == ["regularizer-l1", "regularizer-none"]
    # The stand-in's value is seed + epoch: 1 and 3, then 2 and 4, whose standard deviation is the square root of 2.
    for split in ("train", "val"):
        points = of_arm(arms / "regularizer-l1" / split)
        assert points["loss"] == [(1, 2.0), (2, 3.0)]
        assert points["zz_band/accuracy_low"] == [(1, pytest.approx(2 - 2**0.5)), (2, pytest.approx(3 - 2**0.5))]
        assert points["zz_band/accuracy_high"] == [(1, pytest.approx(2 + 2**0.5)), (2, pytest.approx(3 + 2**0.5))]
        # The list of tags begins with what is compared; four edges of bands end it.
        assert all(tag.startswith(("accuracy", "loss", "nll_")) for tag in sorted(points)[:-4])
        assert [tag.split("/")[0] for tag in sorted(points)[-4:]] == ["zz_band"] * 4
    accumulator = EventAccumulator(str(arms))
    accumulator.Reload()
    layout = accumulator.Tensors("custom_scalars__config__")[0].tensor_proto.string_val[0]
    assert b"^accuracy$" in layout
    # Written anew, not added to.
    assert cli.run("train", ["-m", "regularizer=none,l1", "seed=0,2"]) == 0
    assert len(list(arms.glob("*/*/*"))) == 4


def of_arm(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Points of a run of TensorBoard by tag."""
    accumulator = EventAccumulator(str(folder))
    accumulator.Reload()
    return {tag: [(e.step, e.value) for e in accumulator.Scalars(tag)] for tag in accumulator.Tags()["scalars"]}


def test_the_folds_of_an_arm_are_averaged_like_its_seeds() -> None:
    swept = [{"regularizer": r, "data.fold": f, "seed": s} for r in ("none", "l1") for f in "012" for s in "01"]
    jobs = [sweep.Job(number=number, overrides=[], swept=keys, status="completed") for number, keys in enumerate(swept)]
    assert {name: len(members) for name, members in overlays.arms(jobs).items()} == {
        "regularizer=none": 6,
        "regularizer=l1": 6,
    }


@pytest.mark.slow
def test_run_with_damaged_metrics_is_excluded_and_named(stand_in: Any, here: Path) -> None:
    assert cli.run("train", ["-m", "seed=0,1"]) == 0
    (only(here) / "seed-0" / "metrics.csv").write_text("epoch,loss/val\n1,2,3\n")
    with pytest.warns(UserWarning, match="seed-0/metrics.csv: damaged .rows of 3 cells below a head of 2"):
        overlays.write_overlays(only(here), sweep.jobs(only(here)))
    assert of_arm(only(here) / "arms" / "all" / "val")["loss"] == [(1, 2.0), (2, 3.0)]


# Folders


@pytest.mark.slow
def test_folders_depend_on_command_and_name_differences(stand_in: Any, here: Path) -> None:
    fixed = ["name=mine", "data.window_size=10", "encoding.time_bins=5", "model.hidden_size=4", "optimizer.lr=0.01"]
    assert cli.run("train", ["-m", *fixed, "seed=0,1"]) == 0
    assert sorted(ended(only(here))) == ["seed-0", "seed-1"]
    assert only(here).parent == here / "outputs" / "mine"
    assert cli.run("train", ["-m", *fixed, "seed=0,1,2"]) == 0
    assert len(list((here / "outputs" / "mine").iterdir())) == 2, "another command, another folder"


@pytest.mark.slow
def test_ablation_names_arms_without_the_launcher(stand_in: Any, here: Path) -> None:
    assert cli.run("train", ["-m", "ablation=l1", "seed=3", "trainer.max_epochs=1"]) == 0
    assert sorted(ended(only(here))) == ["regularizer-l1_seed-3", "regularizer-none_seed-3"]
    assert cli.run("train", ["ablation=l1", "seed=3", "trainer.max_epochs=1", "hydra.verbose=false"]) == 0
    job = sweep.Job.read(only(here) / "regularizer-l1_seed-3")
    assert job.swept == {"regularizer": "l1", "seed": "3"}
    assert job.overrides == ["regularizer=l1", "seed=3", "ablation=l1", "trainer.max_epochs=1"]


@pytest.mark.slow
def test_names_are_safe_and_short_whatever_is_swept(stand_in: Any, here: Path) -> None:
    long = "regularizer.parameters=[lstm.weight_ih_l0,lstm.weight_hh_l0,linear.weight],[lstm.*]"
    assert cli.run("train", ["-m", long, "optimizer.lr=1e-3,0.01", "seed=0"]) == 0
    names = list(ended(only(here)))
    assert len(names) == 4
    assert all(len(name) <= 64 and set(name) <= set(sweep_alphabet()) for name in names)


def sweep_alphabet() -> str:
    return "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"


# No drift


@pytest.fixture
def edited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the package and its configs that a test may edit; returns its folder of configs."""
    root = tmp_path / "checkout"
    monkeypatch.chdir(tmp_path)
    source.freeze(root)
    package = root / source.FROZEN / "composer"
    monkeypatch.setattr(source, "PACKAGE", package)
    monkeypatch.setattr(source, "CONF_DIR", package / "conf")
    return package / "conf"


def test_the_frozen_copy_has_whatever_the_package_reads(tmp_path: Path) -> None:
    source.freeze(tmp_path)
    package = tmp_path / source.FROZEN / "composer"
    for needed in (chorales.MANIFEST, TEMPLATE):
        assert (package / needed.relative_to(paths.PACKAGE)).read_bytes() == needed.read_bytes()
    assert (package / "conf" / "train.yaml").exists()
    assert not list(package.rglob("__pycache__"))
    # A job reads the chorales' manifest from there.
    asked = "from composer.corpus import chorales; print(chorales.MANIFEST, len(chorales.manifest()))"
    done = subprocess.run(
        [sys.executable, "-c", asked], env=processes._environment(tmp_path), capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{package / 'corpus' / 'chorales.csv'} 350\n"


@pytest.mark.slow
def test_a_yaml_that_is_edited_meanwhile_changes_nothing(edited: Path, tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    sweep.begin(folder, "train", ["seed=0,1"], ["seed"])
    before = source.digest()
    (edited / "model" / "lstm.yaml").write_text("hidden_size: 1\nnum_layers: 1\ndropout: 0.0\n")
    (edited.parent / "model.py").write_text("raise SystemExit('edited')")
    assert source.digest() != before
    # What a job runs on, asked for by the job's own way of starting.
    asked = "import composer.nets.build, composer.config.compose as c; print(c.compose().model.hidden_size)"
    done = subprocess.run(
        [sys.executable, "-c", asked],
        env=processes._environment(folder),
        capture_output=True,
        text=True,
        check=False,
        cwd=edited.parent.parent,
    )
    assert done.stdout == "128\n", done.stderr


@pytest.mark.slow
def test_edit_that_breaks_yaml_does_not_stop_running_sweep(
    edited: Path, stand_in: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("config.compose", "config.keys", "sweeps.hydra", "sweeps.job_configs"):
        monkeypatch.setattr(f"composer.{module}.CONF_DIR", edited)
    broken = f"import pathlib; [p.write_text('no: [yaml') for p in pathlib.Path({str(edited)!r}).rglob('*.yaml')]"
    stand_in({"seed=0": broken})
    assert cli.run("train", ["-m", "seed=0,1"]) == 0
    assert (edited / "train.yaml").read_text() == "no: [yaml"
    assert ended(only(tmp_path)) == {"seed-0": "completed", "seed-1": "completed"}


def test_a_sweep_goes_on_with_what_it_began_with_and_says_so(
    edited: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "outputs" / "one"
    sweep.begin(folder, "train", ["seed=0,1"], ["seed"])
    known = (folder / "sweep.json").read_text()
    (edited / "model" / "lstm.yaml").write_text("hidden_size: 1\nnum_layers: 1\ndropout: 0.0\n")
    sweep.begin(folder, "train", ["seed=0,1"], ["seed"])
    assert (folder / "sweep.json").read_text() == known
    assert "continues with the code and configs that it began with" in capsys.readouterr().out
    sweep.begin(tmp_path / "outputs" / "two", "train", ["seed=0,1"], ["seed"])
    assert "outputs/one is the same command with different code or configs" in capsys.readouterr().out


def test_a_frozen_copy_that_was_changed_stops_the_sweep(edited: Path, tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    sweep.begin(folder, "train", [], [])
    (folder / source.FROZEN / "composer" / "conf" / "model" / "lstm.yaml").write_text("hidden_size: 1\n")
    with pytest.raises(ComposerError, match=r"sweep/\.frozen: has changed since the sweep began"):
        sweep.begin(folder, "train", [], [])


def test_a_job_knows_the_commit_that_its_sweep_began_with(tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    sweep.begin(folder, "train", [], [])
    asked = "import json; from composer.runs import code; print(json.dumps(code.git_state()))"
    done = subprocess.run(
        [sys.executable, "-c", asked], env=processes._environment(folder), capture_output=True, check=True
    )
    assert json.loads(done.stdout) == json.loads((folder / "sweep.json").read_text())["git"]


# Stopping


def job_in(folder: Path) -> sweep.Job:
    folder.mkdir(parents=True)
    return sweep.Job(number=0, overrides=["seed=0"], swept={"seed": "0"}, folder=folder)


SAVES = """
import signal, time
def stop(number, frame):
    open(os.path.join(folder, "saved"), "w").close()
    json.dump({"status": "interrupted"}, open(os.path.join(folder, "summary.json"), "w"))
    sys.exit(128 + number)
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
    signal.signal(number, stop)
open(os.path.join(folder, "ready"), "w").close()
time.sleep(60)
"""


def when(path: Path, action: Any) -> None:
    def wait() -> None:
        while not path.exists():
            time.sleep(0.02)
        action()

    threading.Thread(target=wait, daemon=True).start()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_reaches_the_job_which_saves_and_the_sweep_ends(
    stand_in: Any, tmp_path: Path, number: signal.Signals
) -> None:
    stand_in({"seed=0": SAVES})
    job = job_in(tmp_path / "sweep" / "job")
    when(job.folder / "ready", lambda: os.kill(os.getpid(), number))
    before = signal.getsignal(number)
    # Pytest's own handling of Ctrl-C aside, what is in place is the default.
    with pytest.raises(RunInterrupted, match=number.name) as caught:
        processes.run_job(tmp_path / "sweep", job)
    assert caught.value.exit_status == 128 + number
    assert (job.folder / "saved").exists()
    assert sweep.Job.read(job.folder).status == "interrupted"
    assert signal.getsignal(number) is before


@pytest.mark.slow
def test_a_job_that_someone_else_stops_does_not_end_the_sweep(stand_in: Any, here: Path) -> None:
    stand_in({"seed=0": SAVES.replace("time.sleep(60)", "os.kill(os.getpid(), signal.SIGTERM)")})
    assert cli.run("train", ["-m", "seed=0,1"]) == 1
    assert ended(only(here)) == {"seed-0": "interrupted", "seed-1": "completed"}


@pytest.mark.parametrize("ignored", [False, True], ids=["in the foreground", "in the background"])
def test_a_job_ends_when_the_process_that_waits_for_it_is_gone(ignored: bool) -> None:
    """Killed with SIGKILL, which no process can pass on; a shell starts what runs in the background deaf to Ctrl-C."""
    waits = f"""
import subprocess, sys, os, signal
signal.signal(signal.SIGINT, signal.SIG_IGN if {ignored} else signal.default_int_handler)
code = 'import composer.sweeps.jobs as s, time, sys; s.end_with_parent(); print("ready", flush=True); time.sleep(60)'
environment = os.environ | {{"{processes.PARENT}": str(os.getpid())}}
child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
child.stdout.readline()
print(child.pid, flush=True)
child.wait()
"""
    with subprocess.Popen([sys.executable, "-c", waits], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{child}").exists() and time.monotonic() < deadline:
        if (Path(f"/proc/{child}/stat").read_text().split(") ")[1])[0] == "Z":
            break  # ended, and waits for whoever inherited it
        time.sleep(0.05)
    else:
        assert not Path(f"/proc/{child}").exists()


# For real

QUICK = [
    "model.hidden_size=4",
    "trainer.progress_bar=false",
    "sampling.events=5",
    "sampling_grid.pieces=0",
    "logging.sample_media=false",
]


@pytest.mark.slow
def test_sweep_with_killed_job_continues_to_same_figures(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "composer.cli", "train", "-m", *QUICK, "trainer.max_epochs=20", "seed=0,1"]

    def summaries(folder: Path) -> dict[str, Any]:
        found = {path.parent.name: read_json(path) for path in folder.glob("outputs/*/*/*/summary.json")}
        return {name: {k: v for k, v in summary.items() if k != "seconds"} for name, summary in found.items()}

    broken = tmp_path / "broken"
    broken.mkdir()
    whole = {}
    for seed in (0, 1):
        start(compose(*QUICK, "trainer.max_epochs=20", f"seed={seed}"), tmp_path / f"seed-{seed}")
        summary = read_json(tmp_path / f"seed-{seed}" / "summary.json")
        whole[f"seed-{seed}"] = {key: value for key, value in summary.items() if key != "seconds"}

    with subprocess.Popen([*command, "checkpoint.every_epochs=1"], cwd=broken, stdout=subprocess.PIPE) as process:
        (job,) = wait_for(broken, "outputs/*/*/seed-0/checkpoints/best.ckpt")
        (pid,) = [int(line) for line in (job.parents[1] / ".lock").read_text().split()]
        os.kill(pid, signal.SIGKILL)
        out = process.communicate(timeout=300)[0].decode()
    assert process.returncode == 1
    assert "killed by SIGKILL" in out
    assert set(summaries(broken)) == {"seed-1"}
    again = subprocess.run([*command, "checkpoint.every_epochs=1"], cwd=broken, check=False, capture_output=True)
    assert again.returncode == 0
    assert b"(from before)" in again.stdout
    assert summaries(broken) == whole


def wait_for(folder: Path, pattern: str) -> list[Path]:
    deadline = time.monotonic() + 120
    while not (found := list(folder.glob(pattern))) and time.monotonic() < deadline:
        time.sleep(0.02)
    return found
