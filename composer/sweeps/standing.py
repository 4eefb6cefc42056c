"""How far a running job is: its plan, its last epoch and the time that is left, read from its folder."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from composer.progress import duration
from composer.runs.layout import CONFIG, METRICS
from composer.sweeps.jobs import Job

# A row of `metrics.csv` has some 500 bytes, a config some 3,000.
_MAX_ROW_BYTES = 16_384
_MAX_CONFIG_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Plan:
    """What a job is going to do, from its config.

    Attributes:
        epochs: at most.
        split: how its validation windows were chosen.
        early: whether it may stop before its last epoch.
    """

    epochs: int
    split: str
    early: bool


@dataclass(frozen=True, slots=True)
class Row:
    """The last whole row of `metrics.csv`.

    Attributes:
        epoch: the number of finished epochs.
        figure: name of the figure to show.
        value: of it.
        validated: whether it is of the validation windows.
    """

    epoch: int
    figure: str
    value: float
    validated: bool


def read_plan(folder: Path) -> Plan | None:
    """Return what the job in a folder is going to do; None before it has written its config."""
    try:
        with (folder / CONFIG).open("rb") as stream:
            config = yaml.safe_load(stream.read(_MAX_CONFIG_BYTES))
        trainer = config["trainer"]
        early = trainer.get("early_stopping_patience") is not None
        early = early or "early_stopping" in (config.get("callbacks") or {})
        return Plan(int(trainer["max_epochs"]), str(config["data"]["split"]), early)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError):
        return None


def read_row(folder: Path) -> Row | None:
    """Return the last whole row of a job's `metrics.csv`; None before the first epoch has ended.

    A row that is being written, and one that is damaged, count as not there.
    """
    try:
        with (folder / METRICS).open("rb") as stream:
            head = stream.readline(_MAX_ROW_BYTES)
            size = stream.seek(0, 2)
            stream.seek(max(len(head), size - 2 * _MAX_ROW_BYTES))
            lines = stream.read().split(b"\n")[:-1]
        keys = head.decode("utf-8").rstrip("\n").split(",")
        cells = dict(zip(keys, lines[-1].decode("utf-8").split(","), strict=True))
        epoch = int(cells["epoch"])
        for key in ("accuracy/val", "loss/train"):
            value = float(cells.get(key) or "nan")
            if not math.isnan(value):
                return Row(epoch, key.partition("/")[0], value, key.endswith("/val"))
        return None
    except (OSError, ValueError, KeyError, IndexError):
        return None


# ---- the time that is left


def epochs_left_seconds(done: Sequence[tuple[int, float]], epochs: int, now: float) -> float | None:
    """Return the seconds until the last epoch of a job ends; None before a first epoch says how long one takes.

    Args:
        done: numbers of finished epochs and when they had finished, in seconds: at the start of the job, at the first
            look that found more, and at the last one.
        epochs: of the job in all.
        now: the present.
    """
    (epoch, last) = done[-1]
    # The first interval may hold a part of the start: it is used while there is no other.
    begun = next((point for point in done[1:] if point[0] < epoch), done[0])
    if epoch <= begun[0]:
        return None
    rate = (last - begun[1]) / (epoch - begun[0])
    return max((epochs - epoch) * rate - (now - last), 0.0)


def sweep_left_seconds(running: Sequence[float], waiting: int, job_seconds: float) -> float:
    """Return the seconds until the last job of a sweep ends.

    Args:
        running: remaining seconds of each running job; the same number runs at once while jobs wait.
        waiting: number of jobs that have not begun.
        job_seconds: what one of them takes.
    """
    ends = list(running) or [0.0]
    heapq.heapify(ends)
    for _ in range(waiting):
        heapq.heapreplace(ends, ends[0] + job_seconds)
    return max(ends)


# ---- both together


@dataclass
class Running:
    """A job that runs, as far as its folder tells.

    Attributes:
        job: what `job.json` says.
        began: when it was first seen, in seconds of the monotonic clock.
        plan: None before its config is there.
        row: None before the first epoch has ended.
        done: numbers of finished epochs and when each was seen: at its start, at the first change, at the last.
    """

    job: Job
    began: float
    plan: Plan | None = None
    row: Row | None = None
    done: list[tuple[int, float]] = field(default_factory=list)

    def look(self, now: float) -> None:
        """Read how far it is."""
        self.plan = self.plan or read_plan(self.job.folder)
        self.row = read_row(self.job.folder) or self.row
        epoch = 0 if self.row is None else self.row.epoch
        if self.plan is None:
            return  # the process starts: this is no time of an epoch
        if not self.done or epoch < self.done[-1][0]:
            # A job that goes on begins with the rows of before, cut back to its checkpoint.
            self.done = [(epoch, now)]
        elif epoch > self.done[-1][0]:
            self.done = [*self.done[:2], (epoch, now)]

    @property
    def trained(self) -> bool:
        """Whether its last epoch has ended."""
        return self.plan is not None and self.row is not None and self.row.epoch >= self.plan.epochs

    def left(self, now: float, ending: float | None, whole: float | None) -> float | None:
        """Return the remaining seconds; None if they cannot be estimated.

        Args:
            now: the present.
            ending: seconds that other jobs took after their last epoch; None where none has ended.
            whole: seconds that other jobs took in all.
        """
        if self.trained:
            return None if ending is None or not self.done else ending - (now - self.done[-1][1])
        if self.plan is not None and len(self.done) > 1:
            epochs = epochs_left_seconds(self.done, self.plan.epochs, now)
            if epochs is not None:
                return epochs + (ending or 0.0)
        return None if whole is None else whole - (now - self.began)

    def place(self, now: float, *, brief: bool = False) -> str:
        """Return where it is: its epoch, or what it does before the first and after the last."""
        if self.trained:
            return "scoring" if brief else "trained; scoring and composing"
        if self.plan is None:
            return "starting" if brief else f"starting, {duration(round(now - self.began))}"
        epoch = 0 if self.row is None else self.row.epoch
        return f"epoch {epoch}/{self.plan.epochs}" if brief else f"epoch {epoch} of {self.plan.epochs}"

    def figure(self, *, brief: bool = False) -> str:
        """Return its last figure with the split that it is of; empty before the first epoch has ended."""
        if self.row is None:
            return ""
        split = "" if self.plan is None else f" ({self.plan.split})"
        if not self.row.validated:
            return f"train {self.row.figure} {self.row.value:.3f}"
        return (
            f"{self.row.figure} {self.row.value:.3f}{split}"
            if brief
            else (f"val{split} {self.row.figure} {self.row.value:.3f}")
        )
