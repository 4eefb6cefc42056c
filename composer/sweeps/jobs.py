"""A sweep: many runs, each in a process of its own, so that nothing that happens to one reaches the others.

Whichever of Hydra's launchers calls for a job, the job itself is `composer train` with the job's overrides, in a child
process on the sweep's frozen code and configs. It may raise, exit, be killed or run out of memory: its folder keeps the
log and a `job.json` with how it ended, and the sweep goes on.

No torch: the process that waits stays small.
"""

from __future__ import annotations

import fcntl
import math
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from composer.errors import ComposerError, RunInterrupted
from composer.files import check_writable_name, display_path, program, read_json, unwritable, write_json
from composer.runs import code as source
from composer.runs.layout import JOB, LOCK, SUMMARY, SWEEP

LOG = "train.log"
# Metrics reported for a finished job, and the one that a sweeper minimises.
OBJECTIVE_METRICS = ("accuracy/val", "loss/val")
OBJECTIVE = "loss/val"
# Begins the line that names the folder of a sweep, for people and for the program that started it.
FOLDER_LINE = "sweep      "
# In a sweep's folder: the number of the signal that asked the whole sweep to stop. Jobs may run in processes that no
# signal of ours reaches, on other machines even; what they all share is this folder.
STOP = ".stop"


@dataclass(kw_only=True)
class Job:
    """What `job.json` holds.

    Attributes:
        number: its place in the sweep.
        overrides: everything it was started with.
        swept: those of them in which the sweep's jobs differ, value by key, as typed.
        status: `running`, `completed`, `failed`, `interrupted` or `killed`.
        seconds: wall time of its last process, start included.
        error: the first line of what went wrong.
    """

    number: int
    overrides: list[str]
    swept: dict[str, str]
    status: str = "running"
    seconds: float = 0.0
    error: str | None = None
    folder: Path = field(default_factory=Path)

    @classmethod
    def read(cls, folder: Path) -> Job:
        """Read a job's folder; raises a `ComposerError` when it is damaged."""
        plain = read_json(folder / JOB)
        try:
            return cls(**plain, folder=folder)
        except TypeError as error:
            raise ComposerError(f"{folder / JOB}: damaged ({error})") from error

    def write(self) -> None:
        """Write `job.json` atomically."""
        values = {key: value for key, value in asdict(self).items() if key != "folder"}
        write_json(self.folder / JOB, values, checked=True)

    @property
    def summary(self) -> dict[str, Any]:
        """The run's summary; empty before it has ended."""
        path = self.folder / SUMMARY
        return read_json(path) if path.exists() else {}


