"""Callbacks of Lightning that a config chooses by name, and averages of the weights."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Iterator, Mapping
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
from composer.config.loggers import (
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
            made.append(registry.part("callbacks", name)(configs[name]))
        except ModuleNotFoundError as error:
            package = _EXTRAS.get(name, name)
            raise ComposerError(f"callbacks={name}: needs a package: pip install 'lstm-composer[{package}]'") from error
    return made


class AveragedWeights(Callback):
    """An average of the network's weights, which is validated, tested, composed with and kept as the best.

    `last.ckpt` holds the weights that the optimiser moves, and the average as state of this callback.
    """

    def __init__(self, decay: float | None, *, every_steps: int = 1, start_step: int = 0, start: float = 0.0) -> None:
        """Choose the average.

        Args:
            decay: of an exponential moving average over steps; None is the mean over epochs.
            every_steps: steps between updates of the moving average.
            start_step: its first step.
            start: share of the epochs before the first one of the mean.
        """
        self.decay, self.every_steps, self.start_step, self.start = decay, every_steps, start_step, start
        self._average: AveragedModel | None = None
        self._latest_step = 0

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Copy the network."""
        if stage == "fit":
            assert isinstance(pl_module, ComposerModule)
            average = None if self.decay is None else get_ema_multi_avg_fn(self.decay)  # type: ignore[no-untyped-call]
            self._average = AveragedModel(pl_module.model, multi_avg_fn=average)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Update a moving average after a step, a mean after the last step of an epoch."""
        step = trainer.global_step
        if self.decay is None:
            if batch_idx + 1 >= trainer.num_training_batches:
                self._update(pl_module)
        elif step != self._latest_step:
            self._latest_step = step
            if step > self.start_step and step % self.every_steps == 0:
                self._update(pl_module)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Follow the weights until the first epoch that counts, so that earlier epochs are validated as they are."""
        first = self.start * (trainer.max_epochs or 0)
        if self.decay is None and trainer.current_epoch - 1 < first:
            assert self._average is not None
            self._average.n_averaged.zero_()  # the next update copies the weights

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Validate the average."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._swap(pl_module)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Go on with the weights that the optimiser moves."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._swap(pl_module)

    def _update(self, module: pl.LightningModule) -> None:
        assert self._average is not None
        assert isinstance(module, ComposerModule)
        self._average.update_parameters(module.model)

    @torch.no_grad()
    def _swap(self, module: pl.LightningModule) -> None:
        """Exchange the weights of the network and the average."""
        assert self._average is not None
        assert isinstance(module, ComposerModule)
        if not int(self._average.n_averaged):
            return
        for mine, other in zip(module.model.parameters(), self._average.module.parameters(), strict=True):
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
        assert self._average is not None
        return {"average": self._average.state_dict(), "latest_step": self._latest_step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        assert self._average is not None
        self._average.load_state_dict(state_dict["average"])
        self._latest_step = state_dict["latest_step"]


@contextmanager
def scored_weights(trainer: pl.Trainer, module: pl.LightningModule) -> Iterator[None]:
    """Give the network the weights that are validated, which averages of the Trainer's callbacks may replace."""
    with ExitStack() as stack:
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, AveragedWeights):
                stack.enter_context(callback.swapped(module))
        yield


@implements("callbacks", "swa")
def _swa(config: SWAConfig) -> Callback:
    return AveragedWeights(None, start=config.start)


@implements("callbacks", "ema")
def _ema(config: EMAConfig) -> Callback:
    return AveragedWeights(config.decay, every_steps=config.every_steps, start_step=config.start_step)


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
