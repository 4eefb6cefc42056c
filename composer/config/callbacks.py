"""Group `callbacks`: Lightning's callbacks by name, several at once, each with its own keys."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, ClassVar

from composer.config.limits import BELOW_1, COUNT, NOT_NEGATIVE, Group, Matching, OneOf, at_least
from composer.registry import keys_of


@dataclass(kw_only=True, slots=True)
class CallbackConfig(Group):
    """A Lightning callback."""


@keys_of("callbacks", "early_stopping")
@dataclass(kw_only=True, slots=True)
class EarlyStoppingConfig(CallbackConfig):
    """`early_stopping`: Lightning's, on any metric of the validation windows."""

    prefix: ClassVar[str] = "callbacks.early_stopping."

    monitor: Annotated[str, Matching("a metric of the validation, such as loss/val", re.compile(r".+/val"))]
    """The metric that has to improve, such as `loss/val`."""
    mode: Annotated[str, OneOf(("min", "max"))]
    """`min` where a lower value is better, `max` where a higher one is."""
    patience: Annotated[int, COUNT]
    """Validations without an improvement."""
    min_delta: Annotated[float, NOT_NEGATIVE]
    """Smallest change that counts as an improvement."""
    stopping_threshold: float | None
    """Stop as soon as the metric is better than this; null never does."""
    divergence_threshold: float | None
    """Stop as soon as the metric is worse than this; null never does."""


@keys_of("callbacks", "lr_monitor")
@dataclass(kw_only=True, slots=True)
class LearningRateMonitorConfig(CallbackConfig):
    """`lr_monitor`: the learning rate of every step or epoch, to the loggers."""

    prefix: ClassVar[str] = "callbacks.lr_monitor."

    logging_interval: Annotated[str | None, OneOf(("step", "epoch"))]
    """Null is that of the schedule."""
    log_momentum: bool
    """Log the optimiser's momentum too."""
    log_weight_decay: bool
    """Log the optimiser's weight decay too."""


@keys_of("callbacks", "swa")
@dataclass(kw_only=True, slots=True)
class SWAConfig(CallbackConfig):
    """`swa`: the mean of the weights after each of the last epochs (Izmailov et al. 2018)."""

    prefix: ClassVar[str] = "callbacks.swa."

    start: Annotated[float, BELOW_1]
    """Share of the epochs that pass before the first one that counts."""


@keys_of("callbacks", "ema")
@dataclass(kw_only=True, slots=True)
class EMAConfig(CallbackConfig):
    """`ema`: an exponential moving average of the weights."""

    prefix: ClassVar[str] = "callbacks.ema."

    decay: Annotated[float, BELOW_1]
    """Share of the average that is kept at each update; the rest is taken from the current weights."""
    every_steps: Annotated[int, COUNT]
    """Steps of the optimiser between two updates of the average."""
    start_step: Annotated[int, at_least(0)]
    """Steps of the optimiser before the first update."""


@keys_of("callbacks", "device_stats")
@dataclass(kw_only=True, slots=True)
class DeviceStatsConfig(CallbackConfig):
    """`device_stats`: memory and load of the device, to the loggers."""

    prefix: ClassVar[str] = "callbacks.device_stats."

    cpu_stats: bool | None
    """Load and memory of the CPU; null only where it is the device."""


@keys_of("callbacks", "rich_progress")
@dataclass(kw_only=True, slots=True)
class RichProgressConfig(CallbackConfig):
    """`rich_progress`: Lightning's progress bar in colour, in place of ours (extra rich)."""

    prefix: ClassVar[str] = "callbacks.rich_progress."

    refresh_rate: Annotated[int, COUNT]
    """Batches between two updates of the bar."""
    leave: bool
    """Leave the bar of each epoch on the screen."""


@keys_of("callbacks", "model_summary")
@dataclass(kw_only=True, slots=True)
class ModelSummaryConfig(CallbackConfig):
    """`model_summary`: layers and parameters of the network at the start."""

    prefix: ClassVar[str] = "callbacks.model_summary."

    max_depth: Annotated[int, at_least(-1)]
    """Levels of layers inside layers; -1 shows all."""
