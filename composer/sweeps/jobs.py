"""A sweep: many runs, each in a process of its own, so that nothing that happens to one reaches the others.

Whichever of Hydra's launchers calls for a job, the job itself is `composer train` with the job's overrides, in a child
process on the sweep's frozen code and configs. It may raise, exit, be killed or run out of memory: its folder keeps the
log and a `job.json` with how it ended, and the sweep goes on.

No torch: the process that waits stays small.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

from composer.config.keys import quoted
from composer.errors import ComposerError, RunInterrupted
from composer.files import display_path, program, read_json, unwritable, write_json, write_text
from composer.runs import code as source
from composer.runs.layout import JOB, SUMMARY, SWEEP

LOG = "train.log"
# In a job's environment: the number of the process that waits for it, at the other end of its standard input.
PARENT = "COMPOSER_SWEEP"
# What a job is compared by when it ends, and what a sweeper minimises.
SHOWN = ("accuracy/val", "loss/val")
OBJECTIVE = "loss/val"
# In a sweep's folder: the number of the signal that asked the whole sweep to stop. Jobs may run in processes that no
# signal of ours reaches, on other machines even; what they all share is this folder.
STOP = ".stop"
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
# In the environment of a process that submitit started.
_SUBMITIT = "SUBMITIT_EXECUTOR"
_LOOK_EVERY = 0.5  # seconds
_busy = threading.Lock()  # held while a job runs
# Folder of the sweep that this process began; None in the processes that a launcher started for its jobs.
_began: Path | None = None


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
        """Write it down, all or nothing."""
        write_json(self.folder / JOB, {key: value for key, value in asdict(self).items() if key != "folder"})

    @property
    def summary(self) -> dict[str, Any]:
        """What the run says of itself; empty when it has not come to its end."""
        path = self.folder / SUMMARY
        return read_json(path) if path.exists() else {}


def begin(folder: Path, name: str, overrides: Sequence[str], swept: Sequence[str]) -> None:
    """Freeze the code, the configs and the git state of a sweep; one that is there already stays as it was.

    Args:
        folder: of the sweep.
        name: of the sweep.
        overrides: the command's, without those that are about Hydra itself.
        swept: keys in which the jobs differ, in order.

    Raises:
        ComposerError: the folder cannot be written, or its frozen copy was changed.
    """
    now = source.digest()
    if (folder / SWEEP).exists():
        known = read_json(folder / SWEEP).get("code_sha256")
        if source.digest(folder / source.FROZEN) != known:
            frozen = display_path(folder / source.FROZEN)
            raise ComposerError(f"{frozen}: is not what the sweep began with; start a new sweep, or put it back")
        if known != now:
            print(
                f"{display_path(folder)} goes on with the code and configs that it began with, "
                "not with the present ones; another folder starts anew (hydra.sweep.dir=FOLDER)",
                flush=True,
            )
        (folder / STOP).unlink(missing_ok=True)
        return
    for other in sorted(folder.parent.glob(f"*/{SWEEP}")):
        if read_json(other).get("overrides") == list(overrides):
            print(
                f"{display_path(other.parent)} is the same command with other code or configs; "
                f"hydra.sweep.dir={display_path(other.parent)} goes on with it as it was",
                flush=True,
            )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(folder, error) from error
    if not (folder / source.FROZEN).exists():
        source.freeze(folder)
    write_json(
        folder / SWEEP,
        {
            "name": name,
            "overrides": list(overrides),
            "swept": list(swept),
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "code_sha256": now,
            "git": source.git_state(),
        },
    )


def run_job(sweep: Path, job: Job, cwd: Path | None = None) -> float:
    """Run a job to its end in a process of its own, or pass it over when it has been completed.

    Args:
        sweep: folder with the frozen code.
        job: what to run and where.
        cwd: the folder to run it from; as a default the present one.

    Returns:
        The objective.

    Raises:
        ComposerError: the job did not complete.
        RunInterrupted: this process or the sweep was asked to stop; the job has saved and ended, or not begun.
    """
    if (job.folder / JOB).exists() and job.summary.get("status") == "completed":
        before = Job.read(job.folder)
        if before.overrides == job.overrides and before.status == "completed":
            _say(f"{describe(before)}  (from before)")
            return _objective(before)
    if (asked := _asked(sweep)) is not None:
        raise _stopped(asked)
    _say(f"job {job.number:<4} {job.folder.name}  starts; its log: {display_path(job.folder / LOG)}")
    job.write()
    started = time.monotonic()
    log_begins = (job.folder / LOG).stat().st_size if (job.folder / LOG).exists() else 0
    outer = {number: signal.getsignal(number) for number in _SIGNALS}
    with _busy:
        with (job.folder / LOG).open("ab") as log:
            code, stopped = _run(sweep, _command(job), _environment(sweep), cwd, log)
        job.seconds = round(time.monotonic() - started, 1)
        job.status, job.error = _end(job, code, log_begins)
        if stopped is not None and job.status not in ("completed", "interrupted"):
            job.status, job.error = "interrupted", "stopped while it started"
        job.write()
    _say(describe(job))
    if stopped is not None:
        listener = outer[signal.Signals(stopped)]
        if _began is None and callable(listener) and listener is not signal.default_int_handler:
            listener(stopped, None)  # a scheduler's, which queues the job again and ends this process
        raise _stopped(stopped)
    if job.status != "completed":
        raise ComposerError(job.error or job.status)
    return _objective(job)


def _say(line: str) -> None:
    # In one piece: the processes of a launcher share a terminal.
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _asked(sweep: Path) -> int | None:
    """The signal that asked the whole sweep to stop."""
    try:
        return int((sweep / STOP).read_text())
    except (FileNotFoundError, ValueError):
        return None


def _stopped(number: int) -> RunInterrupted:
    name = signal.Signals(number).name
    return RunInterrupted(f"{name}: the sweep was stopped, and its jobs saved; the same command goes on", number)


@contextmanager
def stopping(sweep: Path) -> Iterator[None]:
    """In the process that begins a sweep: on a signal every job saves and ends, whatever launcher runs it.

    The launcher itself hears nothing of it: joblib, for one, would kill the jobs while they save.
    """
    global _began
    before: dict[int, Any] = {}

    def stop(number: int, frame: FrameType | None) -> None:
        if _asked(sweep) is None:
            write_text(sweep / STOP, f"{number}\n")
            _say(f"{signal.Signals(number).name}: the jobs that run save and end; once more stops at once")
        else:
            signal.signal(number, before[number] or signal.SIG_DFL)
            os.kill(os.getpid(), number)

    _began = sweep
    if threading.current_thread() is threading.main_thread():  # only it can listen
        before = {number: signal.signal(number, stop) for number in map(int, _SIGNALS)}
    try:
        yield
    finally:
        _began = None
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)


def leave_signals() -> None:
    """Make a process of joblib's leave signals to the one that began the sweep, and end with it.

    Ctrl-C reaches every process of a terminal, and one that waits for its next job would die of it. One whose parent
    was killed would wait for minutes.
    """
    for number in _SIGNALS:
        # Not SIG_IGN, which the jobs would inherit.
        signal.signal(number, lambda *_: None)
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK_EVERY)
        with _busy:
            os._exit(1)

    threading.Thread(target=watch, daemon=True, name="parent watch").start()


def _command(job: Job) -> list[str]:
    # The folder of the sweep names the job; the ablation's own mode would start the sweep again.
    return [
        sys.executable,
        "-m",
        "composer.cli",
        "train",
        *job.overrides,
        "hydra.mode=RUN",
        f"hydra.run.dir={quoted(str(job.folder.absolute()))}",
    ]


def _environment(sweep: Path) -> dict[str, str]:
    path = [str((sweep / source.FROZEN).absolute()), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(path),
        # Else Python would look in the current folder first, which may be a checkout that has moved on.
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
        # One thread a job, whatever the launcher: as many jobs as cores fill a machine better than threads do, and the
        # figures do not depend on how the jobs were launched. trainer.threads=N gives a job more.
        "OMP_NUM_THREADS": "1",
        # A mistake's line, and then its traceback.
        "COMPOSER_DEBUG": "1",
        PARENT: str(os.getpid()),
    }


def _run(
    sweep: Path, command: list[str], environment: dict[str, str], cwd: Path | None, log: Any
) -> tuple[int, int | None]:
    """Run a command to its end; its status, and the signal that asked for a stop meanwhile."""
    log.write(f"$ {shlex.join(command)}\n".encode())
    log.flush()
    parent = os.getppid()
    with subprocess.Popen(
        command,
        env=environment,
        cwd=cwd,
        # The pipe closes when this process ends, however it ends: the job notices, saves and ends too.
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=subprocess.STDOUT,
        # Ctrl-C reaches the whole group of a terminal: the job gets it from here, once.
        start_new_session=True,
    ) as process:
        listening: AbstractContextManager[list[int]] = _forwarded(process) if _began is None else nullcontext([])
        with listening as received:
            while True:
                try:
                    code = process.wait(_LOOK_EVERY)
                    break
                except subprocess.TimeoutExpired:
                    asked = _asked(sweep)
                    if asked is None and _began is None and os.getppid() != parent:
                        asked = signal.SIGTERM  # the launcher has died
                    if asked is not None and not received:
                        received.append(asked)
                        process.send_signal(signal.SIGINT)
    return code, received[-1] if received else None


@contextmanager
def _forwarded(process: subprocess.Popen[bytes]) -> Iterator[list[int]]:
    """In a launcher's process: pass signals on to the job, and keep them in the list."""
    received: list[int] = []
    before: dict[int, Any] = {}

    def forward(number: int, frame: FrameType | None) -> None:
        outer = before[number]
        if number == signal.SIGTERM and callable(outer):
            outer(number, frame)
            if _SUBMITIT in os.environ:
                # It announces a preemption: the job saves and trains on, until it is killed or asked to stop.
                process.send_signal(number)
            return
        received.append(number)
        process.send_signal(number)

    if threading.current_thread() is not threading.main_thread():
        yield received  # only the main thread can listen
        return
    for number in map(int, _SIGNALS):
        before[number] = signal.getsignal(number)
        signal.signal(number, forward)
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)


