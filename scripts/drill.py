"""Break things on purpose, and count what survives: `python scripts/drill.py NAME [--count N] [--seed S]`.

A case survives if the command does what it would have done, or says in one line what is wrong, and nothing that was
finished is lost. Without a name the drills are listed. The exit status is 1 if a case was lost.
"""

from __future__ import annotations

import argparse
import importlib
import random
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from drills.tally import NotPossible, Tally

DRILLS = {
    "damage": "bytes of each file of a run directory flipped, cut or replaced, then each command",
    "kill": "SIGKILL in store building, compare, report and sweeps (training: check_resume.py)",
    "disk": "a disk that is full at some write of a training, an exploration, a report, a sweep",
    "changing": "a data file that changes, grows or vanishes while files are read",
    "together": "two processes on one run, one sweep, one store; locks that are refused, as on NFS",
    "clock": "a clock that jumps in the middle of a training",
    "names": "file names with every byte that a name may hold",
    "places": "no home folder, locale C, folders that cannot be written, closed and full streams",
    "size": "20,000 files, and a piece of a million events",
}


def main() -> int:
    """Run the drill that the command line names; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", choices=[*DRILLS, "all"])
    parser.add_argument("--count", type=int, default=20, help="cases; some drills have a fixed number")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if given.name is None:
        width = max(map(len, DRILLS))
        print("\n".join(f"{name:<{width}}  {what}" for name, what in DRILLS.items()))
        return 0
    failed = False
    for name in DRILLS if given.name == "all" else [given.name]:
        tally = Tally(name)
        with tempfile.TemporaryDirectory(prefix="drill-") as folder:
            try:
                importlib.import_module(f"drills.{name}").run(
                    tally, given.count, random.Random(given.seed), Path(folder).resolve()
                )
            except NotPossible as reason:
                print(f"{name}: left out: {reason}")
                continue
        print(tally.report(), flush=True)
        failed = failed or bool(tally.lost)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
