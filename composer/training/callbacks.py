"""The callbacks of a training run: progress, early stopping, the record, the final test, signals, checkpoints.

They share a `TrainingState` and run in the order of `run_callbacks`: a checkpoint is written after everything else of
the batch or epoch, and a signal is answered after the checkpoint. A resumed run therefore repeats nothing and skips
nothing. One file of some 440 lines, because this order is what makes a run resume exactly.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, Checkpoint

from composer.config.training import CheckpointConfig, TrainConfig
from composer.errors import ComposerError
from composer.files import display_path
from composer.nets.network import Network
from composer.progress import Progress, working
from composer.runs import checkpoint as ckpt
from composer.runs.layout import BEST, CHECKPOINTS, LAST
from composer.runs.record import RunLog
from composer.training.metrics import score
from composer.training.module import ComposerModule
from composer.training.named_callbacks import scored_weights
from composer.training.signals import SignalCallback
from composer.training.state import TrainingState

# `loss/val` decides which epoch is the best, and when to stop early.
MONITOR = "loss/val"
# Between two checkpoints of a run that has just begun.
_SOONEST_SECONDS = 1.0

# Composes a sample after an epoch, from the number of finished epochs, the network, the record and whether the epoch is
# the last; returns lines for the log.
Sampler = Callable[[int, Network, RunLog, bool], list[str]]


class ProgressCallback(Callback):
    """Position, metrics and best epoch of the state, computed and displayed."""

    def __init__(self, state: TrainingState, progress: Progress) -> None:
        """Keep the state to update, and where it is shown."""
        self.state, self.progress = state, progress

    @property
    def state_key(self) -> str:
        """The key of the state in a checkpoint."""
        return ckpt.PROGRESS_KEY

    def state_dict(self) -> dict[str, Any]:
        """Return plain values for a checkpoint."""
        return self.state.to_plain()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state of a checkpoint."""
        self.state.update(state_dict)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock and the display."""
        self.state.start_clock()
        if self.state.ended:
            trainer.should_stop = True
        self.progress.start(int(trainer.num_training_batches), self.state.position)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Advance by a batch."""
        self.state.position, self.state.steps = (trainer.current_epoch, batch_idx + 1), trainer.global_step
        self.progress.update(*self.state.position)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Compute the metrics of the epoch, and whether it is the best so far.

        Raises:
            NonFiniteLoss: a loss or a weight is not finite.
        """
        assert isinstance(pl_module, ComposerModule)
        pl_module.check_finite()
        state, epoch = self.state, trainer.current_epoch + 1
        state.position, state.steps = (epoch, 0), trainer.global_step
        metrics = pl_module.epoch_metrics()
        if pl_module.val_sums.counted and not math.isfinite(metrics[MONITOR]):
            raise pl_module.non_finite()
        # Those of the validation are NaN after an epoch without one.
        state.metrics = {key: value for key, value in metrics.items() if not math.isnan(value)}
        if metrics[MONITOR] < state.best_value:
            state.best_epoch, state.best_value = epoch, metrics[MONITOR]
        state.note_end(trainer)
        if state.last and not state.best_epoch:
            # Nothing was validated: the last weights are those to compose with.
            state.best_epoch = epoch

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Stop the clock and the display; Lightning does not call `teardown` then."""
        self._close()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Stop the clock and the display."""
        self._close()

    def _close(self) -> None:
        self.state.stop_clock()
        self.progress.close()


class EarlyStoppingCallback(Callback):
    """End of the training when `loss/val` has not improved for `trainer.early_stopping_patience` epochs.

    Not Lightning's `EarlyStopping`, whose count of epochs is not in checkpoints of earlier versions.
    """

    def __init__(self, state: TrainingState, patience: int | None) -> None:
        """Keep the state to read; a patience of None never stops."""
        self.state, self.patience = state, patience

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop a resumed run that had already ended."""
        if not self.state.new and self._should_stop():
            trainer.should_stop = True

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Make the epoch the last one where the patience is exhausted."""
        if self._should_stop():
            trainer.should_stop = True
            self.state.note_end(trainer)

    def _should_stop(self) -> bool:
        return self.patience is not None and self.state.position[0] - self.state.best_epoch >= self.patience


class RecordCallback(Callback):
    """Writer of `metrics.csv` and TensorBoard's event files, in the first process."""

    def __init__(
        self,
        folder: Path,
        state: TrainingState,
        progress: Progress,
        hyperparameters: dict[str, Any],
        histogram_every_epochs: int | None,
        sample: Sampler | None = None,
        trial: str = "",
        composed: bool = True,
    ) -> None:
        """Keep what is written.

        Args:
            folder: the run directory.
            state: of the training.
            progress: where the figures of each epoch are shown.
            hyperparameters: those that TensorBoard's *HParams* lists, by key.
            histogram_every_epochs: epochs between histograms of the weights; None writes none.
            sample: composes after an epoch.
            trial: name of the run in *HParams*; empty for that of its folder.
            composed: whether an epoch of the training is due for a sample.
        """
        self.folder, self.state, self.progress = folder, state, progress
        self.hyperparameters, self.histogram_every_epochs = hyperparameters, histogram_every_epochs
        self.sample, self.trial, self.composed = sample, trial, composed
        # Not `log`: Lightning sets an attribute of this name.
        self.record: RunLog | None = None

    @property
    def state_key(self) -> str:
        """The key of the state in a checkpoint."""
        return ckpt.RECORD_KEY

    def state_dict(self) -> dict[str, Any]:
        """Write the files to disk and return their lengths, so that a resumed run cuts them back to this checkpoint."""
        self.keep()
        state = self.state
        return {"lengths": state.lengths, "digests": state.digests, "damaged": state.damaged}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the lengths and digests of a checkpoint; those of earlier versions have no digests."""
        self.state.lengths = state_dict["lengths"]
        self.state.digests, self.state.damaged = state_dict.get("digests", {}), state_dict.get("damaged", [])

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open the files, truncated to the last checkpoint.

        Raises:
            ComposerError: the training is new, and the folder holds another one.
        """
        self.open(trainer)

    def open(self, trainer: pl.Trainer) -> None:
        """Open the files in the first process; see `on_train_start`."""
        if trainer.is_global_zero:
            if self.state.new and (self.folder / CHECKPOINTS).exists():
                last = display_path(self.folder / CHECKPOINTS / LAST)
                raise ComposerError(f"{self.folder}: holds a training; resume it with ckpt_path={str(last)!r}")
            self.folder.mkdir(parents=True, exist_ok=True)
            state = self.state
            self.record = RunLog(self.folder, state.lengths, state.position[0] + 1, state.digests)
            state.damaged = sorted({*state.damaged, *self.record.damaged})
            if self.state.new:
                self.record.describe(self.hyperparameters, self.trial, composed=self.composed)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the row of the epoch, and histograms and a sample when they are due."""
        assert isinstance(pl_module, ComposerModule)
        state, epoch = self.state, self.state.position[0]
        metrics = pl_module.epoch_metrics()
        if self.record is not None:
            self.record.add_row(epoch, state.steps, metrics)
            every = self.histogram_every_epochs
            if every is not None and (state.last or epoch % every == 0):
                self.record.add_histograms(epoch, pl_module.model)
        self.progress.epoch(epoch, metrics)
        if self.record is not None and self.sample is not None:
            with scored_weights(trainer, pl_module), working(f"composing a sample after epoch {epoch}"):
                lines = self.sample(epoch, pl_module.model, self.record, state.last)
            for line in lines:
                self.progress.say(line)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Close the files; Lightning does not call `teardown` then."""
        self._close()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Close the files."""
        self._close()

    def keep(self) -> None:
        """Count what was written since the last checkpoint as part of the record, so that opening it again keeps it."""
        if self.record is not None:
            self.state.lengths, self.state.digests = self.record.lengths(), self.record.digests()

    def _close(self) -> None:
        if self.record is not None:
            self.record.close()


class FinalTestCallback(Callback):
    """Test metrics of the final weights, computed once after the last epoch; no choice depends on them."""

    def __init__(self, state: TrainingState, record: RecordCallback) -> None:
        """Keep the state that gets the metrics, and the record that they are written to."""
        self.state, self.record = state, record

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Score after the last epoch."""
        if self.state.last:
            self._score(trainer, pl_module)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Score a resumed run that now ends with the epoch of its checkpoint, so that none was left to train."""
        tested = any(key.endswith("/test") for key in self.state.metrics)
        if self.state.last or tested or self.state.position != (trainer.max_epochs, 0):
            return
        self.record.open(trainer)
        self._score(trainer, pl_module)
        self.record.keep()

    def _score(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, ComposerModule)
        data = trainer.datamodule  # type: ignore[attr-defined]
        with scored_weights(trainer, pl_module), working("scoring the last weights on test windows"):
            metrics = score(pl_module.model, data.test_dataloader(), "test", pl_module.metrics)
        self.state.metrics |= metrics
        for logger in trainer.loggers if metrics else ():
            logger.log_metrics(metrics, trainer.global_step)
        if self.record.record is not None and metrics:
            self.record.record.add_scalars(self.state.position[0], metrics)


class CheckpointCallback(Checkpoint):
    """Writer of `last.ckpt` when it is due and of `best.ckpt` when `loss/val` has improved; then answers signals."""

    def __init__(
        self,
        folder: Path,
        config: CheckpointConfig,
        values: dict[str, Any],
        state: TrainingState,
        signals: SignalCallback,
    ) -> None:
        """Keep what is saved and when.

        Args:
            folder: the run directory.
            config: when a checkpoint is due.
            values: what every checkpoint holds besides the weights (`checkpoint.composer_values`).
            state: of the training.
            signals: a signal makes a checkpoint due, and is answered after it.
        """
        self.folder, self.config, self.values, self.state = folder, config, values, state
        self.signals = signals
        self.best_unsaved: dict[str, Any] | None = None
        self.began_at = self.saved_at = time.monotonic()
        self.first_epoch = True

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the first checkpoint of a new run."""
        self.began_at = self.saved_at = time.monotonic()
        if self.state.new:
            # In a folder of another name first: once `checkpoints` exists, it has held a whole checkpoint.
            beginning = self.folder / f".{CHECKPOINTS}.tmp"
            trainer.save_checkpoint(beginning / LAST)
            if trainer.is_global_zero:
                beginning.rename(self.folder / CHECKPOINTS)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save inside an epoch when it is due, and stop when requested."""
        if batch_idx + 1 >= trainer.num_training_batches:
            return  # the end of the epoch follows and saves
        if (batch_idx + 1) % trainer.accumulate_grad_batches:
            return  # no checkpoint holds the gradients of a step that is not complete
        if self._agreed(trainer, self._steps_due(trainer)):
            self._save(trainer, pl_module)
        self.signals.stop_if_requested()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remember the best weights, save when it is due, and stop when requested."""
        epoch, every = self.state.position[0], self.config.every_epochs
        # A callback of a plugin may have stopped the training since the others were called.
        self.state.note_end(trainer)
        if self.state.best_epoch == epoch:
            self.best_unsaved = self._weights(trainer, pl_module)
        due = self.state.last or (every is not None and epoch % every == 0) or self._steps_due(trainer)
        due, self.first_epoch = due or (self.first_epoch and self.config.every_minutes is not None), False
        if self._agreed(trainer, due):
            self._save(trainer, pl_module)
        if not self.state.last:
            self.signals.stop_if_requested()

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the last weights of a resumed run that has no epoch left and never was validated."""
        if self.state.position == (trainer.max_epochs, 0) and not self.state.best_epoch and trainer.is_global_zero:
            self.state.best_epoch = self.state.position[0]
            ckpt.save(self.folder / CHECKPOINTS / BEST, self._weights(trainer, pl_module))

    def _steps_due(self, trainer: pl.Trainer) -> bool:
        every = self.config.every_steps
        return every is not None and trainer.global_step % every == 0

    def _minutes_due(self) -> bool:
        minutes, now = self.config.every_minutes, time.monotonic()
        if minutes is None:
            return False
        # At first more often, so that of a short run a crash costs a third of its time at most, or a second.
        soon = max(_SOONEST_SECONDS, (self.saved_at - self.began_at) / 2)
        return now - self.saved_at >= min(60 * minutes, soon)

    def _agreed(self, trainer: pl.Trainer, due: bool) -> bool:
        """Return whether a checkpoint is due in any process: clocks and signals differ, but all must save together."""
        due = due or self._minutes_due() or self.signals.requested is not None
        if trainer.world_size == 1:
            return due
        requests = torch.tensor([int(due), self.signals.requested or 0], device=trainer.strategy.root_device)
        torch.distributed.all_reduce(requests, torch.distributed.ReduceOp.MAX)
        due, number = bool(requests[0]), int(requests[1])
        self.signals.requested = number or None
        return due

    def _weights(self, trainer: pl.Trainer, module: pl.LightningModule) -> dict[str, Any]:
        """Return a checkpoint for composing: the weights as they are now, copied."""
        with scored_weights(trainer, module):
            state = {name: value.detach().cpu().clone() for name, value in module.state_dict().items()}
        return {
            "state_dict": state,
            # With these two, Lightning's `load_from_checkpoint` needs the file alone.
            "pytorch-lightning_version": version("pytorch-lightning"),
            "hyper_parameters": dict(module.hparams),
            "epoch": self.state.position[0],
            "global_step": trainer.global_step,
            # Without test metrics, which no choice may depend on.
            "metrics": {key: value for key, value in self.state.metrics.items() if not key.endswith("/test")},
            "composer": self.values,
        }

    def _save(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Write new best weights, then the whole state: the best epoch in `last.ckpt` is never a lost one."""
        assert isinstance(module, ComposerModule)
        module.check_finite()
        folder = self.folder / CHECKPOINTS
        if self.best_unsaved is not None and trainer.is_global_zero:
            ckpt.save(folder / BEST, self.best_unsaved)
        self.best_unsaved = None
        trainer.save_checkpoint(folder / LAST)
        self.saved_at = time.monotonic()


