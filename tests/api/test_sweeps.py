"""Sweeps in Python: the command in a process of its own, with its messages, errors and folder."""

import logging
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import composer
from composer.api import sweeps
from composer.errors import ComposerError, RunInterrupted


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The lines that a program gets."""
    shown: list[str] = []
    monkeypatch.setattr(sweeps, "LOG", logging.Logger("composer"))
    monkeypatch.setattr(sweeps.LOG, "info", lambda text, line: shown.append(line))
    return shown


@pytest.mark.slow
def test_a_sweep_trains_its_jobs_and_compares_them(quick: list[str], tmp_path: Path, lines: list[str]) -> None:
    overrides = [*quick, "trainer.max_epochs=1", "model.hidden_size=8,16", "hydra/launcher=joblib"]
    found = composer.sweep(overrides, folder=tmp_path / "a sweep")
    assert found.folder == tmp_path / "a sweep"
    assert [run.config.model.hidden_size for run in found.runs] == [8, 16]
    assert [job.status for job in found.jobs] == ["completed", "completed"]
    assert repr(found) == f"<Sweep {found.folder}, 2 of 2 jobs completed>"
    assert "<td>model.hidden_size-8</td><td>completed</td>" in found._repr_html_()
    assert found.compare(metric="loss/val").arms == ["model.hidden_size=8", "model.hidden_size=16"]
    assert (found.folder / "compare" / "report.md").exists()
    assert any(line.startswith("job 1 of 2  ") for line in lines)


@pytest.mark.slow
def test_a_mistake_in_a_sweep_is_one_line(tmp_path: Path, lines: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ComposerError, match=r"^modle\.x=1: there is no key modle\.x; did you mean model\?$"):
        composer.sweep(["seed=0,1", "modle.x=1"])
    assert list(tmp_path.iterdir()) == []


def test_an_error_names_the_folder_of_the_sweep() -> None:
    said = ["sweep      outputs/x", "job 0", "composer train: 1 of 2 jobs did not complete; the same command", "  more"]
    error = sweeps._error(said, 1)
    assert str(error) == "outputs/x: 1 of 2 jobs did not complete; the same command"
    assert str(sweeps._error([], 3)) == "the sweep ended with status 3"


# What a sweep does on Ctrl+C: it says so and ends with the shell's status.
STOPS = """
import signal, sys, time
def stop(number, frame):
    print("composer train: SIGINT: the sweep was stopped", flush=True)
    sys.exit(130)
signal.signal(signal.SIGINT, stop)
print("ready", flush=True)
time.sleep(60)
"""


def test_ctrl_c_stops_the_sweep_and_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def show(line: str) -> None:
        if line == "ready":
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(sweeps, "_show", show)
    said, status = sweeps._run([sys.executable, "-c", STOPS])
    assert (said[-1], status) == ("composer train: SIGINT: the sweep was stopped", 130)
    error = sweeps._error(said, status)
    assert isinstance(error, RunInterrupted)
    assert str(error) == "SIGINT: the sweep was stopped"


def test_a_folder_without_a_sweep_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ComposerError, match=r"has no sweep\.json"):
        composer.Sweep(tmp_path)
