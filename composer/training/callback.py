"""What happens to a run directory while a model trains: rows, points, checkpoints, and stopping when asked to."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint

from composer.config.training import TrainConfig
from composer.errors import RunInterrupted
from composer.files import display_path
from composer.nets.network import Network
from composer.progress import Progress
from composer.runs import checkpoint as ckpt
from composer.runs.layout import CHECKPOINTS
from composer.runs.record import RunLog
from composer.training.metrics import score
from composer.training.module import ComposerModule

# `loss/val` decides which epoch is the best, and when to stop early.
MONITOR = "loss/val"
# Ctrl-C; a scheduler's stop; the warnings before preemption of Slurm (USR1) and of submitit on Slurm (USR2).
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
# Seconds within which a second signal of a scheduler is the same request: it signals a job, and the sweep passes it on.
_ONE_REQUEST = 1.0


class RunCallback(Checkpoint):
    """Keeps the record and the checkpoints of one run directory."""

    def __init__(
        self,
        folder: Path,
        config: TrainConfig,
        values: dict[str, Any],
        hyperparameters: dict[str, Any],
        progress: Progress,
        sample: Callable[[int, Network, RunLog, bool], list[str]] | None = None,
    ) -> None:
        """Keep what the hooks need.

        Args:
            folder: the run directory.
            config: the run's config.
            values: what every checkpoint holds besides the weights (`checkpoint.composer_values`).
            hyperparameters: for TensorBoard, the same keys in every run.
            progress: where the figures of each epoch are shown.
            sample: composes after an epoch, in the first process: gets the finished epochs, the network, the record
                and whether the epoch is the last, gives lines for the log.
        """
        self.folder, self.config, self.values, self.progress = folder, config, values, progress
        self.sample = sample
        self.hyperparameters = hyperparameters
        # Not `log`: Lightning puts its own function there.
        self.record: RunLog | None = None
        # Saved with every checkpoint:
        self.position = (0, 0)  # epoch and batch that come next
        self.steps = 0
        self.best_epoch, self.best_value = 0, float("inf")
        self.metrics: dict[str, float] = {}  # of the last finished epoch; of the test block after the last one
        self.lengths: dict[str, int] | None = None
        self.seconds_before = 0.0
        # Not saved:
        self.best_unsaved: dict[str, Any] | None = None
        self.started_at = self.saved_at = time.monotonic()
        self.stop_signal: int | None = None
        self.asked_at = 0.0
        # Whoever listened before the training, submitit for example, is told after the checkpoint is written.
        self._outer = {int(number): signal.getsignal(number) for number in _SIGNALS}

    @property
    def seconds(self) -> float:
        """Seconds of training, over all resumptions."""
        return self.seconds_before + time.monotonic() - self.started_at

    def state_dict(self) -> dict[str, Any]:
        """Plain values for the checkpoint."""
        return {
            "position": list(self.position),
            "steps": self.steps,
            "best_epoch": self.best_epoch,
            "best_value": self.best_value,
            "metrics": self.metrics,
            "lengths": self.lengths,
            "seconds": self.seconds,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        epoch, batch = state_dict["position"]
        self.position = (epoch, batch)
        self.steps = state_dict["steps"]
        self.best_epoch, self.best_value = state_dict["best_epoch"], state_dict["best_value"]
        self.metrics, self.lengths = state_dict["metrics"], state_dict["lengths"]
        self.seconds_before = state_dict["seconds"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open the record, take over the signals, and write the first checkpoint of a new run."""
        self.started_at = self.saved_at = time.monotonic()
        for number in _SIGNALS:
            # After Lightning has set its own, which do not save.
            signal.signal(number, self._on_signal)
        new = self.lengths is None
        if trainer.is_global_zero:
            self.record = RunLog(self.folder, self.lengths, self.position[0] + 1)
            if new:
                self.record.describe(self.hyperparameters)
        self.progress.start(int(trainer.num_training_batches), self.position)
        if new:
            # In a folder of another name first: once `checkpoints` exists, it has held a whole checkpoint.
            beginning = self.folder / f".{CHECKPOINTS}.tmp"
            self._write_last(trainer, beginning / ckpt.LAST)
            if trainer.is_global_zero:
                beginning.rename(self.folder / CHECKPOINTS)
        elif self._should_stop_early():
            trainer.should_stop = True

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.stop_signal is not None:
            if number != signal.SIGINT and time.monotonic() - self.asked_at < _ONE_REQUEST:
                return
            # Asked twice: do not wait for the end of the batch.
            signal.signal(number, signal.SIG_DFL)
            raise KeyboardInterrupt
        self.stop_signal, self.asked_at = number, time.monotonic()
        self.progress.say(f"{signal.Signals(number).name}: stopping after this batch; once more stops at once")

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save inside an epoch when it is time, and stop when asked to."""
        self.position, self.steps = (trainer.current_epoch, batch_idx + 1), trainer.global_step
        self.progress.update(*self.position)
        if batch_idx + 1 >= trainer.num_training_batches:
            return  # the epoch's end follows and saves
        every = self.config.checkpoint.every_steps
        due = every is not None and trainer.global_step % every == 0
        if self._agreed(trainer, due or self._minutes_due() or self.stop_signal is not None):
            self._save(trainer, pl_module)
        self._stop_if_asked()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the epoch's row, remember the best weights, save when it is time, and stop when asked to."""
        assert isinstance(pl_module, ComposerModule)
        pl_module.check_finite()
        epoch = trainer.current_epoch + 1
        self.position, self.steps = (epoch, 0), trainer.global_step
        self.metrics = pl_module.epoch_metrics()
        if not math.isfinite(self.metrics[MONITOR]):
            raise pl_module.non_finite()
        if self.metrics[MONITOR] < self.best_value:
            self.best_epoch, self.best_value = epoch, self.metrics[MONITOR]
            self.best_unsaved = self._weights(trainer, pl_module)
        last = epoch == self.config.trainer.max_epochs
        if self._should_stop_early():
            trainer.should_stop = last = True
        if self.record is not None:
            self.record.add_row(epoch, trainer.global_step, self.metrics)
            histograms = self.config.logging.histogram_every_epochs
            if histograms is not None and (last or epoch % histograms == 0):
                self.record.add_histograms(epoch, pl_module.model)
        self.progress.epoch(epoch, self.metrics)
        if self.record is not None and self.sample is not None:
            for line in self.sample(epoch, pl_module.model, self.record, last):
                self.progress.say(line)
        if last:
            self._test(trainer, pl_module)
        saving = self.config.checkpoint
        due = last or (saving.every_epochs is not None and epoch % saving.every_epochs == 0)
        due = due or (saving.every_steps is not None and trainer.global_step % saving.every_steps == 0)
        if self._agreed(trainer, due or self._minutes_due() or self.stop_signal is not None):
            self._save(trainer, pl_module)
        if not last:
            self._stop_if_asked()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Close the record and give the signals back; Lightning does not call `teardown` then."""
        self._close()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Close the record and give the signals back."""
        self._close()

    def _close(self) -> None:
        # Those from before the Trainer: Lightning has its own in place until its teardown, which may come first.
        for number, handler in self._outer.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        self.seconds_before, self.started_at = self.seconds, time.monotonic()
        self.progress.close()
        if self.record is not None:
            self.record.close()

    def _test(self, trainer: pl.Trainer, module: ComposerModule) -> None:
        """Score the final weights on the test block, once; nothing is chosen by it."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        metrics = score(module.model, data.test_dataloader(), "test")
        self.metrics |= metrics
        if self.record is not None and metrics:
            self.record.add_scalars(self.position[0], metrics)

    def _should_stop_early(self) -> bool:
        patience = self.config.trainer.early_stopping_patience
        return patience is not None and self.position[0] - self.best_epoch >= patience

    def _minutes_due(self) -> bool:
        minutes = self.config.checkpoint.every_minutes
        return minutes is not None and time.monotonic() - self.saved_at >= 60 * minutes

    def _agreed(self, trainer: pl.Trainer, saving: bool) -> bool:
        """Whether any process wants to save: clocks and signals differ, but all must save and stop together."""
        if trainer.world_size == 1:
            return saving
        wishes = torch.tensor([int(saving), self.stop_signal or 0], device=trainer.strategy.root_device)
        torch.distributed.all_reduce(wishes, torch.distributed.ReduceOp.MAX)
        saving, number = bool(wishes[0]), int(wishes[1])
        self.stop_signal = number or None
        return saving

    def _weights(self, trainer: pl.Trainer, module: ComposerModule) -> dict[str, Any]:
        """A checkpoint for composing: the weights as they are now, copied."""
        state = {name: value.detach().cpu().clone() for name, value in module.state_dict().items()}
        return {
            "state_dict": state,
            "epoch": self.position[0],
            "global_step": trainer.global_step,
            "metrics": dict(self.metrics),
            "composer": self.values,
        }

    def _save(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Write the best weights, if new, then the whole state: `last` never names a best that is lost."""
        assert isinstance(module, ComposerModule)
        module.check_finite()
        folder = self.folder / CHECKPOINTS
        if self.best_unsaved is not None and trainer.is_global_zero:
            ckpt.save(folder / ckpt.BEST, self.best_unsaved)
        self.best_unsaved = None
        self._write_last(trainer, folder / ckpt.LAST)
        self.saved_at = time.monotonic()

    def _write_last(self, trainer: pl.Trainer, path: Path) -> None:
        if self.record is not None:
            self.lengths = self.record.lengths()
        trainer.save_checkpoint(path)

    def _stop_if_asked(self) -> None:
        if self.stop_signal is None:
            return
        number, self.stop_signal = self.stop_signal, None
        outer = self._outer[number]
        if callable(outer) and outer is not signal.default_int_handler:
            # submitit requeues the job and exits here; on SIGTERM, which announces a preemption, it lets us go on.
            outer(number, None)
            if number == signal.SIGTERM:
                return
        name = signal.Signals(number).name
        raise RunInterrupted(
            f"{name}: stopped, and saved; continue with: composer train resume={display_path(self.folder)}", number
        )
