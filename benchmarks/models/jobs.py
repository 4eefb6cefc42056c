"""Trainings of the benchmark: each a `composer train` of its own, in a folder that its name fixes, so that they resume.

outputs/benchmark/STUDY/JOB/   the run directory of a job
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Job:
    """One training.

    Attributes:
        folder: its run directory.
        overrides: of `composer train`.
    """

    folder: Path
    overrides: tuple[str, ...]

    @property
    def done(self) -> bool:
        """Whether the run is completed."""
        try:
            return bool(self.summary["status"] == "completed")
        except (OSError, ValueError, KeyError):
            return False

    @cached_property
    def summary(self) -> dict[str, Any]:
        """The figures of the run; `OSError` without."""
        found: dict[str, Any] = json.loads((self.folder / "summary.json").read_text(encoding="utf-8"))
        return found

    @property
    def manifest(self) -> dict[str, Any]:
        """What made the run."""
        found: dict[str, Any] = json.loads((self.folder / "manifest.json").read_text(encoding="utf-8"))
        return found

    def sibling(self, ending: str) -> Path:
        """Return the path of a file next to the run directory."""
        return self.folder.with_name(f"{self.folder.name}.{ending}")

    def run(self) -> bool:
        """Train, or resume; return whether the run is completed."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        resumes = (self.folder / "config.yaml").exists()
        asked = [f"resume={self.folder}"] if resumes else [*self.overrides, f"hydra.run.dir={self.folder}"]
        # One thread: figures then depend neither on the machine's cores nor on the other worker.
        command = [sys.executable, str(ROOT / "scripts" / "train.py"), *asked, "trainer.progress_bar=false"]
        command = command[:-1] if resumes else command
        with self.sibling("log").open("w", encoding="utf-8") as log:
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, env=environment, check=False)
        self.__dict__.pop("summary", None)
        return self.done


def run_all(jobs: Sequence[Job], workers: int, minutes: float) -> None:
    """Run the jobs that are not done, `workers` at a time.

    Args:
        jobs: in the order in which they begin.
        workers: processes.
        minutes: one job takes, for the first estimate.
    """
    left = [job for job in jobs if not job.done]
    if not left:
        return
    print(f"{len(left)} of {len(jobs)} trainings to do, about {len(left) * minutes / workers:.0f} min", flush=True)
    waiting: queue.Queue[Job] = queue.Queue()
    for job in left:
        waiting.put(job)
    begun, done = time.monotonic(), 0
    lock = threading.Lock()

    def work() -> None:
        nonlocal done
        while True:
            try:
                job = waiting.get_nowait()
            except queue.Empty:
                return
            good = job.run()
            with lock:
                done += 1
                rest = (time.monotonic() - begun) / done * (len(left) - done) / 60
                said = "" if good else f"  failed: {job.sibling('log')}"
                name = f"{job.folder.parent.name}/{job.folder.name}"
                print(f"{done} of {len(left)}  {name}  about {rest:.0f} min left{said}", flush=True)

    threads = [threading.Thread(target=work) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
