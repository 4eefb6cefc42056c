"""The record of a run: `metrics.csv` and TensorBoard's event files, with one row and one point per epoch.

A checkpoint holds the length of each file at the time of its writing. A resumed run truncates the files to these
lengths, so that no point is repeated and none is left of lost work, and continues in a new event file.
"""

from __future__ import annotations

import csv
import io
import math
import os
import warnings
from pathlib import Path
from typing import Any

import torch
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from torch import nn

from composer.config.limits import CHANNELS
from composer.files import check_writable_name, printable
from composer.runs.layout import METRICS
from composer.runs.tensorboard import EVENTS_PREFIX, EventFile, Layout

# Train and validation in one chart each.
_CHARTS = {
    "article": ["loss", "accuracy", "accuracy_joint"],
    "note, velocity, time": [f"{kind}_{channel}" for kind in ("nll", "accuracy") for channel in CHANNELS],
}
# Of the pieces that are composed during the training, with the lines of human music.
_COMPOSED = (
    *("copying/interval_4", "copying/interval_8", "copying/longest_notes"),
    *("quality/distance", "quality/on_grid", "quality/on_beat", "quality/repetition", "quality/surprise"),
    *("quality/overlap_mean", "quality/pitch_class_entropy", "quality/polyphony", "quality/note_density"),
)


class RunLog:
    """Writer of the record of one run directory."""

    def __init__(self, folder: Path, lengths: dict[str, int] | None = None, next_epoch: int = 0) -> None:
        """Open the files of a new or a resumed run.

        Args:
            folder: the run directory.
            lengths: file lengths in bytes from a checkpoint; files are truncated to them and other files of the record
                removed. None starts a new record.
            next_epoch: the first epoch (from 1) that a resumed run writes.
        """
        self.folder = folder
        check_writable_name(folder / METRICS)
        cut_back(folder, lengths or {})
        # TensorBoard reads the files of a run in the order of their names.
        number = len(event_files(folder))
        self.events = EventFile(folder / f"{EVENTS_PREFIX}{number:06d}")
        if lengths is not None:
            # A running TensorBoard then drops its points of the lost epochs.
            self.events.write(Event(step=next_epoch, session_log=SessionLog(status=SessionLog.START)))
        self.csv = (folder / METRICS).open("a", encoding="utf-8", newline="")

    def describe(self, hyperparameters: dict[str, Any]) -> None:
        """Write the hyperparameters and the layout of charts, once per run."""
        # Imported late: only training needs it, and the import is slow.
        from torch.utils.tensorboard.summary import hparams

        plain = {key: _hyperparameter(value) for key, value in hyperparameters.items()}
        # Without the summary of the experiment, which comes first, TensorBoard itself finds the keys in which runs
        # differ, shows them first, and reads the metrics from the scalars of the runs.
        _, *session = hparams(plain, {})  # type: ignore[no-untyped-call]
        for summary in session:
            self.events.summary(summary)
        layout: Layout = {
            chapter: {key: [f"^{key}/train$", f"^{key}/val$"] for key in keys} for chapter, keys in _CHARTS.items()
        }
        layout["composed, beside human music"] = {key: [f"^{key}(/held_out|/training)?$"] for key in _COMPOSED}
        self.events.layout(layout)

    def add_row(self, epoch: int, step: int, metrics: dict[str, float]) -> None:
        """Write the metrics of an epoch, NaN where one was not taken.

        Args:
            epoch: the number of finished epochs.
            step: the number of optimiser steps.
            metrics: values by key, the same keys in each epoch.
        """
        row = {"epoch": epoch, "step": step, **metrics}
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, fieldnames=list(row), lineterminator="\n")
        if self.csv.tell() == 0:
            writer.writeheader()
        writer.writerow(row)
        self.csv.write(buffer.getvalue())
        self.csv.flush()
        # The table has the same columns in each row; TensorBoard draws a NaN as a point.
        self.add_scalars(epoch, {key: value for key, value in metrics.items() if not math.isnan(value)})

    def add_scalars(self, epoch: int, metrics: dict[str, float]) -> None:
        """Write points to TensorBoard, in one record."""
        self.events.scalars(epoch, metrics)
        self.events.flush()

    def add_image(self, epoch: int, tag: str, png: bytes) -> None:
        """Write an image to TensorBoard."""
        self.events.image(epoch, tag, png)

    def add_audio(self, epoch: int, tag: str, wav: bytes, rate: int, frames: int) -> None:
        """Write audio to TensorBoard: a WAV file with one channel, its rate in hertz and its number of frames."""
        self.events.audio(epoch, tag, wav, rate, frames)

    def add_histograms(self, epoch: int, model: nn.Module) -> None:
        """Write a histogram of each parameter whose values are finite."""
        from torch.utils.tensorboard.summary import histogram

        for name, parameter in model.named_parameters():
            values = parameter.detach().cpu()
            if bool(torch.isfinite(values).all()):
                # 64 bins separate a spike at zero from the values around it.
                summary = histogram(f"weights/{name}", values.numpy(), 64)  # type: ignore[no-untyped-call]
                self.events.summary(summary, epoch)

    def lengths(self) -> dict[str, int]:
        """Write the files to disk (fsync) and return the length of each in bytes, by name."""
        self.events.flush()
        self.csv.flush()
        lengths = {}
        for path in [self.folder / METRICS, *event_files(self.folder)]:
            with path.open("rb") as stream:
                os.fsync(stream.fileno())
                lengths[path.name] = os.fstat(stream.fileno()).st_size
        return lengths

    def close(self) -> None:
        """Close the files."""
        self.events.close()
        self.csv.close()


def event_files(folder: Path) -> list[Path]:
    """Return TensorBoard's files in a run directory, in the order of writing."""
    return sorted(folder.glob(f"{EVENTS_PREFIX}*"))


def cut_back(folder: Path, lengths: dict[str, int]) -> None:
    """Truncate the files of a record to the given lengths in bytes; remove files without one."""
    for path in [folder / METRICS, *event_files(folder)]:
        if not path.exists():
            continue
        length, size = lengths.get(path.name), path.stat().st_size
        if length is None:
            path.unlink()
        elif size > length:
            os.truncate(path, length)
        elif size < length:
            warnings.warn(f"{path}: shorter than its checkpoint knows; some of its points are lost", stacklevel=2)


def _hyperparameter(value: Any) -> str | bool | int | float:
    return value if isinstance(value, (bool, int, float)) else printable(str(value))
