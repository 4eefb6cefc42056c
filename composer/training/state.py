"""The state of a training run that its checkpoints hold in addition to weights and optimiser."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import pytorch_lightning as pl


@dataclass(slots=True)
class TrainingState:
    """Position, metrics and clock of a training, shared by the callbacks of a run.

    Attributes:
        position: epoch and batch that come next.
        steps: optimiser steps so far.
        best_epoch: finished epochs when `loss/val` was lowest; 0 before the first epoch.
        best_value: the lowest `loss/val`.
        metrics: of the last finished epoch, and of the test windows after the last one.
        lengths: length in bytes of each file of the record at the last checkpoint; None before the first. Saved by
            `RecordCallback`, like `digests` and `damaged`; all else by `ProgressCallback`.
        digests: SHA-256 of these files.
        damaged: names of files of the record that had changed when the run was resumed.
        best_lost: whether the weights of the best epoch can no longer be read, so that a later one takes its place.
        ended: whether the training ended before `trainer.max_epochs`, so that a resumed run does not go on.
        last: whether the epoch that just ended is the last one; not saved.
    """

    position: tuple[int, int] = (0, 0)
    steps: int = 0
    best_epoch: int = 0
    best_value: float = float("inf")
    metrics: dict[str, float] = field(default_factory=dict)
    lengths: dict[str, int] | None = None
    digests: dict[str, str] = field(default_factory=dict)
    damaged: list[str] = field(default_factory=list)
    best_lost: bool = False
    ended: bool = False
    last: bool = False
    _seconds: float = 0.0
    _since: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Seconds of training, over all resumptions."""
        return self._seconds + time.monotonic() - self._since

    @property
    def new(self) -> bool:
        """Whether the run has no checkpoint yet."""
        return self.lengths is None

    def start_clock(self) -> None:
        """Count seconds from now on."""
        self._since = time.monotonic()

    def stop_clock(self) -> float:
        """Keep the seconds so far, and return them."""
        self._seconds, self._since = self.seconds, time.monotonic()
        return self._seconds

    @property
    def clocked(self) -> float:
        """Seconds of training up to the last `stop_clock`."""
        return self._seconds

    def note_end(self, trainer: pl.Trainer) -> None:
        """Note whether the epoch that ends is the last one."""
        epoch = self.position[0]
        stopped = trainer.should_stop and epoch >= (trainer.min_epochs or 0) and self.steps >= (trainer.min_steps or 0)
        self.ended = stopped or 0 <= trainer.max_steps <= self.steps or bool(trainer.fast_dev_run)  # type: ignore[attr-defined]
        self.last = self.ended or epoch == trainer.max_epochs

    def to_plain(self) -> dict[str, Any]:
        """Return plain values for a checkpoint, without `lengths`."""
        return {
            "position": list(self.position),
            "steps": self.steps,
            "best_epoch": self.best_epoch,
            "best_value": self.best_value,
            "metrics": self.metrics,
            "seconds": self.seconds,
            "ended": self.ended,
        }

    def update(self, plain: dict[str, Any]) -> None:
        """Restore the values of a checkpoint."""
        epoch, batch = plain["position"]
        self.position = (epoch, batch)
        self.steps = plain["steps"]
        self.best_epoch, self.best_value = plain["best_epoch"], plain["best_value"]
        if self.best_lost:
            # `trainer.early_stopping_patience` counts from here.
            self.best_epoch, self.best_value = epoch, float("inf")
        self.metrics, self._seconds = plain["metrics"], plain["seconds"]
        # Checkpoints of earlier versions do not say it: only `trainer.early_stopping_patience` ended their runs.
        self.ended = plain.get("ended", False)
