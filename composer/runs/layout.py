"""Files of a run directory: their names, and writing them so that a crash leaves the old one or the new one."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from composer.config.paths import PACKAGE
from composer.errors import ComposerError
from composer.files import (
    MAX_JSON_BYTES,
    check_writable_name,
    display_path,
    main_process,
    read_json,
    read_regular,
    unwritable,
    user_path,
)

CONFIG = "config.yaml"
MANIFEST = "manifest.json"
SUMMARY = "summary.json"
METRICS = "metrics.csv"
CHECKPOINTS = "checkpoints"
# In it: the newest state, the one before, and the weights with the lowest validation loss.
LAST, PREVIOUS, BEST = "last.ckpt", "previous.ckpt", "best.ckpt"
SAMPLES = "samples"
SAMPLING = "sampling.json"
LOCK = ".lock"
# Of a sweep, and of a job in it.
SWEEP = "sweep.json"
JOB = "job.json"
# What stands for the run that comes with the package, in place of a run directory; and that run.
PRETRAINED = "pretrained"
PRETRAINED_DIR = PACKAGE / PRETRAINED
# Environment variable with the run directory, for the processes that Lightning starts (`trainer.strategy`).
FOLDER_VARIABLE = "COMPOSER_RUN_DIR"


def run_path(run: str | os.PathLike[str]) -> Path:
    """Return the path of a run directory or checkpoint file as a user names it.

    The word `pretrained` is the run that comes with the package, also where a folder of that name exists: that folder
    is `./pretrained`.
    """
    return PRETRAINED_DIR if run == PRETRAINED else user_path(run)


def is_pretrained(run: Path) -> bool:
    """Return whether a path is the run that comes with the package, into which nothing is written."""
    return run.resolve() == PRETRAINED_DIR


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
    check_writable_name(folder / LOCK)
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


def checkpoint_path(run: Path, checkpoint: str = "best") -> Path:
    """Return the checkpoint file that a run directory or file stands for.

    Raises:
        ComposerError: there is none.
    """
    if run.is_file():
        return run
    if not run.is_dir():
        raise ComposerError(f"run={run}: no such run directory or checkpoint file")
    folder = run / CHECKPOINTS
    path = folder / f"{checkpoint}.ckpt"
    if path.is_file():
        return path
    if (folder / LAST).is_file():
        raise ComposerError(
            f"run={run}: has no {checkpoint}.ckpt (it had not finished an epoch when it was last saved); "
            f"finish it with composer train resume={display_path(run)}, or compose with checkpoint=last"
        )
    if (folder / BEST).is_file():
        raise ComposerError(f"run={run}: has no {checkpoint}.ckpt, only {BEST}: compose with checkpoint=best")
    below = [place for pattern in ("*", "*/*") for place in run.glob(f"{pattern}/{CHECKPOINTS}")]
    newest = max(below, key=lambda place: place.stat().st_mtime, default=None)
    hint = "" if newest is None else f"; the newest below it is {display_path(newest.parent)}"
    raise ComposerError(f"run={run}: has no checkpoints, so it is not a run directory of composer train{hint}")


def check_config(folder: Path) -> None:
    """Refuse a `config.yaml` that the run's manifest does not know: it is not what was trained.

    Manifests of earlier versions, and ones that cannot be read, refuse none.

    Raises:
        ComposerError: see above.
    """
    try:
        manifest = read_json(folder / MANIFEST)
    except ComposerError:
        return  # told where it is read
    resumed = manifest.get("resumed")
    abouts = [manifest, *(resumed if isinstance(resumed, list) else [])]
    known = {about.get("config_sha256") for about in abouts if isinstance(about, dict)} - {None}
    path = folder / CONFIG
    if known and hashlib.sha256(read_regular(path, MAX_JSON_BYTES)).hexdigest() not in known:
        raise ComposerError(f"{path}: damaged or edited (it is not what the run was trained with, by its manifest)")
