"""The package of `examples/extension`: installed, trained with, swept, killed, composed with and tested."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples" / "extension"
SMALL = (
    *("trainer.progress_bar=false", "sampling_grid.pieces=0", "logging.sample_media=false", "sampling.events=60"),
    *("logging.sample_every_epochs=null", "logging.histogram_every_epochs=null"),
)
PARTS = {
    "data": "scales",
    "split": "first_pieces",
    "augmentation": "accents",
    "model": "conv",
    "regularizer": "group_lasso",
    "loss_terms": "confidence",
    "metrics": "top",
    "callbacks": "gradients",
    "logger": "json",
    "rules": "leaps",
    "method": "typical",
}
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which the package is installed, beside the checkout."""
    target = tmp_path_factory.mktemp("installed")
    source = tmp_path_factory.mktemp("source") / "extension"
    subprocess.run(["cp", "-r", str(EXAMPLE), str(source)], check=True)
    install = ("--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--quiet", "--target", str(target))
    subprocess.run([sys.executable, "-m", "pip", "install", *install, str(source)], check=True)
    path = os.pathsep.join([str(ROOT), str(target)])
    return os.environ | {"PYTHONPATH": path, "PYTHONSAFEPATH": "1", "OMP_NUM_THREADS": "1"}


def composer(folder: Path, environment: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "composer.cli", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_example_has_every_kind_in_under_200_lines() -> None:
    text = (EXAMPLE / "mylab" / "parts.py").read_text()
    assert len(text.splitlines()) < 200
    for kind, name in PARTS.items():
        assert f'@composer.register("{kind}", "{name}"' in text


def test_example_trains_resumes_after_sigkill_and_composes(environment: dict[str, str], tmp_path: Path) -> None:
    train = ("train", "experiment=mylab", "trainer.max_epochs=6", "checkpoint.every_steps=1", *SMALL)
    composer(tmp_path, environment, *train, "hydra.run.dir=whole")
    with subprocess.Popen(
        [sys.executable, "-m", "composer.cli", *train, "hydra.run.dir=killed"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.DEVNULL,
    ) as process:
        metrics = tmp_path / "killed" / "metrics.csv"
        while process.poll() is None and (not metrics.exists() or metrics.read_text().count("\n") < 3):
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert not (tmp_path / "killed" / "summary.json").exists(), "the run ended before it was killed"
    composer(tmp_path, environment, "train", "resume=killed")
    assert (tmp_path / "whole" / "metrics.csv").read_bytes() == metrics.read_bytes()
    assert set(json.loads((tmp_path / "whole" / "manifest.json").read_text())["plugins"]) == {"mylab"}
    rows = list(csv.DictReader(metrics.read_text().splitlines()))
    assert {"top/train", "top/val", "confidence/train"} <= set(rows[-1])
    assert float(rows[-1]["top/train"]) > float(rows[0]["top/train"])
    assert "gradient_norm" in (tmp_path / "killed" / "metrics.jsonl").read_text()

    composer(tmp_path, environment, "generate", "whole", "rules=leaps", "rules.leaps.semitones=5", "output=pieces")
    assert len(list((tmp_path / "pieces").glob("*.mid"))) == 1
    evaluated = composer(tmp_path, environment, "evaluate", "whole", "output=evaluated")
    assert "val (first_pieces)" in evaluated
    assert "top/val" in json.loads((tmp_path / "evaluated" / "evaluation.json").read_text())


@pytest.mark.nightly
def test_example_sweep_compares_its_penalty_with_l1(environment: dict[str, str], tmp_path: Path) -> None:
    sweep = (
        "train",
        "-m",
        "ablation=penalty",
        "regularizer=l1,group_lasso",
        "hydra.sweep.dir=sweep",
        "trainer.max_epochs=1",
        "model.hidden_size=16",
    )
    printed = composer(tmp_path, environment, *sweep, *SMALL)
    assert "regularizer=group_lasso against regularizer=l1" in printed
    assert (tmp_path / "sweep" / ".frozen" / "plugins" / "mylab" / "parts.py").exists()
    rows = list(csv.DictReader((tmp_path / "sweep" / "compare" / "runs.csv").read_text().splitlines()))
    assert len(rows) == 6


def test_the_examples_own_tests_pass(environment: dict[str, str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(EXAMPLE / "tests")]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout
    assert "11 passed" in done.stdout
