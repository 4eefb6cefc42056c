"""Learning rate schedules, by the name in the config.

All but `plateau` are functions of the position in the training, so that a resumed run follows them whatever was saved,
also with more epochs than it was begun with.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, ReduceLROnPlateau

from composer import registry
from composer.config.optimizers import (
    CosineConfig,
    Interval,
    OneCycleConfig,
    PlateauConfig,
    SchedulerConfig,
    StepConfig,
    WarmupCosineConfig,
)
from composer.errors import ComposerError
from composer.registry import implements


@dataclass(frozen=True, slots=True)
class Course:
    """The length of a training.

    Attributes:
        epochs: all epochs; None where the Trainer has no end.
        steps_per_epoch: returns the steps of the optimiser in an epoch, once the batches are known.
    """

    epochs: float | None
    steps_per_epoch: Callable[[], int]


class PositionSchedule(LambdaLR):
    """A factor of the learning rate that is a function of the epochs trained, whole or with a fraction."""

    def __init__(
        self, optimizer: Optimizer, factor: Callable[[float], float], interval: Interval, course: Course
    ) -> None:
        """Start at epoch 0.

        Args:
            optimizer: whose groups get `factor` times their learning rate.
            factor: of the epochs trained so far.
            interval: whether the rate moves between epochs only, or with each step.
            course: steps of an epoch.
        """
        self.interval, self._course, self._factor = interval, course, factor
        super().__init__(optimizer, self._at)

    def _at(self, position: int) -> float:
        if self.interval is Interval.epoch or position == 0:
            return self._factor(float(position))
        return self._factor(position / self._course.steps_per_epoch())

    def state_dict(self) -> dict[str, Any]:
        """Return plain values for a checkpoint."""
        return {"last_epoch": self.last_epoch, "base_lrs": self.base_lrs}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what `state_dict` returned; the learning rates themselves are the optimiser's."""
        self.last_epoch, self.base_lrs = state_dict["last_epoch"], state_dict["base_lrs"]

    def move_to(self, epoch: int, step: int) -> None:
        """Set the learning rate of a position: epochs, and steps of the optimiser, so far."""
        self.last_epoch = epoch if self.interval is Interval.epoch else step
        for group, base, factor in zip(self.optimizer.param_groups, self.base_lrs, self.lr_lambdas, strict=True):
            group["lr"] = base * factor(self.last_epoch)
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]


class PlateauSchedule(LRScheduler):
    """Torch's `ReduceLROnPlateau` on `loss/val`, moved by the module at the end of each epoch.

    Lightning would move it after the checkpoint of the epoch, so that a resumed run would lose the move.
    """

    def __init__(self, optimizer: Optimizer, config: PlateauConfig) -> None:
        """Args: the optimiser, and when the rate is reduced how far."""
        self.optimizer = optimizer
        self._reduce = ReduceLROnPlateau(
            optimizer,
            factor=config.factor,
            patience=config.patience,
            threshold=config.threshold,
            cooldown=config.cooldown,
            min_lr=[config.final_factor * group["lr"] for group in optimizer.param_groups],
        )

    def move(self, loss: float | None) -> None:
        """Count an epoch with this `loss/val`; nothing without one."""
        if loss is not None and math.isfinite(loss):
            self._reduce.step(loss)

    def step(self, epoch: int | None = None) -> None:
        """Do nothing: `move` does it."""

    def get_last_lr(self) -> list[float]:  # type: ignore[override]
        """Return the learning rate of each group."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Return plain values for a checkpoint."""
        return {
            "best": float(self._reduce.best),
            "bad_epochs": self._reduce.num_bad_epochs,
            "cooldown": self._reduce.cooldown_counter,
            "lr": self.get_last_lr(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._reduce.best = state_dict["best"]
        self._reduce.num_bad_epochs = state_dict["bad_epochs"]
        self._reduce.cooldown_counter = state_dict["cooldown"]
        for group, lr in zip(self.optimizer.param_groups, state_dict["lr"], strict=True):
            group["lr"] = lr


def make_schedule(config: SchedulerConfig, optimizer: Optimizer, course: Course) -> LRScheduler | None:
    """Return the schedule of a config; None for a constant learning rate.

    Raises:
        ComposerError: the schedule ends with the epochs, and their number is not known.
    """
    schedule: LRScheduler | None = registry.part("scheduler", config.name)(config, optimizer, course)
    return schedule


@implements("scheduler", "none")
def _none(config: SchedulerConfig, optimizer: Optimizer, course: Course) -> None:
    return None


@implements("scheduler", "cosine")
def _cosine(config: CosineConfig, optimizer: Optimizer, course: Course) -> PositionSchedule:
    """Half a cosine (Loshchilov and Hutter 2017, equation 5 without restarts)."""
    epochs = _known(config, course)
    return PositionSchedule(
        optimizer, lambda epoch: _half_cosine(epoch / epochs, 1, config.final_factor), config.interval, course
    )


@implements("scheduler", "warmup_cosine")
def _warmup_cosine(config: WarmupCosineConfig, optimizer: Optimizer, course: Course) -> PositionSchedule:
    epochs, warmup = _known(config, course), config.warmup_epochs
    if warmup >= epochs:
        raise ComposerError(f"scheduler.warmup_epochs={warmup:g}: must be less than the {epochs:g} epochs of the run")

    def factor(epoch: float) -> float:
        if epoch < warmup:
            return config.first_factor + (1 - config.first_factor) * epoch / warmup
        return _half_cosine((epoch - warmup) / (epochs - warmup), 1, config.final_factor)

    return PositionSchedule(optimizer, factor, config.interval, course)


@implements("scheduler", "one_cycle")
def _one_cycle(config: OneCycleConfig, optimizer: Optimizer, course: Course) -> PositionSchedule:
    epochs = _known(config, course)
    peak = config.peak_at * epochs

    def factor(epoch: float) -> float:
        if epoch < peak:
            return _half_cosine(epoch / peak, config.first_factor, 1)
        return _half_cosine((epoch - peak) / max(epochs - peak, 1e-12), 1, config.final_factor)

    return PositionSchedule(optimizer, factor, config.interval, course)


@implements("scheduler", "step")
def _step(config: StepConfig, optimizer: Optimizer, course: Course) -> PositionSchedule:
    def factor(epoch: float) -> float:
        return float(config.factor ** (int(epoch) // config.every_epochs))

    return PositionSchedule(optimizer, factor, Interval.epoch, course)


@implements("scheduler", "plateau")
def _plateau(config: PlateauConfig, optimizer: Optimizer, course: Course) -> PlateauSchedule:
    return PlateauSchedule(optimizer, config)


def _half_cosine(share: float, first: float, last: float) -> float:
    """Return the value of half a cosine from `first` to `last` after a share of its length, 0 to 1."""
    return last + (first - last) * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))


def _known(config: SchedulerConfig, course: Course) -> float:
    if course.epochs is None:
        raise ComposerError(f"scheduler={config.name}: needs the number of epochs; give max_epochs")
    return course.epochs
