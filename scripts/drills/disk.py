"""A disk that is full at some write: a file system in memory of every size up to what a command needs."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from drills.tally import QUICK, NotPossible, Tally, command

_INSIDE = "COMPOSER_DRILL_NAMESPACE"
_RUN = "disk/run"
_TRAIN = ["train", *QUICK, "trainer.max_epochs=3", "checkpoint.every_epochs=1", f"hydra.run.dir={_RUN}"]
_COMMANDS = {
    "train": _TRAIN,
    "explore": ["explore", "output=disk/out"],
    "report": ["report", "whole", "output=disk/page.html", "events=20"],
    "export": ["export", "whole", "output=disk/a.safetensors"],
    "generate": ["generate", "whole", "output=disk/out", "events=20"],
}


def own_namespace() -> None:
    """Start this program again where it may mount file systems, unless it is there already.

    Raises:
        NotPossible: the machine does not allow it.
    """
    if os.environ.get(_INSIDE):
        return
    test = ["unshare", "--map-root-user", "--mount", "true"]
    there = sys.platform == "linux" and shutil.which("unshare") is not None
    if not there or subprocess.run(test, check=False, capture_output=True).returncode:
        raise NotPossible("needs unshare of util-linux and user namespaces")
    sys.stdout.flush()
    os.execvpe("unshare", [*test[:-1], sys.executable, *sys.argv], {**os.environ, _INSIDE: "1"})


def run(tally: Tally, count: int, rng: random.Random, folder: Path) -> None:
    """Run each command in turn on disks of several sizes, `count` in all; a training is then resumed with more room."""
    own_namespace()
    (folder / "disk").mkdir()
    assert command(*_TRAIN, cwd=folder).status == 0
    expected = (folder / _RUN / "metrics.csv").read_text()
    (folder / _RUN).rename(folder / "whole")
    needed: dict[str, int] = {}
    for number in range(count):
        name = list(_COMMANDS)[number % len(_COMMANDS)]
        if name not in needed:
            with _mounted(folder / "disk", 500_000):
                assert command(*_COMMANDS[name], cwd=folder).status == 0
                needed[name] = sum(path.stat().st_blocks * 512 for path in (folder / "disk").rglob("*")) // 1024
        size = rng.randrange(4, needed[name] + 40)
        case = f"{name} on {size} of {needed[name]} KiB"
        with _mounted(folder / "disk", size):
            outcome = command(*_COMMANDS[name], cwd=folder)
            lines = outcome.err.strip().splitlines()
            told = bool(lines) and ("space" in lines[-1] or "No space" in outcome.err)
            if problem := outcome.problem:
                tally.lose(case, problem)
                continue
            if outcome.status and not told:
                tally.lose(case, f"no word of the disk: {outcome.err[-200:]}")
                continue
            if outcome.status and name == "train" and (folder / _RUN / "config.yaml").exists():
                problem = _resumed(folder, expected)
                if problem:
                    tally.lose(case, problem)
                    continue
            tally.survive("told in a line" if outcome.status else "had room enough")


def _resumed(folder: Path, expected: str) -> str:
    """Give the training more room and resume it; return what is wrong, or nothing."""
    summary = folder / _RUN / "summary.json"
    if not summary.exists():
        return "no summary.json"
    if json.loads(summary.read_text())["status"] != "failed":
        return "not recorded as failed"
    subprocess.run(["mount", "-o", "remount,size=500000k", str(folder / "disk")], check=True)
    outcome = command("train", f"resume={_RUN}", cwd=folder)
    if outcome.status:
        return f"cannot be resumed: {outcome.err[-200:]}"
    return "" if (folder / _RUN / "metrics.csv").read_text() == expected else "resumed to another end"


@contextlib.contextmanager
def _mounted(folder: Path, size: int) -> Iterator[None]:
    """Mount a file system of a size in KiB."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