@dataclass(frozen=True, slots=True)
class RunCallbacks:
    """The callbacks of a run in the order in which Lightning calls them, and the state that they share."""

    state: TrainingState
    every: list[Callback]


def run_callbacks(
    folder: Path,
    config: TrainConfig,
    values: dict[str, Any],
    hyperparameters: dict[str, Any],
    sample: Sampler | None = None,
    named: Sequence[Callback] = (),
    trial: str = "",
) -> RunCallbacks:
    """Make the callbacks of a run.

    Args:
        folder: the run directory.
        config: of the run.
        values: what every checkpoint holds besides the weights (`checkpoint.composer_values`).
        hyperparameters: those that TensorBoard's *HParams* lists, by key.
        sample: composes after an epoch, in the first process.
        named: those that the config chooses by name.
        trial: name of the run in *HParams*; empty for that of its folder.
    """
    state = TrainingState()
    shown = config.trainer.progress_bar and "rich_progress" not in config.callbacks
    progress = Progress(config.trainer.max_epochs, config.data.split, shown=shown)
    every_epochs = config.logging.histogram_every_epochs
    sample_every = config.logging.sample_every_epochs
    composed = sample is not None and sample_every is not None and sample_every <= config.trainer.max_epochs
    record = RecordCallback(folder, state, progress, hyperparameters, every_epochs, sample, trial, composed)
    signals = SignalCallback(folder, progress)
    # A run resumes exactly because of this order: metrics are computed before they are recorded, and the checkpoint,
    # which holds the metrics and the lengths of the record, comes last. A signal is answered after the checkpoint; its
    # handlers are set first, so that none stops the run between two writes.
    # Named ones come before all that reads whether they stop the training.
    every = [
        signals,
        *named,
        ProgressCallback(state, progress),
        EarlyStoppingCallback(state, config.trainer.early_stopping_patience),
        record,
        FinalTestCallback(state, record),
        CheckpointCallback(folder, config.checkpoint, values, state, signals),
    ]
    return RunCallbacks(state, every)
