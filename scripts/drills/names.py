"""File names with every byte that a name may hold, given to every command."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

from drills.music import piece
from drills.tally import QUICK, Outcome, Tally, command

# All bytes but the slash and the null byte, in names of at most 60.
_BYTES = [byte for byte in range(1, 256) if byte != 0x2F]
_NAMES = [
    *(b"x" + bytes(_BYTES[k : k + 56]) + b".mid" for k in range(0, len(_BYTES), 56)),
    *(b"=x.mid", b"~x.mid", b" x .mid", b"x\ny.mid", b"null.mid", b"${oc.env:HOME}.mid", b"'\".mid", b"\xff\xfe.mid"),
    b"x" * 251 + b".mid",
]


def run(tally: Tally, count: int, rng: random.Random, folder: Path) -> None:
    """Use `count` names, beginning with those that hold all bytes."""
    piece(folder / "whole", 1)
    for number, name in enumerate(_NAMES[:count]):
        path = Path(os.fsdecode(name))
        shutil.copy(folder / "whole", folder / path)
        run_dir = f"run-{number}"
        commands: list[list[str | bytes]] = [
            ["render", name, "synth=none", "output=out"],
            ["train", "data=midi", b"data.path=" + name, *QUICK, "trainer.max_epochs=1", f"hydra.run.dir={run_dir}"],
            ["train", f"resume={run_dir}", "trainer.max_epochs=2"],
            ["generate", run_dir, b"primer=" + name, "events=20", "output=out"],
            ["generate", run_dir, b"continue_from=" + name, "events=20", "output=out"],
            ["copying", name, run_dir, "output=out"],
            ["report", run_dir, "events=20"],
            ["explore", "data=midi", b"data.path=" + name, "data.window_size=10", "output=out"],
        ]
        for arguments in commands:
            outcome: Outcome = command(*arguments, cwd=folder)
            if outcome.problem or outcome.status:
                tally.lose(f"{arguments[0]!r} of {name!r}", outcome.problem or outcome.err[-200:])
            else:
                tally.survive("worked")
        (folder / path).unlink()
