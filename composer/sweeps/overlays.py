"""TensorBoard's runs of a sweep's arms: for each arm and split a run with the mean over the seeds, and a band."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from composer.config.limits import CHANNELS
from composer.errors import ComposerError
from composer.files import safe_name
from composer.runs.layout import METRICS
from composer.runs.metrics_table import read_metrics
from composer.runs.split_curves import SPLITS
from composer.runs.tensorboard import EVENTS_PREFIX, EventFile, Layout
from composer.sweeps.jobs import Job

# Columns of `metrics.csv`, (epochs,) each.
Table = dict[str, NDArray[np.float64]]
# Folder of the arms' runs in a sweep.
ARMS = "arms"
# Keys that repeat an arm rather than change it.
_REPLICATES = ("seed", "data.fold")
_METRICS = ["loss", "accuracy", "accuracy_joint", *(f"{kind}_{c}" for kind in ("nll", "accuracy") for c in CHANNELS)]
_KEYS = [f"{metric}/{split}" for metric in _METRICS for split in SPLITS]
# A band needs tags for its edges, which TensorBoard lists; the name puts them last.
BAND = "zz_band"
_BANDED = ("loss", "accuracy")
_LAYOUT: Layout = {
    "arms: mean over the seeds": {metric: [f"^{metric}$"] for metric in _METRICS},
    "arms: mean and one standard deviation": {
        metric: (metric, f"{BAND}/{metric}_low", f"{BAND}/{metric}_high") for metric in _BANDED
    },
}


def arms(jobs: Sequence[Job]) -> dict[str, list[Job]]:
    """The completed jobs by arm, in the order of the jobs: an arm is what was swept, but for the seed and the fold."""
    found: dict[str, list[Job]] = {}
    for job in jobs:
        if job.status == "completed":
            name = ",".join(f"{key}={value}" for key, value in job.swept.items() if key not in _REPLICATES)
            found.setdefault(name or "all", []).append(job)
    return found


def write_overlays(sweep: Path, jobs: Sequence[Job], figures: Sequence[Path] = ()) -> None:
    """Write the arms' runs below `sweep/arms`, in place of older ones.

    Args:
        sweep: folder of the sweep.
        jobs: all its jobs; only the completed ones count.
        figures: PNG files that TensorBoard shows under *Images*.
    """
    shutil.rmtree(sweep / ARMS, ignore_errors=True)
    for name, members in arms(jobs).items():
        tables = _tables(members)
        for split in SPLITS if tables else ():
            _write_arm(sweep / ARMS / safe_name(name) / split, split, tables)
    if not (sweep / ARMS).exists() and not figures:
        return
    (sweep / ARMS).mkdir(exist_ok=True)
    file = EventFile(sweep / ARMS / f"{EVENTS_PREFIX}000000")
    file.layout(_LAYOUT)
    for path in figures:
        file.image(0, f"figures/{path.stem}", path.read_bytes())
    file.close()


def _write_arm(folder: Path, split: str, tables: Sequence[Table]) -> None:
    """Write the run of an arm and a split: the means of its seeds by metric, and the edges of the bands."""
    folder.mkdir(parents=True)
    file = EventFile(folder / f"{EVENTS_PREFIX}000000")
    for epoch in range(1, max(len(table["epoch"]) for table in tables) + 1):
        # Runs that stopped early count up to their last epoch.
        rows = [table for table in tables if len(table["epoch"]) >= epoch]
        points: dict[str, float] = {}
        for metric in _METRICS:
            values = np.array([table[f"{metric}/{split}"][epoch - 1] for table in rows])
            mean = points[metric] = float(values.mean())
            if metric in _BANDED:
                deviation = float(values.std(ddof=1)) if len(values) > 1 else 0.0
                points |= {f"{BAND}/{metric}_low": mean - deviation, f"{BAND}/{metric}_high": mean + deviation}
        file.scalars(epoch, {tag: value for tag, value in points.items() if not np.isnan(value)})
    file.close()


def _tables(members: Sequence[Job]) -> list[Table]:
    tables = []
    for job in members:
        try:
            table = read_metrics(job.folder)
            lacking = next((key for key in _KEYS if key not in table), None)
            if lacking is not None:
                raise ComposerError(f"{job.folder / METRICS}: damaged (no column {lacking})")
            tables.append(table)
        except ComposerError as error:
            warnings.warn(f"{error}; left out of TensorBoard's means", stacklevel=2)
    return tables
