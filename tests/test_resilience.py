"""The programs that kill training and damage files, at the size that CI runs."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared" / "data"


def program(name: str, *arguments: str, timeout: int) -> str:
    command = [sys.executable, str(ROOT / "scripts" / name), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_kills_at_random_instants_end_in_the_same_bits(repetitions: Callable[[int, int], int]) -> None:
    kills = repetitions(12, 72)
    # One kill per run or few, so that every variant has its turn.
    size = ["--kills", f"{kills}", "--per-run", f"{repetitions(1, 3)}", "--epochs", f"{repetitions(2, 4)}"]
    output = program("check_resume.py", *size, timeout=1800)
    assert f"{kills} of {kills} kills ended in the same bits" in output
    usual = ("dropout", "schedule", "early stopping", "proximal", "workers", "every step", "streams", "media")
    for variant in (*usual, "loggers", "muon", "accumulation", "plugin"):
        assert f"{variant:<15}" in output


@pytest.mark.slow
def test_kills_of_one_run_leave_no_step_twice_in_event_files(repetitions: Callable[[int, int], int]) -> None:
    kills = f"{repetitions(2, 10)}"
    output = program("check_resume.py", "--kills", kills, "--per-run", kills, "--variants", "dropout", timeout=600)
    assert f"{kills} of {kills} kills ended in the same bits" in output


@pytest.mark.slow
def test_damaged_files_are_read_or_refused_in_one_line(repetitions: Callable[[int, int], int]) -> None:
    count = repetitions(300, 10_000)
    files = ["--files", str(SHARED)] if SHARED.is_dir() else []
    output = program("fuzz_midi.py", "--count", f"{count}", *files, timeout=1800)
    assert output.startswith(f"{count} mutants of")
    # Both must happen, or the mutations teach nothing.
    read, refused = (int(part.split()[0]) for part in output.split(": ")[1].split(","))
    assert read > count / 20
    assert refused > count / 5


@pytest.mark.slow
def test_sigterm_saves_and_second_process_is_refused_meanwhile(tmp_path: Path) -> None:
    run = tmp_path / "run"
    quick = ["model.hidden_size=8", "trainer.max_epochs=100000", "trainer.threads=1", f"hydra.run.dir={run}"]
    command = [sys.executable, "-m", "composer.cli", "train"]
    with subprocess.Popen([*command, *quick], cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not (run / "checkpoints" / "last.ckpt").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        second = subprocess.run(
            [*command, f"resume={run}"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        assert second.returncode == 1
        assert "another process" in second.stderr
        asked = time.monotonic()
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
        assert time.monotonic() - asked < 20
    assert process.returncode == 128 + signal.SIGTERM
    assert "continue with: composer train resume=run" in errors
    assert '"status": "interrupted"' in (run / "summary.json").read_text()
