"""Signals during training: finish the batch, save a checkpoint, then stop."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from types import FrameType

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from composer.errors import RunInterrupted
from composer.files import display_path
from composer.progress import Progress
from composer.standard_streams import write_from_handler

# Ctrl-C; a scheduler's stop; the warnings before preemption of Slurm (USR1) and of submitit on Slurm (USR2).
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
# A second signal of a scheduler within this time is the same request: it signals a job, and the sweep passes it on.
ONE_REQUEST_SECONDS = 1.0


class SignalCallback(Callback):
    """Handlers of signals during training; `CheckpointCallback` answers a signal after it has saved."""

    def __init__(self, folder: Path, progress: Progress) -> None:
        """Keep the run directory for messages, and where they are shown."""
        self.folder, self.progress = folder, progress
        self.requested: int | None = None
        self._requested_at = 0.0
        # Handlers from before the Trainer, for example submitit's, are called after the checkpoint.
        self._outer = {int(number): signal.getsignal(number) for number in SIGNALS}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Set the handlers, in place of Lightning's, which do not save."""
        for number in SIGNALS:
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.requested is not None:
            if number != signal.SIGINT and time.monotonic() - self._requested_at < ONE_REQUEST_SECONDS:
                return
            # The second request: do not wait for the end of the batch.
            signal.signal(number, signal.SIG_DFL)
            raise KeyboardInterrupt
        self.requested, self._requested_at = number, time.monotonic()
        line = f"{signal.Signals(number).name}: stopping after this batch; once more stops at once"
        write_from_handler(line, self.progress.stream)

    def stop_if_requested(self) -> None:
        """Answer a signal after the run has been saved.

        Raises:
            RunInterrupted: the run ends.
        """
        if self.requested is None:
            return
        number, self.requested = self.requested, None
        outer = self._outer[number]
        if callable(outer) and outer is not signal.default_int_handler:
            # submitit requeues the job and exits here; on SIGTERM, which announces a preemption, it returns.
            outer(number, None)
            if number == signal.SIGTERM:
                return
        name = signal.Signals(number).name
        raise RunInterrupted(
            f"{name}: stopped, and saved; continue with: composer train resume={display_path(self.folder)}", number
        )

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Restore the handlers; Lightning does not call `teardown` then."""
        self._restore()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Restore the handlers; Lightning restores its own in its teardown, which may come first."""
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._outer.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
