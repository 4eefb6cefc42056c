"""Callbacks of Lightning that a config chooses by name, and averages of the weights."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import (
    Callback,
    DeviceStatsMonitor,
    EarlyStopping,
    LearningRateMonitor,
    ModelSummary,
    RichProgressBar,
)
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from composer import registry
from composer.config.callbacks import (
    CallbackConfig,
    DeviceStatsConfig,
    EarlyStoppingConfig,
    EMAConfig,
    LearningRateMonitorConfig,
    ModelSummaryConfig,
    RichProgressConfig,
    SWAConfig,
)
from composer.errors import ComposerError
from composer.nets.network import Network
from composer.registry import implements
from composer.training.module import ComposerModule

# Extra of the package that a callback needs.
_EXTRAS = {"rich_progress": "rich", "device_stats": "device-stats"}
# What writes to loggers only.
NEED_LOGGER = ("lr_monitor", "device_stats")


def make_callbacks(configs: Mapping[str, CallbackConfig], *, logged: bool = True) -> list[Callback]:
    """Return the callbacks of a config, in the order of their names.

    Args:
        configs: the keys of each, by name.
        logged: whether the run has a logger of Lightning.

    Raises:
        ComposerError: a callback's package or logger is missing, or two average the weights.
    """
    for name in NEED_LOGGER if not logged else ():
        if name in configs:
            raise ComposerError(f"callbacks={name}: writes to loggers, and there is none; add logger=csv or another")
    if "swa" in configs and "ema" in configs:
        raise ComposerError("callbacks=[ema,swa]: both average the weights; choose one")
    made = []
    for name in sorted(configs):
        try:
            callback = registry.part("callbacks", name)(configs[name])
        except ModuleNotFoundError as error:
            package = _EXTRAS.get(name, name)
            raise ComposerError(f"callbacks={name}: needs a package: pip install 'lstm-composer[{package}]'") from error
        if not isinstance(callback, Callback):
            kind = type(callback).__name__
            raise ComposerError(f"callbacks={name}: must make a callback of Lightning, and makes {kind}")
        made.append(callback)
    return made


class AveragedWeights(Callback):
    """An average of the network's weights, which is validated, tested, composed with and kept as the best.

    `last.ckpt` holds the weights that the optimiser moves, and the average as state of this callback. A subclass says
    when the average is updated.
    """

    def __init__(self, average: Callable[..., None] | None = None) -> None:
        """Args: `average`, of torch's `AveragedModel`; None is the mean."""
        self._average_fn = average
        self._average: AveragedModel | None = None

    @property
    def state_key(self) -> str:
        """The key of the state in a checkpoint."""
        return AveragedWeights.__name__

    @property
    def average(self) -> AveragedModel:
        """The average, which exists once a fit has begun."""
        assert self._average is not None
        return self._average

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Copy the network."""
        if stage == "fit":
            self._average = AveragedModel(_network(pl_module), multi_avg_fn=self._average_fn)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Validate the average."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._swap(pl_module)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Go on with the weights that the optimiser moves."""
        self.on_validation_start(trainer, pl_module)

    def update(self, module: pl.LightningModule) -> None:
        """Take the weights of the network into the average; the first ones are copied."""
        self.average.update_parameters(_network(module))

    @torch.no_grad()
    def _swap(self, module: pl.LightningModule) -> None:
        """Exchange the weights of the network and the average."""
        if not int(self.average.n_averaged):
            return
        for mine, other in zip(_network(module).parameters(), self.average.module.parameters(), strict=True):
            kept = mine.detach().clone()
            mine.copy_(other)
            other.copy_(kept)

    @contextmanager
    def swapped(self, module: pl.LightningModule) -> Iterator[None]:
        """Give the network the averaged weights for a while."""
        self._swap(module)
        try:
            yield
        finally:
            self._swap(module)

    def state_dict(self) -> dict[str, Any]:
        """Return tensors and plain values for a checkpoint."""
        return {"average": self.average.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.average.load_state_dict(state_dict["average"])


def _network(module: pl.LightningModule) -> Network:
    assert isinstance(module, ComposerModule)
    return module.model


@implements("callbacks", "swa")
class MeanOfEpochs(AveragedWeights):
    """The mean of the weights after each of the last epochs."""

    def __init__(self, config: SWAConfig) -> None:
        """Args: `config` says which epochs count."""
        super().__init__()
        self.start = config.start

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Follow the weights until the first epoch that counts, so that earlier epochs are validated as they are."""
        if trainer.current_epoch - 1 < self.start * (trainer.max_epochs or 0):
            self.average.n_averaged.zero_()  # the next update copies the weights

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Update after the last batch of an epoch, before it is validated."""
        if batch_idx + 1 >= trainer.num_training_batches:
            self.update(pl_module)


@implements("callbacks", "ema")
class MovingAverage(AveragedWeights):
    """An exponential moving average of the weights over steps of the optimiser."""

    def __init__(self, config: EMAConfig) -> None:
        """Args: `config` holds the decay and the steps that count."""
        super().__init__(get_ema_multi_avg_fn(config.decay))  # type: ignore[no-untyped-call]
        self.every_steps, self.start_step = config.every_steps, config.start_step
        self._latest_step = 0

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Update after a step; a batch whose gradients are accumulated takes none."""
        step = trainer.global_step
        if step != self._latest_step:
            self._latest_step = step
            if step > self.start_step and step % self.every_steps == 0:
                self.update(pl_module)

    def state_dict(self) -> dict[str, Any]:
        """Return tensors and plain values for a checkpoint."""
        return super().state_dict() | {"latest_step": self._latest_step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        super().load_state_dict(state_dict)
        self._latest_step = state_dict["latest_step"]


@contextmanager
def scored_weights(trainer: pl.Trainer, module: pl.LightningModule) -> Iterator[None]:
    """Give the network the weights that are validated, which averages of the Trainer's callbacks may replace."""
    with ExitStack() as stack:
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, AveragedWeights):
                stack.enter_context(callback.swapped(module))
        yield