def _end(job: Job, code: int, log_begins: int) -> tuple[str, str | None]:
    """Status and first line of the error of a job whose process ended with this code."""
    summary = job.summary
    if code == 0 and summary.get("status") == "completed":
        return "completed", None
    if code < 0:
        name = signal.Signals(-code).name
        return "killed", f"killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
    # Not by the summary, which may be from before.
    status = "interrupted" if code - 128 in _SIGNALS else "failed"
    with (job.folder / LOG).open("rb") as stream:
        stream.seek(log_begins)
        lines = stream.read().decode(errors="replace").splitlines()[1:]
    said = [line.removeprefix("composer train: ") for line in lines if line.startswith("composer train: ")]
    # Without a line of ours it ended by a traceback, whose last line names the error.
    last = [line for line in lines if line.strip()][-1:]
    return status, (said or last or [f"ended with status {code} and said nothing"])[0]


def _objective(job: Job) -> float:
    return float(job.summary[OBJECTIVE])


def describe(job: Job) -> str:
    """A job in one line: how it ended, its figures with their split, its time, its error."""
    return (
        f"job {job.number:<4} {job.folder.name}  {job.status}  {job.seconds:.1f} s  {_figures(job) or job.error or ''}"
    )


def _figures(job: Job) -> str:
    if job.status != "completed":
        return ""
    summary = job.summary
    return "  ".join(f"{key} ({summary['split']}) {summary[key]:.3f}" for key in SHOWN)


