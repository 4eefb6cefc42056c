"""Runs, arms and sweeps as they are compared.

An arm is what a sweep compares: the runs that share every swept value but the seed and the fold. A seed's figure is the
mean over its folds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

COMPLETED = "completed"
# Keys that change nothing in a run's figures; threads do by rounding, and are compared apart from the config.
SILENT = (
    "plugins",
    *("name", "resume", "checkpoint", "logging", "sampling", "sampling_grid"),
    *("trainer.progress_bar", "trainer.threads"),
)
# Keys that repeat an arm rather than change it.
FOLD = "data.fold"
REPLICATES = ("seed", FOLD)
# The same files may lie elsewhere: runs are distinguished by content, from the manifest.
PATH = "data.path"


@dataclass(kw_only=True, eq=False)
class Run:
    """One run of an arm.

    Attributes:
        folder: its directory.
        number: its place in the sweep.
        swept: value by swept key, as typed, the seed too.
        status: `completed`, or how it ended instead.
        error: the reason for that, one line.
        config: value by dotted key; empty when the run never began.
        summary: as `summary.json` has it.
        manifest: as `manifest.json` has it; empty when that cannot be read.
        metrics: value by key (`accuracy/val`, `gap/loss` ...) of the weights that are compared; finite.
        curves: a column of `metrics.csv` by key, an epoch an element.
        left_out: why a completed run does not count; None when it does.
    """

    folder: Path
    number: int
    swept: dict[str, str]
    status: str = ""
    error: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    manifest: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    curves: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    left_out: str | None = None

    @property
    def seed(self) -> int | None:
        """The seed that pairs it with the runs of other arms; None when nothing says it."""
        values = (self.config.get("seed"), self.summary.get("seed"), self.swept.get("seed"))
        found = next((value for value in values if value is not None), None)
        try:
            return None if found is None else int(found)
        except (TypeError, ValueError):
            return None

    @property
    def fold(self) -> int | None:
        """The block that it validates on, of several; None where it has one of its own."""
        value = self.config.get(FOLD, self.swept.get(FOLD))
        return int(str(value)) if str(value).isdecimal() else None

    @property
    def counts(self) -> bool:
        """Whether the run enters the averages."""
        return self.status == COMPLETED and self.left_out is None

    @property
    def baselines(self) -> dict[str, dict[str, float]]:
        """Metrics by key of each predictor without a network; empty in runs that have none."""
        found = self.summary.get("baselines")
        return {k: numbers(v) for k, v in found.items() if isinstance(v, dict)} if isinstance(found, dict) else {}


@dataclass(kw_only=True, eq=False)
class Arm:
    """The runs that differ in nothing but the seed and the fold.

    Attributes:
        swept: value by swept key without these, as typed.
        runs: in the order of the sweep, failed ones too.
        confounded: differences from the baseline arm besides the swept keys, which forbid a verdict.
    """

    swept: dict[str, str]
    runs: list[Run]
    confounded: list[str] = field(default_factory=list)

    @property
    def label(self) -> str:
        """`model.dropout=0.5, model.hidden_size=64`; `all runs` where only these differ."""
        return ", ".join(f"{key}={value}" for key, value in self.swept.items()) or "all runs"

    @property
    def counted(self) -> list[Run]:
        """The runs that enter the averages."""
        return [run for run in self.runs if run.counts]

    @property
    def failed(self) -> list[Run]:
        """The runs that did not complete."""
        return [run for run in self.runs if run.status != COMPLETED]

    def by_seed(self, metric: str) -> dict[int, float]:
        """Return the metric of the runs that count and have it, by seed: the mean over the folds where none lacks."""
        folds = {run.fold for run in self.runs}
        found: dict[int, dict[int | None, float]] = {}
        for run in sorted(self.counted, key=lambda run: run.seed or 0):
            if metric in run.metrics and run.seed is not None:
                found.setdefault(run.seed, {})[run.fold] = run.metrics[metric]
        return {seed: sum(values.values()) / len(folds) for seed, values in found.items() if len(values) == len(folds)}


@dataclass(kw_only=True, eq=False)
class Sweep:
    """A folder of runs.

    Attributes:
        folder: where it is.
        name: what it is called.
        swept: the keys whose values differ between the arms.
        arms: in the order of their first job.
        notes: findings that a reader must know, one line each.
        about: as `sweep.json` has it; empty where no sweep made the runs.
    """

    folder: Path
    name: str
    swept: list[str]
    arms: list[Arm]
    notes: list[str]
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def counted(self) -> list[Run]:
        """The runs of all arms that enter the averages."""
        return [run for arm in self.arms for run in arm.counted]


def numbers(tree: dict[str, Any]) -> dict[str, float]:
    """Return the entries that are finite numbers."""
    plain = {
        key: value for key, value in tree.items() if isinstance(value, (int, float)) and not isinstance(value, bool)
    }
    return {key: float(value) for key, value in plain.items() if math.isfinite(value)}


def composed(summary: dict[str, Any]) -> dict[str, float]:
    """What the summary says of the composed pieces: `copying/KEY`, `quality/KEY`, and their overlap with training.

    With `/held_out` behind it, what it says of held-out music.
    """
    found: dict[str, float] = {}
    for block in ("copying", "quality"):
        values = tree(summary.get(block))
        for part, ending in (("composed", ""), ("held_out", "/held_out")):
            figures = numbers(tree(values.get(part)))
            overlap = numbers(tree(tree(values.get("overlap")).get(part)))
            figures |= {"overlap_mean": overlap["mean"]} if "mean" in overlap else {}
            found |= {f"{block}/{key}{ending}": value for key, value in figures.items()}
    # What human excerpts have among themselves stands where held-out music does.
    names = {"distance": "quality/distance", "distance_among": "quality/distance/held_out"}
    return found | {names[key]: value for key, value in numbers(tree(summary.get("quality"))).items() if key in names}


def tree(value: Any) -> dict[str, Any]:
    """Return a node of a JSON file; an empty one in place of anything else."""
    return value if isinstance(value, dict) else {}


def silent(key: str) -> bool:
    """Return whether a key does not influence a run's figures, or only repeats its arm."""
    return key in REPLICATES or any(f"{key}.".startswith(f"{name}.") for name in SILENT)


def shown_value(value: Any) -> str:
    """Return a config's value as one would type it."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    short = f"{value:g}" if isinstance(value, float) else str(value)
    return short if not isinstance(value, float) or float(short) == value else repr(value)


def content_sha256(run: Run) -> str | None:
    """Return SHA-256 of the music that a run was trained on; None when the manifest does not say."""
    data = run.manifest.get("data")
    value = data.get("sha256") if isinstance(data, dict) else None
    return value if isinstance(value, str) else None
