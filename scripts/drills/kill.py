"""SIGKILL at random instants; the same command then makes what it would have made. Training: `check_resume.py`."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from drills.music import write_pieces
from drills.tally import QUICK, Outcome, Tally, command, composer, files_of, surroundings, without_times

_LAUNCHERS = {"joblib": "joblib_launcher", "submitit_local": "submitit_launcher", "ray": "ray_launcher"}


def run(tally: Tally, count: int, rng: random.Random, folder: Path) -> None:
    """Kill each command in turn, `count` times in all."""
    write_pieces(folder / "files", 40)
    for seed in (0, 1):
        _must(
            command("train", *QUICK, f"seed={seed}", "trainer.max_epochs=2", f"hydra.run.dir=runs/{seed}", cwd=folder)
        )
    store = ["explore", "data=midi", "data.path=files", "data.cache=cache", "output=out"]
    cases: list[tuple[str, list[str], list[str], str]] = [
        ("store", store, ["cache", "out"], "all"),
        ("compare", ["compare", "runs", "output=out"], ["out"], "all"),
        ("report", ["report", "runs/0", "output=out/page.html", "events=20"], ["out"], "all"),
    ]
    launchers = ["basic", *(n for n, p in _LAUNCHERS.items() if importlib.util.find_spec(f"hydra_plugins.hydra_{p}"))]
    for launcher in launchers:
        sweep = [
            "train",
            "-m",
            *QUICK,
            "seed=0,1",
            "trainer.max_epochs=2",
            "hydra.sweep.dir=out",
            f"hydra/launcher={launcher}",
        ]
        cases += [(f"sweep by {launcher}, {whom}", sweep, ["out"], whom) for whom in ("parent", "child", "all")]
    expected: dict[tuple[str, ...], tuple[dict[str, str], float]] = {}
    for number in range(count):
        name, arguments, made, whom = cases[number % len(cases)]
        _clean(folder, made)
        if tuple(arguments) not in expected:
            began = time.monotonic()
            _must(command(*arguments, cwd=folder))
            expected[tuple(arguments)] = _results(folder / "out"), time.monotonic() - began
            _clean(folder, made)
        results, seconds = expected[tuple(arguments)]
        instant = rng.uniform(0.1, seconds)
        _killed(arguments, folder, instant, whom, rng)
        case = f"{name}, killed after {instant:.2f} s"
        left = (
            {path for path in files_of(folder / "out") if path.endswith(".tmp")} if (folder / "out").exists() else set()
        )
        outcome = command(*arguments, cwd=folder)
        if problem := outcome.problem or (outcome.err if outcome.status else None):
            tally.lose(case, problem)
        elif (found := _results(folder / "out")) != results:
            differing = [path for path in {**found, **results} if found.get(path) != results.get(path)]
            tally.lose(case, f"{', '.join(differing[:3])} differ")
        else:
            tally.survive("ended as if never killed" + (", over half-written files" if left else ""))


def _must(outcome: Outcome) -> None:
    assert outcome.status == 0, outcome.err


def _clean(folder: Path, made: list[str]) -> None:
    for name in made:
        shutil.rmtree(folder / name, ignore_errors=True)


# Figures and tables; logs, pictures' and events' times, and Hydra's notes are of one process.
_COUNTED = (".csv", ".md", ".tex", ".html", "explore.json")


def _results(out: Path) -> dict[str, str]:
    found = files_of(out)
    return {path: without_times(text.decode("latin-1")) for path, text in found.items() if path.endswith(_COUNTED)}


def _killed(arguments: list[str], folder: Path, seconds: float, whom: str, rng: random.Random) -> None:
    """Run a command, and kill it, a process that it has started, or all of them."""
    process = subprocess.Popen(
        composer(*arguments),
        cwd=folder,
        env=surroundings(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    children = _children(process.pid)
    kill: Callable[[], None]
    if whom == "all":
        kill = lambda: os.killpg(process.pid, signal.SIGKILL)  # noqa: E731
    else:
        target = rng.choice(children) if whom == "child" and children else process.pid
        kill = lambda: os.kill(target, signal.SIGKILL)  # noqa: E731
    with contextlib.suppress(ProcessLookupError):
        kill()
    process.wait()
    # What the parent had started ends by itself.
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)


def _children(parent: int) -> list[int]:
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True, text=True, check=False)
    return [int(word) for word in listed.stdout.split()]