def finish(sweep: Path, problem: ComposerError | None, summarise: Callable[[Path], None]) -> None:
    """Tell how the jobs of a sweep ended.

    Args:
        sweep: its folder.
        problem: what ended it before its time.
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
    asked = _asked(sweep)
    if asked is not None and not isinstance(problem, RunInterrupted):
        raise _stopped(asked) from problem
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
    """The jobs of a sweep by number; those whose folder is damaged are left out."""
    found = []
    for path in sorted(sweep.glob(f"*/{JOB}")):
        try:
            found.append(Job.read(path.parent))
        except ComposerError as error:
            print(f"warning: {error}", file=sys.stderr)
    return sorted(found, key=lambda job: job.number)


def table(found: Sequence[Job]) -> list[str]:
    """Lines of a table of jobs: status, figures with their split, time, first line of the error."""
    width = max([len(job.folder.name) for job in found] + [3])
    lines = [f"{'job':<{width}}  {'status':<12}{'seconds':>8}  result"]
    for job in found:
        status = "lost" if job.status == "running" else job.status
        error = job.error or ("its process ended without a word" if status == "lost" else "")
        lines.append(f"{job.folder.name:<{width}}  {status:<12}{job.seconds:>8.1f}  {_figures(job) or error}")
    return lines


def end_with_parent() -> None:
    """In a job's process: when the process that waits for it is gone, stop as on Ctrl-C, saving first."""
    if PARENT not in os.environ:
        return
    # Ray's processes, and so their children, begin with Ctrl-C blocked; those of a sweep in the background ignore it.
    # Here it comes from the process that waits alone.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if _SUBMITIT in os.environ:
        # Slurm announces a preemption by SIGTERM, perhaps to this process too: with a listener the training saves then,
        # and goes on.
        signal.signal(signal.SIGTERM, lambda *_: None)

    def watch() -> None:
        # Not through sys.stdin, whose lock this thread would hold at the interpreter's end.
        while os.read(0, 4096):
            pass
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=watch, daemon=True, name="parent watch").start()
