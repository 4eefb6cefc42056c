"""Two processes on one run, one sweep, one store; and a file system whose locks are refused, as on NFS without them."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from pathlib import Path

from drills.music import write_pieces
from drills.tally import QUICK, Outcome, Tally, command, composer, files_of, surroundings

_RUN = ["train", *QUICK, "trainer.max_epochs=30", "hydra.run.dir=run"]
_SWEEP = ["train", "-m", *QUICK, "trainer.max_epochs=3", "seed=0,1", "hydra.sweep.dir=sweep"]
_STORE = ["explore", "data=midi", "data.path=files", "data.cache=cache"]
_NO_LOCKS = """
import errno, fcntl, sys
def lockf(*arguments):
    raise OSError(errno.ENOLCK, "No locks available")
fcntl.lockf = lockf
from composer import cli
sys.exit(cli.run(sys.argv[1], sys.argv[2:]))
"""


def run(tally: Tally, count: int, rng: random.Random, folder: Path) -> None:
    """Start two processes `count` times, of each kind in turn."""
    write_pieces(folder / "files", 40)
    for number in range(count):
        for left in ("run", "sweep", "cache", "one", "other"):
            shutil.rmtree(folder / left, ignore_errors=True)
        kind = ("run", "sweep", "store", "no locks")[number % 4]
        if kind == "no locks":
            done = subprocess.run(
                [sys.executable, "-c", _NO_LOCKS, *rng.choice([_RUN, [*_STORE, "output=one"]])],
                cwd=folder,
                env=surroundings(),
                capture_output=True,
                text=True,
                check=False,
            )
            outcome = Outcome(done.returncode, done.stdout, done.stderr)
            lines = outcome.err.strip().splitlines()
            if problem := outcome.problem:
                tally.lose(kind, problem)
            elif not outcome.status or "No locks available" not in lines[-1]:
                tally.lose(kind, f"goes on without a lock: {lines[-1:]}")
            else:
                tally.survive("told that locks are refused")
            continue
        pairs = {"run": (_RUN, _RUN), "sweep": (_SWEEP, _SWEEP)}
        one, other = pairs.get(kind, ([*_STORE, "output=one"], [*_STORE, "output=other"]))
        outcomes = _both(one, other, folder)
        problem = next((o.problem for o in outcomes if o.problem), None)
        if problem is None and not any(outcome.status == 0 for outcome in outcomes):
            problem = f"none came to its end: {outcomes[0].err[-150:]} / {outcomes[1].err[-150:]}"
        if problem is None and kind == "store":
            readings = [files_of(folder / name).get("explore.json") for name in ("one", "other")]
            problem = None if readings[0] == readings[1] else "two readings of one store differ"
        if problem is None and kind == "sweep":
            again = command(*_SWEEP, cwd=folder)
            problem = again.problem or (again.err if again.status else None)
        if problem:
            tally.lose(f"two of one {kind}", problem)
        else:
            refused = sum(outcome.status != 0 for outcome in outcomes)
            tally.survive(f"{kind}: one was refused in a line" if refused else f"{kind}: both ended well")


def _both(one: list[str], other: list[str], folder: Path) -> list[Outcome]:
    started = [
        subprocess.Popen(
            composer(*arguments),
            cwd=folder,
            env=surroundings(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for arguments in (one, other)
    ]
    ended = [process.communicate() for process in started]
    return [Outcome(p.returncode, out, err) for p, (out, err) in zip(started, ended, strict=True)]
