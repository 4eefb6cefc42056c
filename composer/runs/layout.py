"""Files of a run directory: their names, and writing them so that a crash leaves the old one or the new one."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from composer.errors import ComposerError
from composer.files import display_path, main_process, unwritable

CONFIG = "config.yaml"
MANIFEST = "manifest.json"
SUMMARY = "summary.json"
METRICS = "metrics.csv"
CHECKPOINTS = "checkpoints"
SAMPLES = "samples"
SAMPLING = "sampling.json"
LOCK = ".lock"
# Of a sweep, and of a job in it.
SWEEP = "sweep.json"
JOB = "job.json"
# Environment variable with the run directory, for the processes that Lightning starts (`trainer.strategy`).
FOLDER_VARIABLE = "COMPOSER_RUN_DIR"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a run directory for this process alone.

    A POSIX record lock: the kernel drops it when the process ends, however it ends, and children do not inherit it, so
    that no crash leaves a directory locked. (On network file systems it needs their lock service.)

    Raises:
        ComposerError: another process holds it.
    """
    if not main_process():
        yield  # the first process holds it for all
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stream = (folder / LOCK).open("a+")
    except OSError as error:
        raise unwritable(folder, error) from error
    with stream:
        try:
            fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            stream.seek(0)
            holder = stream.read().strip() or "unknown"
            busy = f"another process (number {holder}) is training in this directory"
            raise ComposerError(f"{display_path(folder)}: {busy}; wait for it to end") from error
        for left in (path for inner in (".", CHECKPOINTS, SAMPLES) for path in (folder / inner).glob(".*.tmp")):
            if left.is_file():
                left.unlink()  # of a write that was killed
        stream.truncate(0)
        stream.write(f"{os.getpid()}\n")
        stream.flush()
        try:
            yield
        finally:
            if not (folder / CONFIG).exists():
                # No run began here; whoever made the folder may remove it.
                (folder / LOCK).unlink(missing_ok=True)
