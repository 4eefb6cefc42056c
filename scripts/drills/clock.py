"""A clock that jumps, forward or back, in the middle of a training; its result must be that of a steady clock."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

from composer.files import read_json
from drills.tally import QUICK, Outcome, Tally, surroundings

_JUMPING = """
import sys, time
calls, at, jump, real = 0, int(sys.argv[1]), float(sys.argv[2]), time.time
def jumping():
    global calls
    calls += 1
    return real() + (jump if calls > at else 0)
time.time = jumping
from composer import cli
sys.exit(cli.run("train", sys.argv[3:]))
"""


def run(tally: Tally, count: int, rng: random.Random, folder: Path) -> None:
    """Train `count` times with a jump of up to a year."""
    expected = _trained(folder, 0, 0.0, "steady")
    assert isinstance(expected, tuple), expected
    for number in range(count):
        at, jump = rng.randrange(200), rng.choice((-1, 1)) * rng.choice((60, 86_400, 366 * 86_400))
        found = _trained(folder, at, jump, f"{number}")
        case = f"a jump of {jump:,} s at the {at}th look at the clock"
        if isinstance(found, str):
            tally.lose(case, found)
        elif found != expected:
            tally.lose(case, "another result")
        else:
            tally.survive("the same result")


def _trained(folder: Path, at: int, jump: float, name: str) -> tuple[str, dict[str, object]] | str:
    """Return table and summary of a training, or what went wrong."""
    arguments = [*QUICK, "trainer.max_epochs=3", f"hydra.run.dir={name}"]
    done = subprocess.run(
        [sys.executable, "-c", _JUMPING, str(at), str(jump), *arguments],
        cwd=folder,
        env=surroundings(),
        capture_output=True,
        text=True,
        check=False,
    )
    outcome = Outcome(done.returncode, done.stdout, done.stderr)
    if outcome.problem or outcome.status:
        return outcome.problem or outcome.err
    summary = read_json(folder / name / "summary.json")
    del summary["seconds"]
    return (folder / name / "metrics.csv").read_text(), summary
