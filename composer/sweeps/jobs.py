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
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from composer import terminal
from composer.errors import ComposerError, RunInterrupted
from composer.files import check_writable_name, display_path, program, read_json, unwritable, write_json
from composer.progress import duration, say
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
# Characters of a job's name in the table, on however narrow a terminal.
_MIN_NAME = 16


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
    command: Sequence[str] = (),
) -> bool:
    """Freeze the code, the configs and the git state of a sweep; one that is there already stays as it was.

    Args:
        folder: of the sweep.
        name: of the sweep.
        overrides: the command's, without those that are about Hydra itself.
        swept: keys in which the jobs differ, in order.
        hydra: arguments about Hydra itself that every job gets.
        search: folders of the user's configs.
        command: the command with its arguments, as typed, for the record.

    Returns:
        Whether the frozen copy is of other code or configs than the present ones.

    Raises:
        ComposerError: the folder cannot be written, or its frozen copy was changed.
    """
    now = source.digest(search, with_plugins=True)
    with _alone(folder):
        return _begin(folder, name, overrides, swept, hydra, search, command, now)


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
    command: Sequence[str],
    now: str,
) -> bool:
    if (folder / SWEEP).exists():
        known = read_json(folder / SWEEP).get("code_sha256")
        if source.frozen_digest(folder) != known:
            frozen = display_path(folder / source.FROZEN)
            raise ComposerError(f"{frozen}: has changed since the sweep began; start a new sweep, or restore it")
        if known != now:
            say(
                f"{display_path(folder)} continues with the code and configs that it began with, "
                "not the current ones; to start a new sweep, choose another folder (hydra.sweep.dir=FOLDER)"
            )
        (folder / STOP).unlink(missing_ok=True)
        return bool(known != now)
    for other in sorted(folder.parent.glob(f"*/{SWEEP}")):
        same = False
        with suppress(ComposerError):  # a damaged one is of another sweep
            same = read_json(other).get("overrides") == list(overrides)
        if same:
            say(
                f"{display_path(other.parent)} is the same command with different code or configs; "
                f"to continue it: hydra.sweep.dir={display_path(other.parent)}"
            )
    if not (folder / source.FROZEN).exists():
        source.freeze(folder, search)
    write_json(
        folder / SWEEP,
        {
            "name": name,
            "command": list(command),
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


def numbered(job: Job, total: int | None = None) -> str:
    """Return the place of a job in its sweep, counted from 1: `job 3 of 10`, or `job 3` without a total."""
    return f"job {job.number + 1}" + (f" of {total}" if total is not None else "")


def job_name(job: Job) -> str:
    """Return what makes a job another than the others: `regularizer=l1,seed=2`."""
    return ",".join(f"{key}={value}" for key, value in job.swept.items()) or job.folder.name


def shortened(name: str, length: int) -> str:
    """Return a name of at most a length in characters (3 or more).

    What tells jobs apart is kept longest: the groups of keys go first, then the keys, the longest before the others;
    then the middle is cut out.
    """
    pairs = [pair.rpartition("=") for pair in name.split(",")]
    keys = [key.rpartition(".")[2] for key, _, _ in pairs]
    while len(name) > length:
        short = ",".join(f"{key}={value}" if key else value for key, (_, _, value) in zip(keys, pairs, strict=True))
        if len(short) <= length or not any(keys):
            name = short
            break
        keys[keys.index(max(keys, key=len))] = ""
    if len(name) <= length:
        return name
    end = (length - 2) // 2
    return f"{name[: length - 2 - end]}..{name[len(name) - end :]}"


def describe(job: Job, total: int | None = None, columns: int | None = None, more: str = "") -> str:
    """Return a job that has ended in one line: how, in which time, its figure with the split, or its error.

    Args:
        job: the job.
        total: the number of jobs of its sweep; None where it is not known.
        columns: characters within which its name is shortened; None sets no limit.
        more: ends the line.
    """
    verb = {"completed": "completed in", "killed": "ended after", "interrupted": "interrupted after"}
    how = f"{verb.get(job.status, f'{job.status} after')} {duration(job.seconds)}"
    figure, name = _figure(job), job_name(job)
    rest = f"{how}  {figure or job.error or ''}".rstrip() + more
    if columns is not None and figure:
        name = shortened(name, max(columns - len(f"{numbered(job, total)}    {rest}"), _MIN_NAME))
    return f"{numbered(job, total)}  {name}  {rest}"


def _figure(job: Job) -> str:
    if job.status != "completed":
        return ""
    summary = job.summary
    found = next((key for key in OBJECTIVE_METRICS if key in summary), None)
    return "" if found is None else f"{found} ({summary['split']}) {summary[found]:.3f}"


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
        print("\n".join(["", *table(found, terminal.width_of())]), flush=True)
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


def table(found: Sequence[Job], columns: int | None = None) -> list[str]:
    """Return lines of a table of jobs: status, time, validation figures, and the error below a job that has one.

    Args:
        found: the jobs.
        columns: width in characters, within which names are shortened and errors begin another line; None sets none.
    """
    summaries = [job.summary if job.status == "completed" else {} for job in found]
    splits = sorted({str(summary["split"]) for summary in summaries if "split" in summary})
    titles = ["status", "time", *(key.partition("/")[0] for key in OBJECTIVE_METRICS)]
    # The split stands above the table, and in the rows only where the jobs have several.
    rows = [_row(job, summary, several=len(splits) > 1) for job, summary in zip(found, summaries, strict=True)]
    titles += ["val split"] * (len(splits) > 1)
    widths = [max(map(len, cells)) for cells in zip(titles, *rows, strict=True)]
    name_width = max([len(job_name(job)) for job in found] + [3])
    if columns is not None:
        name_width = min(name_width, max(columns - sum(width + 2 for width in widths), _MIN_NAME))
    lines = [f"figures of the validation windows: val ({splits[0]})"] if len(splits) == 1 else []
    lines.append(_aligned("job", titles, name_width, widths))
    for job, row in zip(found, rows, strict=True):
        lines.append(_aligned(shortened(job_name(job), name_width), row, name_width, widths))
        error = job.error or ("its process ended without an error message" if row[0] == "lost" else "")
        if error:
            lines += textwrap.wrap(
                error, columns or 10_000, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False
            )
    return lines


def _row(job: Job, summary: dict[str, Any], *, several: bool) -> list[str]:
    figures = [f"{summary[key]:.3f}" if key in summary else "-" for key in OBJECTIVE_METRICS]
    status = "lost" if job.status == "running" else job.status
    return [status, duration(job.seconds), *figures, *([str(summary.get("split", "-"))] if several else [])]


def _aligned(name: str, cells: Sequence[str], name_width: int, widths: Sequence[int]) -> str:
    # Words to the left, numbers to the right.
    words = (0, 4)
    aligned = [f"{c:<{w}}" if k in words else f"{c:>{w}}" for k, (c, w) in enumerate(zip(cells, widths, strict=True))]
    return "  ".join([f"{name:<{name_width}}", *aligned]).rstrip()