@implements("callbacks", "early_stopping")
def _early_stopping(config: EarlyStoppingConfig) -> Callback:
    return EarlyStopping(
        config.monitor,
        min_delta=config.min_delta,
        patience=config.patience,
        mode=config.mode,
        stopping_threshold=config.stopping_threshold,
        divergence_threshold=config.divergence_threshold,
        # At the end of the epoch Lightning would ask after the record, which must know the last epoch.
        check_on_train_epoch_end=False,
    )


@implements("callbacks", "lr_monitor")
def _lr_monitor(config: LearningRateMonitorConfig) -> Callback:
    return LearningRateMonitor(
        config.logging_interval,  # type: ignore[arg-type]
        log_momentum=config.log_momentum,
        log_weight_decay=config.log_weight_decay,
    )


@implements("callbacks", "device_stats")
def _device_stats(config: DeviceStatsConfig) -> Callback:
    if config.cpu_stats is not False and not torch.cuda.is_available():
        importlib.import_module("psutil")  # Lightning asks for it only when the training has begun
    return DeviceStatsMonitor(config.cpu_stats)


@implements("callbacks", "rich_progress")
def _rich_progress(config: RichProgressConfig) -> Callback:
    return RichProgressBar(config.refresh_rate, leave=config.leave)


@implements("callbacks", "model_summary")
def _model_summary(config: ModelSummaryConfig) -> Callback:
    return _PrintedSummary(config.max_depth)


class _PrintedSummary(ModelSummary):
    """Lightning's, printed: it would go to the log of Lightning, whose hints a run does not show."""

    @staticmethod
    def summarize(*args: Any, **kwargs: Any) -> None:
        """Print the table of layers."""
        log = logging.getLogger("pytorch_lightning.callbacks.model_summary")
        level, handler = log.level, logging.StreamHandler(sys.stdout)
        log.setLevel(logging.INFO)
        log.addHandler(handler)
        try:
            ModelSummary.summarize(*args, **kwargs)
        finally:
            log.removeHandler(handler)
            log.setLevel(level)
