"""Data files that change, grow, shrink or vanish while they are read; the next reading must see what is there."""

from __future__ import annotations

import random
import shutil
import subprocess
import time
from pathlib import Path

from drills.music import piece, write_pieces
from drills.tally import Outcome, Tally, command, composer, surroundings

_FILES = 60
_EXPLORE = ["explore", "data=midi", "data.path=files", "data.readers=1"]


def run(tally: Tally, count: int, rng: random.Random, folder: Path) -> None:
    """Change files during `count` readings through a store."""
    began = time.monotonic()
    write_pieces(folder / "files", _FILES)
    assert command(*_EXPLORE, "data.cache=fresh", "output=out", cwd=folder).status == 0
    seconds = time.monotonic() - began
    for number in range(count):
        for left in ("files", "cache", "out", "fresh", "other"):
            shutil.rmtree(folder / left, ignore_errors=True)
        write_pieces(folder / "files", _FILES)
        with subprocess.Popen(
            composer(*_EXPLORE, "data.cache=cache", "output=out"),
            cwd=folder,
            env=surroundings(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            time.sleep(rng.uniform(0.3, 1) * min(seconds, 3))
            while process.poll() is None:
                _change(folder / "files", rng)
                time.sleep(0.005)
            out, err = process.communicate()
        case = f"reading {number}"
        problem = Outcome(process.returncode, out, err).problem
        if problem:
            tally.lose(case, problem)
            continue
        again = command(*_EXPLORE, "data.cache=cache", "output=out", cwd=folder)
        fresh = command(*_EXPLORE, "data.cache=fresh", "output=other", cwd=folder)
        if again.problem or again.status != fresh.status:
            tally.lose(case, again.problem or f"reads otherwise afterwards: {again.err[-200:]}")
        elif (
            not again.status
            and (folder / "out/explore.json").read_text() != (folder / "other/explore.json").read_text()
        ):
            tally.lose(case, "believes what is no longer there")
        else:
            tally.survive("refused in a line" if process.returncode else "read")


def _found(folder: Path) -> str:
    return (folder / "explore.json").read_text(encoding="utf-8")


def _change(files: Path, rng: random.Random) -> None:
    path = files / f"{rng.randrange(_FILES):05d}.mid"
    kind = rng.choice(["other", "grow", "cut", "remove", "device"])
    if not path.is_file() or path.is_symlink() or kind == "other":
        path.unlink(missing_ok=True)
        piece(path, rng.randrange(10_000))
    elif kind == "grow":
        with path.open("ab") as stream:
            stream.write(b"\0" * 50)
    elif kind == "cut":
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
    else:
        path.unlink()
        if kind == "device":
            path.symlink_to("/dev/zero")