def begin(
    folder: Path,
    name: str,
    overrides: Sequence[str],
    swept: Sequence[str],
    hydra: Sequence[str] = (),
    search: Sequence[Path] = (),
) -> bool:
    """Freeze the code, the configs and the git state of a sweep; one that is there already stays as it was.

    Args:
        folder: of the sweep.
        name: of the sweep.
        overrides: the command's, without those that are about Hydra itself.
        swept: keys in which the jobs differ, in order.
        hydra: arguments about Hydra itself that every job gets.
        search: folders of the user's configs.

    Returns:
        Whether the frozen copy is of other code or configs than the present ones.

    Raises:
        ComposerError: the folder cannot be written, or its frozen copy was changed.
    """
    now = source.digest(search, with_plugins=True)
    with _alone(folder):
        return _begin(folder, name, overrides, swept, hydra, search, now)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Make the folder of a sweep, and let no other process begin the same sweep meanwhile."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        check_writable_name(folder / LOCK)
        with (folder / LOCK).open("a") as stream:
            # The kernel drops it when the process ends, however it ends.
            fcntl.lockf(stream, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise unwritable(folder, error) from error


def _begin(
    folder: Path,
    name: str,
    overrides: Sequence[str],
    swept: Sequence[str],
    hydra: Sequence[str],
    search: Sequence[Path],
    now: str,
) -> bool:
    if (folder / SWEEP).exists():
        known = read_json(folder / SWEEP).get("code_sha256")
        if source.frozen_digest(folder) != known:
            frozen = display_path(folder / source.FROZEN)
            raise ComposerError(f"{frozen}: has changed since the sweep began; start a new sweep, or restore it")
        if known != now:
            print(
                f"{display_path(folder)} continues with the code and configs that it began with, "
                "not the current ones; to start a new sweep, choose another folder (hydra.sweep.dir=FOLDER)",
                flush=True,
            )
        (folder / STOP).unlink(missing_ok=True)
        return bool(known != now)
    for other in sorted(folder.parent.glob(f"*/{SWEEP}")):
        same = False
        with suppress(ComposerError):  # a damaged one is of another sweep
            same = read_json(other).get("overrides") == list(overrides)
        if same:
            print(
                f"{display_path(other.parent)} is the same command with different code or configs; "
                f"to continue it: hydra.sweep.dir={display_path(other.parent)}",
                flush=True,
            )
    if not (folder / source.FROZEN).exists():
        source.freeze(folder, search)
    write_json(
        folder / SWEEP,
        {
            "name": name,
            "overrides": list(overrides),
            "swept": list(swept),
            "hydra": list(hydra),
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "code_sha256": now,
            "git": source.git_state(),
        },
        checked=True,
    )
    return False


def stop_signal(sweep: Path) -> int | None:
    """Return the signal that asked the whole sweep to stop."""
    try:
        return int((sweep / STOP).read_text())
    except (FileNotFoundError, ValueError):
        return None


def sweep_stopped(number: int) -> RunInterrupted:
    """Return the error that ends a sweep on a signal."""
    name = signal.Signals(number).name
    return RunInterrupted(f"{name}: the sweep was stopped and its jobs saved; the same command continues it", number)


def objective_of(summary: dict[str, Any]) -> float:
    """Return what a sweep minimises: the last `loss/val` of a run, else the lowest; infinity where none was taken."""
    best = summary.get("best", {})
    return float(summary.get(OBJECTIVE, best.get(OBJECTIVE, math.inf)))


def objective(job: Job) -> float:
    """Return the figure of a completed job that a sweeper minimises."""
    return objective_of(job.summary)


def describe(job: Job) -> str:
    """Return a job in one line: how it ended, its figures with their split, its time, its error."""
    return (
        f"job {job.number:<4} {job.folder.name}  {job.status}  {job.seconds:.1f} s  {_figures(job) or job.error or ''}"
    )


def _figures(job: Job) -> str:
    if job.status != "completed":
        return ""
    summary = job.summary
    return "  ".join(f"{key} ({summary['split']}) {summary[key]:.3f}" for key in OBJECTIVE_METRICS if key in summary)


def finish(sweep: Path, problem: ComposerError | None, summarise: Callable[[Path], None]) -> None:
    """Print how the jobs of a sweep ended.

    Args:
        sweep: its folder.
        problem: the error that ended it early.
        summarise: called with the folder when some jobs have completed.

    Raises:
        ComposerError: the problem that ended it, or that some jobs did not complete.
    """
    found = jobs(sweep)
    if not found:
        # No job was begun: leave nothing behind.
        shutil.rmtree(sweep, ignore_errors=True)
        for parent in (sweep.parent, sweep.parent.parent):
            if parent.is_dir() and not any(parent.iterdir()) and parent not in Path.cwd().parents:
                parent.rmdir()
    else:
        print("\n".join(["", *table(found)]), flush=True)
        if any(job.status == "completed" for job in found):
            summarise(sweep)
    asked = stop_signal(sweep)
    if asked is not None and not isinstance(problem, RunInterrupted):
        raise sweep_stopped(asked) from problem
    if problem is not None:
        raise problem
    lacking = [job for job in found if job.status != "completed"]
    if lacking:
        raise ComposerError(
            f"{len(lacking)} of {len(found)} jobs did not complete; the {LOG} of each holds its traceback, and the "
            "same command runs it again"
        )
    print(f"curves     {program('tensorboard')} --logdir {display_path(sweep)}", flush=True)


def jobs(sweep: Path) -> list[Job]:
    """Return the jobs of a sweep by number; those whose folder is damaged are left out."""
    found = []
    for path in sorted(sweep.glob(f"*/{JOB}")):
        try:
            found.append(Job.read(path.parent))
        except ComposerError as error:
            print(f"warning: {error}", file=sys.stderr)
    return sorted(found, key=lambda job: job.number)


def table(found: Sequence[Job]) -> list[str]:
    """Return lines of a table of jobs: status, figures with their split, time, first line of the error."""
    width = max([len(job.folder.name) for job in found] + [3])
    lines = [f"{'job':<{width}}  {'status':<12}{'seconds':>8}  result"]
    for job in found:
        status = "lost" if job.status == "running" else job.status
        error = job.error or ("its process ended without an error message" if status == "lost" else "")
        lines.append(f"{job.folder.name:<{width}}  {status:<12}{job.seconds:>8.1f}  {_figures(job) or error}")
    return lines
