"""Sweeps of training runs: `composer.sweep`. No torch: the jobs train in processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from composer.api.comparison import Comparison, compare
from composer.api.display import table_html
from composer.api.overrides import listed
from composer.api.runs import Run
from composer.config.paths import PACKAGE
from composer.config.texts import quoted
from composer.errors import ComposerError, RunInterrupted
from composer.files import display_path, user_path
from composer.progress import LOG, in_notebook
from composer.runs.layout import CONFIG, SWEEP
from composer.sweeps.jobs import FOLDER_LINE, Job, jobs
from composer.sweeps.processes import PARENT

_ERROR = "composer train: "


class Sweep:
    """A sweep's folder: its jobs, their runs, and their comparison.

    Attributes:
        folder: the folder of the sweep.
    """

    def __init__(self, folder: str | Path) -> None:
        """Keep the folder of a sweep.

        Raises:
            ComposerError: the folder is no sweep's.
        """
        self.folder = user_path(folder).absolute()
        if not (self.folder / SWEEP).is_file():
            raise ComposerError(f"{display_path(self.folder)}: has no {SWEEP}, so it is not the folder of a sweep")

    def __repr__(self) -> str:
        found = self.jobs
        done = sum(job.status == "completed" for job in found)
        return f"<Sweep {display_path(self.folder)}, {done} of {len(found)} jobs completed>"

    def _repr_html_(self) -> str:
        rows = [(job.folder.name, job.status, f"{job.seconds:.1f}", job.error or "") for job in self.jobs]
        return table_html(("job", "status", "seconds", "error"), rows, str(display_path(self.folder)))

    @property
    def jobs(self) -> list[Job]:
        """The jobs by number: `swept` values, `status`, `seconds` and `error` of each."""
        return jobs(self.folder)

    @property
    def runs(self) -> list[Run]:
        """The runs of the jobs by number; a job that failed before its training began has none."""
        return [Run(job.folder) for job in self.jobs if (job.folder / CONFIG).is_file()]

    def compare(self, **arguments: Any) -> Comparison:
        """Compare the arms of the sweep; the arguments and errors are those of `composer.compare`."""
        return compare(self.folder, **arguments)


def sweep(overrides: Iterable[str], *, folder: str | Path | None = None) -> Sweep:
    """Run a sweep, as `composer train -m` does with the same overrides: a job for each combination of values.

    >>> found = composer.sweep(["model.dropout=0.25,0.5", "seed=0,1,2"])     # doctest: +SKIP
    >>> found.compare().conclusions                                          # doctest: +SKIP

    The command runs in a process of its own, and each job in another, so that a job that crashes stops nothing else.
    A notebook and a terminal show a line for each job that starts and ends; a program gets them through the logger
    `composer` at level INFO. The same call continues a sweep that was stopped.

    Args:
        overrides: keys of `composer train`, several values as `seed=0,1,2`, or `ablation=NAME`;
            `hydra/launcher=joblib` runs a job per core.
        folder: the folder of the sweep; None is `outputs/NAME/sweep-ID`.

    Returns:
        The completed sweep; its folder has the comparison of its arms in `compare/`.

    Raises:
        ComposerError: a key or value is wrong, or jobs did not complete; `composer.Sweep(FOLDER)` has the others.
        RunInterrupted: Ctrl+C stopped it; running jobs have saved.
    """
    given = listed(overrides)
    if folder is not None:
        given.append(f"hydra.sweep.dir={quoted(str(user_path(folder)))}")
    lines, status = _run([sys.executable, "-m", "composer", "train", "-m", *given])
    if status:
        raise _error(lines, status)
    return Sweep(_folders(lines)[0])


def _run(command: list[str]) -> tuple[list[str], int]:
    """Run a command to its end and show its lines; return them and its status."""
    environment = {
        **os.environ,
        # The process stops, saving first, when this one ends and its standard input with it.
        PARENT: str(os.getpid()),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(PACKAGE.parent), os.environ.get("PYTHONPATH")])),
        "PYTHONUNBUFFERED": "1",
    }
    lines: list[str] = []
    with subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        # Ctrl+C reaches this process alone, which passes it on once.
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        while True:
            try:
                for line in process.stdout:
                    lines.append(line.rstrip("\n"))
                    _show(lines[-1])
                process.wait()
                break
            except KeyboardInterrupt:
                process.send_signal(signal.SIGINT)
    return lines, process.returncode


def _show(line: str) -> None:
    if in_notebook() or sys.stdout.isatty():
        print(line, flush=True)
    elif line:
        LOG.info("%s", line)


def _error(lines: list[str], status: int) -> ComposerError:
    """Return the error that the command has printed, with the lines that belong to it."""
    begun = [number for number, line in enumerate(lines) if line.startswith(_ERROR)]
    said = f"the sweep ended with status {status}"
    if begun:
        said = lines[begun[-1]].removeprefix(_ERROR)
    if status == 128 + signal.SIGINT:
        return RunInterrupted(said, signal.SIGINT)
    return ComposerError(": ".join([*_folders(lines), said]))


def _folders(lines: list[str]) -> list[str]:
    """Return the folder that the command has printed; none where it stopped before."""
    return [line.removeprefix(FOLDER_LINE) for line in lines if line.startswith(FOLDER_LINE)]
