"""How much more a machine gets done with several jobs of a sweep at once: hydra/launcher=joblib against one by one.

    python benchmarks/sweep_throughput.py                    four jobs, two at once
    python benchmarks/sweep_throughput.py --processes 8 --jobs 16

The same sweep is run whole, start and end included, in turn with each launcher (A B A B ...), each time in an empty
folder. The throughput is jobs an hour; the ratio is taken pair by pair, because the machine's speed drifts; quote the
median. Other work on the machine (its load is printed) takes from both, but not alike. Processor time suffers less from
it, and tells what is lost to running side by side: the ratio can be at most the number of processes divided by it.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def seconds(launcher: list[str], jobs: int, epochs: int, others: list[str]) -> tuple[float, float]:
    """Wall time and processor time of a whole sweep."""
    overrides = [f"seed={','.join(map(str, range(jobs)))}", f"trainer.max_epochs={epochs}", *others]
    command = [sys.executable, str(ROOT / "scripts" / "train.py"), "-m", *launcher, *overrides]
    with tempfile.TemporaryDirectory() as folder:
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wall, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Read the command line, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("override", nargs="*", help="for every job, such as model.hidden_size=64")
    arguments = parser.parse_args()
    joblib = ["hydra/launcher=joblib", f"hydra.launcher.n_jobs={arguments.processes}"]
    ratios = []
    for number in range(arguments.rounds):
        (one, one_cpu), (several, several_cpu) = (
            seconds(launcher, arguments.jobs, arguments.epochs, arguments.override) for launcher in ([], joblib)
        )
        ratios.append(one / several)
        print(
            f"round {number + 1}: serial {one:.1f} s ({3600 * arguments.jobs / one:.0f} jobs an hour), "
            f"{arguments.processes} at once {several:.1f} s ({3600 * arguments.jobs / several:.0f}), "
            f"ratio {ratios[-1]:.2f} (processor time {several_cpu / one_cpu:.2f}, load {os.getloadavg()[0]:.1f})",
            flush=True,
        )
    print(f"median ratio {statistics.median(ratios):.2f} (smallest {min(ratios):.2f}, largest {max(ratios):.2f})")


if __name__ == "__main__":
    main()
