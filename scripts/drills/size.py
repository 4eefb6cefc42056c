"""Twenty thousand files, and a piece of a million events, in 4 GiB of address space."""

from __future__ import annotations

import random
import resource
import shutil
from pathlib import Path

from drills.music import piece
from drills.tally import QUICK, Tally, command

_FILES, _EVENTS = 20_000, 1_000_000
_BYTES = 6 << 30


def run(tally: Tally, count: int, rng: random.Random, folder: Path) -> None:
    """Explore and train on each, once; the number is fixed."""
    resource.setrlimit(resource.RLIMIT_AS, (_BYTES, _BYTES))
    (folder / "files").mkdir()
    for number in range(200):
        piece(folder / f"{number}.mid", number, notes=20)
    for number in range(_FILES):
        shutil.copy(folder / f"{number % 200}.mid", folder / "files" / f"{number:05d}.mid")
    _long(folder / "long.mid", rng)
    less = ["data.windows_per_epoch=1000", "data.eval_windows=500", "trainer.max_epochs=1", "data.cache=cache"]
    for path in ("files", "long.mid"):
        data = ["data=midi", f"data.path={path}", "data.group_similarity=null"]
        for arguments in (["explore", *data, "data.cache=cache", "output=out"], ["train", *data, *QUICK, *less]):
            outcome = command(*arguments, cwd=folder, timeout=1800)
            if outcome.problem or outcome.status:
                tally.lose(f"{arguments[0]} on {path}", outcome.problem or outcome.err[-300:])
            else:
                tally.survive("worked")


def _long(path: Path, rng: random.Random) -> None:
    """Write a million events of three bytes each, by running status."""
    notes = bytes(
        byte for _ in range(_EVENTS // 2) for pitch in [rng.randrange(40, 90)] for byte in (12, pitch, 64, 12, pitch, 0)
    )
    track = b"\0\x90" + notes[1:] + b"\0\xff\x2f\0"
    header = b"MThd\0\0\0\6\0\0\0\1\0\x60"
    path.write_bytes(header + b"MTrk" + len(track).to_bytes(4, "big") + track)
