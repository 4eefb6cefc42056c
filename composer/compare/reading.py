"""Read the runs of a folder, a sweep's jobs or any run directories, and sort them into arms. Needs no torch."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from composer.compare.runs import (
    COMPLETED,
    PATH,
    REPLICATES,
    Arm,
    Run,
    Sweep,
    composed,
    content_sha256,
    numbers,
    shown_value,
    silent,
)
from composer.config.run_file import read_values
from composer.errors import ComposerError
from composer.files import display_path, read_json
from composer.registry import KINDS
from composer.runs.layout import CONFIG, JOB, MANIFEST, METRICS, SUMMARY, SWEEP, check_config
from composer.runs.metrics_table import read_metrics

# Accuracy and loss of training against validation: a metric of our own, a difference of two of the run's.
_LEFT_OUT = "left out: "
GAPS = {"gap/accuracy": ("accuracy/train", "accuracy/val"), "gap/loss": ("loss/val", "loss/train")}


def read_sweep(folder: Path, weights: str) -> Sweep:
    """Read a sweep's folder, or find the run directories below any other.

    Args:
        folder: holds `sweep.json` and a folder per job, or runs at any depth.
        weights: `final` or `best`, whose metrics are read.

    Raises:
        ComposerError: no such folder, or no runs in it.
    """
    if not folder.is_dir():
        raise ComposerError(f"{display_path(folder)}: no such folder")
    if is_run(folder):
        raise ComposerError(f"{display_path(folder)}: is one run; compare needs a folder with several runs")
    notes: list[str] = []
    folder = _only_sweep_below(folder)
    about: dict[str, Any] = {}
    if (folder / SWEEP).exists():
        try:
            about = read_json(folder / SWEEP)
        except ComposerError as error:
            notes.append(f"{error}; the arms are derived from the jobs")
    jobs = sorted(path.parent for path in folder.glob(f"*/{JOB}") if not path.parent.name.startswith("."))
    if jobs:
        runs = [run for path in jobs if (run := _read_job(path, notes)) is not None]
        strays = [path.name for path in sorted(folder.iterdir()) if path not in jobs and is_run(path)]
        notes += [f"{name}: ignored, because it has no {JOB}" for name in strays]
    else:
        sweeps = [path.parent.name for path in sorted(folder.glob(f"*/{SWEEP}"))]
        if sweeps:
            found = f"{display_path(folder)}: holds the sweeps {', '.join(sweeps)}"
            notes.append(f"{found}, compared as one; give one folder to see it alone")
        runs = [Run(folder=path, number=k, swept={}) for k, path in enumerate(find_runs(folder))]
    if not runs:
        raise ComposerError(
            f"{display_path(folder)}: holds no runs; composer train -m ablation=l1 makes a sweep to compare"
        )
    for run in runs:
        _read_run(run, weights, notes)
    if not jobs:
        runs = _with_known_config(folder, runs, notes)
        _derive_swept(runs)
    name = about.get("name")
    sweep = _by_arm(folder, name if isinstance(name, str) else folder.resolve().name, runs, notes)
    sweep.about = about
    return sweep


def read_runs(folders: Sequence[Path], weights: str) -> Sweep:
    """Read run directories, wherever they are, as a sweep over the keys in which they differ.

    Args:
        folders: run directories.
        weights: `final` or `best`, whose metrics are read.

    Raises:
        ComposerError: one is not a run directory.
    """
    for folder in folders:
        if not is_run(folder):
            raise ComposerError(f"{display_path(folder)}: is no run directory")
    notes: list[str] = []
    runs = [Run(folder=folder.absolute(), number=k, swept={}) for k, folder in enumerate(folders)]
    for run in runs:
        _read_run(run, weights, notes)
    runs = _with_known_config(Path(os.path.commonpath([run.folder for run in runs])), runs, notes)
    _derive_swept(runs)
    common = Path(os.path.commonpath([run.folder.parent for run in runs]))
    return _by_arm(common, f"{len(runs)} runs", runs, notes)


def _by_arm(folder: Path, name: str, runs: list[Run], notes: list[str]) -> Sweep:
    """Sort runs into arms by their swept values."""
    runs.sort(key=lambda run: run.number)
    arms: dict[tuple[tuple[str, str], ...], Arm] = {}
    for run in runs:
        swept = {key: value for key, value in run.swept.items() if key not in REPLICATES}
        arms.setdefault(tuple(swept.items()), Arm(swept=swept, runs=[])).runs.append(run)
    folds = sorted({run.fold for run in runs if run.fold is not None})
    if len(folds) > 1:
        notes.append(f"data.fold={','.join(map(str, folds))}: a seed's figure is the mean over these")
    keys = list(dict.fromkeys(key for arm in arms.values() for key in arm.swept))
    return Sweep(folder=folder, name=name, swept=keys, arms=list(arms.values()), notes=notes)


def read_run(folder: Path) -> Run:
    """Read one run directory, its figures after the last epoch.

    Raises:
        ComposerError: its config or summary is damaged.
    """
    run = Run(folder=folder, number=0, swept={})
    notes: list[str] = []
    _read_run(run, "final", notes)
    for note in notes:
        if not note.startswith(_LEFT_OUT):
            warnings.warn(note, stacklevel=2)
    if run.status == "damaged":
        raise ComposerError(run.error)
    if run.status != COMPLETED and (folder / METRICS).exists():
        run.curves = read_metrics(folder)  # of a run that did not complete
    return run


def is_run(folder: Path) -> bool:
    """Return whether a folder is a run directory."""
    return (folder / CONFIG).is_file() or (folder / SUMMARY).is_file()


def _only_sweep_below(folder: Path) -> Path:
    """Return the one sweep below a folder such as `outputs/l1`."""
    if (folder / SWEEP).exists():
        return folder
    inner = [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
    sweeps = [path for path in inner if (path / SWEEP).exists()]
    return sweeps[0] if len(sweeps) == 1 == len(inner) else folder


def find_runs(folder: Path) -> Iterator[Path]:
    """Yield the run directories in a folder and below it, by name; hidden folders are left out."""
    for path, inner, _ in os.walk(folder):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        if is_run(Path(path)):
            inner.clear()
            yield Path(path)


def _read_job(folder: Path, notes: list[str]) -> Run | None:
    try:
        job = read_json(folder / JOB)
        swept, number = job.get("swept"), job.get("number")
        if not isinstance(swept, dict) or not isinstance(number, int):
            raise ComposerError(f"{folder / JOB}: damaged (no number or no swept values)")
    except ComposerError as error:
        notes.append(f"{_LEFT_OUT}{folder.name}, because its arm is not known ({error})")
        return None
    return Run(
        folder=folder,
        number=number,
        swept={str(key): str(value) for key, value in swept.items()},
        status=str(job.get("status") or ""),
        error=_first_line(job.get("error")),
    )


def _read_run(run: Run, weights: str, notes: list[str]) -> None:
    """Fill a run from its directory; note damaged files, and leave the run out where one is essential."""
    try:
        if (run.folder / SUMMARY).exists() or run.status == COMPLETED:
            run.summary = read_json(run.folder / SUMMARY)
        if (run.folder / CONFIG).exists() or run.status == COMPLETED:
            run.config = read_values(run.folder / CONFIG)
            check_config(run.folder)
    except ComposerError as error:
        run.status, run.error = "damaged", str(error)
        notes.append(f"{_LEFT_OUT}{run.folder.name} ({error})")
        return
    if run.status in ("", "running"):
        # Not a sweep's job, or one that has just ended.
        run.status = str(run.summary.get("status") or run.status or "unfinished")
    run.error = run.error or _first_line(run.summary.get("error"))
    if run.status == "unfinished":
        notes.append(f"{_LEFT_OUT}{run.folder.name} (no {SUMMARY}: it has not ended)")
    if run.status != COMPLETED:
        return
    for name, reader in ((MANIFEST, _read_manifest), (METRICS, _fill_curves)):
        try:
            reader(run)
        except ComposerError as error:
            notes.append(f"{error}; {run.folder.name} counts, except in figures that need {name}")
    run.metrics = numbers(run.summary)
    if weights == "best":
        best = run.summary.get("best")
        if not isinstance(best, dict) or not isinstance(best.get("epoch"), int):
            run.left_out = f"{SUMMARY} has no best"
            return
        # The training's own figures of that epoch stand in the record alone.
        rows = np.flatnonzero(run.curves.get("epoch", np.zeros(0)) == best["epoch"])
        then = {key: float(column[rows[0]]) for key, column in run.curves.items()} if len(rows) else {}
        run.metrics = numbers(then) | numbers(best)
    # The pieces at the end of a run are composed with its best weights, whichever are compared.
    run.metrics |= composed(run.summary)
    for gap, (left, right) in GAPS.items():
        if left in run.metrics and right in run.metrics:
            run.metrics[gap] = run.metrics[left] - run.metrics[right]
    trial = run.summary.get("no_result")
    if isinstance(trial, list) and trial:
        run.left_out = f"a trial by {', '.join(map(str, trial))}"
    if run.seed is None:
        run.left_out = "its seed is not known"


def _read_manifest(run: Run) -> None:
    run.manifest = read_json(run.folder / MANIFEST)


def _fill_curves(run: Run) -> None:
    run.curves = read_metrics(run.folder, run.summary.get("metrics_sha256"))


def _with_known_config(folder: Path, runs: list[Run], notes: list[str]) -> list[Run]:
    """Return the runs whose config can be read, without which their arm is not known; note the others.

    Raises:
        ComposerError: there is none.
    """
    for run in runs:
        if not run.config:
            notes.append(f"{_LEFT_OUT}{run.folder.name}, because its arm is not known ({run.error or f'no {CONFIG}'})")
    known = [run for run in runs if run.config]
    if not known:
        raise ComposerError(f"{display_path(folder)}: no run of it can be used ({'; '.join(notes[:3])})")
    return known


def _derive_swept(runs: list[Run]) -> None:
    """Derive the swept keys from the differences between the configs, where no sweep records them."""
    known = [run for run in runs if run.config]
    contents = {content_sha256(run) for run in known if run.status == COMPLETED}
    same_content = len(contents) == 1 and None not in contents
    keys = list(dict.fromkeys(key for run in known for key in run.config if not silent(key)))
    if same_content:
        keys = [key for key in keys if key != PATH]
    differing = [key for key in keys if len({shown_value(run.config.get(key)) for run in known}) > 1]
    differing = [key for key in differing if not _follows_from_part(key, differing, known)]
    for run in runs:
        run.swept = {key: shown_value(run.config.get(key)) for key in differing}


def _follows_from_part(key: str, differing: Sequence[str], runs: Sequence[Run]) -> bool:
    """Return whether only some parts of a group have a key, and its value differs only where another part is chosen."""
    group = key.split(".")[0]
    if group not in KINDS or all(key in run.config for run in runs):
        return False
    name = f"{group}.{KINDS[group].named_by}"
    if name == key or name not in differing:
        return False
    values: dict[str, set[str]] = {}
    for run in runs:
        values.setdefault(shown_value(run.config.get(name)), set()).add(shown_value(run.config.get(key)))
    return all(len(found) == 1 for found in values.values())


def _first_line(text: object) -> str:
    return (str(text).splitlines() or [""])[0] if text else ""
