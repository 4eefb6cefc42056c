"""Odd surroundings: no home folder, an ASCII locale, folders that cannot be written, closed and full streams."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

from drills.disk import own_namespace
from drills.music import piece
from drills.tally import QUICK, NotPossible, Outcome, Tally, command, surroundings

_RUN = ["trainer.max_epochs=1", *QUICK]


def run(tally: Tally, count: int, rng: random.Random, folder: Path) -> None:
    """Try each of the surroundings once; the number is fixed."""
    try:
        own_namespace()
        read_only = True
    except NotPossible as reason:
        print(f"places: read-only folders are left out: {reason}")
        read_only = False
    piece(folder / "ünï-♪.mid", 1)
    music = ["data=midi", "data.path=ünï-♪.mid"]
    ascii_only = {
        "LANG": "C",
        "LC_ALL": "C",
        "PYTHONIOENCODING": "ascii",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
    }
    works = [
        ("an ASCII locale", ["train", *music, *_RUN, "hydra.run.dir=run"], ascii_only),
        ("an ASCII locale", ["train", "resume=run", "trainer.max_epochs=2"], ascii_only),
        ("an ASCII locale", ["explore", *music, "data.window_size=10", "output=out"], ascii_only),
        ("an ASCII locale", ["copying", "ünï-♪.mid", "run", "output=out"], ascii_only),
        ("an ASCII locale", ["render", "ünï-♪.mid", "synth=none", "output=out"], ascii_only),
        ("no home folder", ["train", *_RUN, "hydra.run.dir=homeless"], {"HOME": "/nonexistent"}),
        ("no home folder", ["explore", "output=out"], {"HOME": ""}),
    ]
    for place, arguments, environment in works:
        _count(tally, f"{place}: {arguments[0]}", command(*arguments, cwd=folder, environment=environment), works=True)
    for streams in (">&-", "2>&-", "<&-", ">&- 2>&- <&-", "| :"):
        _count(tally, f"{streams}: train", _shell(f"train {' '.join(_RUN)} {streams}", folder), works=True)
    _count(tally, ">/dev/full: train", _shell(f"train {' '.join(_RUN)} >/dev/full", folder), works=False)
    if not read_only:
        return
    subprocess.run(["mount", "--bind", str(folder), str(folder)], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", str(folder)], check=True)
    try:
        for arguments in (
            ["train", *_RUN],
            ["train", "-m", *_RUN, "seed=0,1"],
            ["train", "resume=run", "trainer.max_epochs=3"],
            ["generate", "run"],
            ["evaluate", "run"],
            ["report", "run"],
            ["explore"],
            ["render", "ünï-♪.mid"],
            ["export", "run", "output=a.safetensors"],
            ["copying", "ünï-♪.mid", "run"],
            ["compare", "."],
        ):
            _count(tally, f"a read-only folder: {arguments[0]}", command(*arguments, cwd=folder), works=False)
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def _count(tally: Tally, case: str, outcome: Outcome, *, works: bool) -> None:
    if outcome.problem and not (works and outcome.status == 0):
        tally.lose(case, outcome.problem)
    elif works and outcome.status:
        tally.lose(case, outcome.err[-200:])
    elif not works and (not outcome.status or len(outcome.err.strip().splitlines()) > 3):
        tally.lose(case, f"status {outcome.status}: {outcome.err[-300:]}")
    else:
        tally.survive("worked" if works else "told in a line")


def _shell(text: str, folder: Path) -> Outcome:
    line = f'"$0" -m composer.cli {text}'
    done = subprocess.run(
        ["sh", "-c", line, sys.executable], cwd=folder, env=surroundings(), capture_output=True, text=True, check=False
    )
    return Outcome(done.returncode, done.stdout, done.stderr)
