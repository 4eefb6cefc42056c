"""The count of a drill, and commands run for it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# A small network, trained in seconds.
QUICK = (
    "model.hidden_size=8",
    "data.window_size=10",
    "data.batch_size=256",
    "trainer.threads=1",
    "trainer.progress_bar=false",
    "sampling.events=20",
    "sampling_grid.pieces=0",
    "logging.sample_media=false",
)
# What differs between two runs of one command: times and the names that are made of them.
_TIMES = re.compile(r"\d\d\d\d-\d\d-\d\d_\d\d-\d\d-\d\d_\w{6}|\b\d+(\.\d+)? s\b|\"seconds\": [\d.]+")


class NotPossible(Exception):
    """This machine cannot do the drill."""


@dataclass
class Tally:
    """Cases of a drill.

    Attributes:
        name: of the drill.
        survived: cases by how they ended.
        lost: a line for each case that was lost.
    """

    name: str
    survived: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)

    def survive(self, how: str) -> None:
        """Count a case that survived."""
        self.survived[how] += 1

    def lose(self, case: str, why: str) -> None:
        """Count a case that was lost."""
        self.lost.append(f"{case}: {why}")

    def report(self) -> str:
        """Return the lost cases, and a line with the counts."""
        kept = sum(self.survived.values())
        ways = ", ".join(f"{count} {how}" for how, count in sorted(self.survived.items()))
        head = f"{self.name}: tried {kept + len(self.lost)}, survived {kept} ({ways}), lost {len(self.lost)}"
        return "\n".join([*self.lost, head])


@dataclass(frozen=True)
class Outcome:
    """How a command ended: its exit status, and what it printed, without times."""

    status: int
    out: str
    err: str

    @property
    def problem(self) -> str | None:
        """Why the case is lost whatever it was: a traceback, or a failure without a line; None if there is no such."""
        if "Traceback (most recent call last)" in self.out + self.err:
            return "traceback: " + (self.err.strip().splitlines() or ["?"])[-1]
        if self.status and not self.err.strip():
            return f"status {self.status} without a line"
        if self.status < 0:
            return f"ended by signal {-self.status}"
        return None


def without_times(text: str) -> str:
    """Return a text in which times, and names that are made of them, are replaced."""
    return _TIMES.sub("TIME", text)


def command(
    *arguments: str | bytes, cwd: Path, timeout: float = 600, environment: Mapping[str, str] | None = None
) -> Outcome:
    """Run `composer ARGUMENTS` in a process of its own."""
    done = subprocess.run(
        composer(*arguments),
        cwd=cwd,
        env=surroundings() | dict(environment or {}),
        capture_output=True,
        timeout=timeout,
        check=False,
    )
    out, err = (without_times(text.decode("utf-8", "replace")) for text in (done.stdout, done.stderr))
    return Outcome(done.returncode, out, err)


def composer(*arguments: str | bytes) -> list[str | bytes]:
    """Return the command line of `composer ARGUMENTS` by this Python."""
    return [sys.executable, "-m", "composer.cli", *arguments]


def surroundings() -> dict[str, str]:
    """Return the environment of a command: this one's, with one thread and this checkout."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def files_of(folder: Path) -> dict[str, bytes]:
    """Return the content of each file below a folder, by its path."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
