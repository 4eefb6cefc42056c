"""Processes of the jobs of a sweep: start one, pass signals on, end with the parent."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from composer.config.texts import quoted
from composer.errors import ComposerError
from composer.files import check_writable_name, main_process, read_json, write_text
from composer.runs import code as source
from composer.runs.layout import JOB, SWEEP
from composer.sweeps.jobs import LOG, STOP, Job, objective, stop_signal, sweep_stopped
from composer.sweeps.watch import announce, look

# In a job's environment: the number of the process that waits for it, at the other end of its standard input.
PARENT = "COMPOSER_SWEEP"
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
# In the environment of a process that submitit started.
_SUBMITIT = "SUBMITIT_EXECUTOR"
_LOOK_EVERY = 0.5  # seconds
_busy = threading.Lock()  # held while a job runs
# Folder of the sweep that this process began; None in the processes that a launcher started for its jobs.
_began: Path | None = None


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
            # By its time the process that shows the sweep knows that the job was passed over.
            with suppress(OSError):
                os.utime(job.folder / JOB)
            look()
            return objective(before)
    if (asked := stop_signal(sweep)) is not None:
        raise sweep_stopped(asked)
    # A launcher of a job on several nodes calls this in each process; the first one keeps the account.
    first = main_process()
    if first:
        job.write()
    look()
    started = time.monotonic()
    log_begins = (job.folder / LOG).stat().st_size if (job.folder / LOG).exists() else 0
    outer = {number: signal.getsignal(number) for number in _SIGNALS}
    with _busy:
        check_writable_name(job.folder / LOG)
        with (job.folder / LOG).open("ab") as log:
            code, stopped = _run(sweep, _command(job, sweep), _environment(sweep), cwd, log)
        job.seconds = round(time.monotonic() - started, 1)
        job.status, job.error = _end(job, code, log_begins)
        if stopped is not None and job.status not in ("completed", "interrupted"):
            job.status, job.error = "interrupted", "stopped while it started"
        if first:
            job.write()
    look()
    if stopped is not None:
        listener = outer[signal.Signals(stopped)]
        if _began is None and callable(listener) and listener is not signal.default_int_handler:
            listener(stopped, None)  # a scheduler's, which queues the job again and ends this process
        raise sweep_stopped(stopped)
    if job.status != "completed":
        raise ComposerError(job.error or job.status)
    return objective(job)


@contextmanager
def stopping(sweep: Path) -> Iterator[None]:
    """Let every job save and end on a signal, whatever launcher runs it; for the process that begins a sweep.

    The launcher does not get the signal: joblib, for one, would kill the jobs while they save.
    """
    global _began
    before: dict[int, Any] = {}

    def stop(number: int, frame: FrameType | None) -> None:
        if stop_signal(sweep) is None:
            write_text(sweep / STOP, f"{number}\n")
            announce(f"{signal.Signals(number).name}: running jobs save and end; a second signal stops at once")
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


def _command(job: Job, sweep: Path) -> list[str]:
    # Folders of the user's configs, as they were when the sweep began.
    search = ",".join(quoted(f"file://{path.absolute()}") for path in source.frozen_search(sweep))
    # The folder of the sweep names the job; the ablation's own mode would start the sweep again.
    return [
        sys.executable,
        "-m",
        "composer.cli",
        "train",
        *(read_json(sweep / SWEEP).get("hydra", []) if (sweep / SWEEP).exists() else []),
        *([f"hydra.searchpath=[{search}]"] if search else []),
        *job.overrides,
        "hydra.mode=RUN",
        f"hydra.run.dir={quoted(str(job.folder.absolute()))}",
    ]


def _environment(sweep: Path) -> dict[str, str]:
    frozen = [sweep / source.FROZEN, *filter(None, [source.frozen_plugins(sweep)])]
    path = [*(str(folder.absolute()) for folder in frozen), *filter(None, [os.environ.get("PYTHONPATH")])]
    # Set while a command runs, so that Hydra raises its errors; a job would take it for a wish of the user.
    inherited = {name: value for name, value in os.environ.items() if name != "HYDRA_FULL_ERROR"}
    return inherited | {
        "PYTHONPATH": os.pathsep.join(path),
        # Else Python would look in the current folder first, which may be a checkout that has moved on.
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
        # One thread a job, whatever the launcher: as many jobs as cores fill a machine better than threads do, and the
        # figures do not depend on how the jobs were launched. trainer.threads=N gives a job more.
        "OMP_NUM_THREADS": "1",
        # The error's line, then its traceback.
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
                    asked = stop_signal(sweep)
                    if asked is None and _began is None and os.getppid() != parent:
                        asked = signal.SIGTERM  # the launcher has died
                    if asked is not None and not received:
                        received.append(asked)
                        process.send_signal(signal.SIGINT)
    return code, received[-1] if received else None


@contextmanager
def _forwarded(process: subprocess.Popen[bytes]) -> Iterator[list[int]]:
    """Pass signals on to the job, and keep them in the list; for the process of a launcher."""
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
    """Return status and first line of the error of a job whose process ended with this code."""
    summary = job.summary
    # The other processes of a training end before the first has written the summary.
    if code == 0 and (summary.get("status") == "completed" or not main_process()):
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
    return status, (said or last or [f"ended with status {code} without an error message"])[0]


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
