"""The record of a run: `metrics.csv` and TensorBoard's event files, with one row and one point per epoch.

A checkpoint holds the length of each file at the time of its writing, and a digest of its content. A resumed run
truncates the files to these lengths, so that no point is repeated and none is left of lost work, and continues in a new
event file; a file whose content has changed is told.

TensorBoard's list of tags has what people compare; `metrics.csv` has every figure, also those of each weight tensor.
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
import os
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from torch import nn

from composer.config.limits import CHANNELS
from composer.errors import ComposerError
from composer.files import check_writable_name, printable, special
from composer.runs.layout import JOB, METRICS
from composer.runs.split_curves import SPLITS, SplitCurves
from composer.runs.tensorboard import EVENTS_PREFIX, DigestedFile, EventFile, Layout

# Train and validation in one chart each.
_CHARTS = {
    "train and validation": ["loss", "accuracy", "accuracy_joint"],
    "train and validation: note, velocity, time": [
        f"{kind}_{channel}" for kind in ("nll", "accuracy") for channel in CHANNELS
    ],
}
# Shares of each tensor, a dozen curves that few look at; `zeros/all` and `small/all` stay.
_OF_TENSORS = re.compile(r"(zeros|small)/(?!all$)")
# Of the pieces that are composed during the training, with the lines of human music.
COMPOSED = (
    *("copying/interval_4", "copying/interval_8", "copying/longest_notes"),
    *("quality/distance", "quality/on_grid", "quality/on_beat", "quality/repetition", "quality/surprise"),
    *("quality/overlap_mean", "quality/pitch_class_entropy", "quality/polyphony", "quality/note_density"),
)

_CHANGED = "damaged since its checkpoint was written, or missing"


class RunLog:
    """Writer of the record of one run directory."""

    def __init__(
        self,
        folder: Path,
        lengths: dict[str, int] | None = None,
        next_epoch: int = 0,
        digests: Mapping[str, str] | None = None,
    ) -> None:
        """Open the files of a new or a resumed run.

        Args:
            folder: the run directory.
            lengths: file lengths in bytes from a checkpoint; files are truncated to them and other files of the record
                removed. None starts a new record.
            next_epoch: the first epoch (from 1) that a resumed run writes.
            digests: SHA-256 of files from the same checkpoint; a file that differs is named in `damaged`.
        """
        self.folder = folder
        check_writable_name(folder / METRICS)
        cut_back(folder, lengths or {})
        self.damaged = changed_files(folder, lengths or {}, digests or {})
        for name in self.damaged:
            warnings.warn(f"{folder / name}: {_CHANGED}; going on with it as it is", stacklevel=2)
        self._older = {path.name: _digest(path) for path in event_files(folder)}
        # TensorBoard reads the files of a run in the order of their names.
        number = len(event_files(folder))
        self.events = EventFile(folder / f"{EVENTS_PREFIX}{number:06d}")
        if lengths is not None:
            # A running TensorBoard then drops its points of the lost epochs.
            self.events.write(Event(step=next_epoch, session_log=SessionLog(status=SessionLog.START)))
        # The jobs of a sweep have none: their arms have, and ten runs would be thirty in TensorBoard's list.
        self.curves = None if (folder / JOB).exists() else SplitCurves(folder)
        path = folder / METRICS
        before = path.read_bytes() if path.exists() else b""
        self.csv, self._has_rows = DigestedFile(path.open("ab"), before), bool(before)

    def describe(self, hyperparameters: Mapping[str, Any], trial: str = "", *, composed: bool = True) -> None:
        """Write the hyperparameters and the layout of charts, once per run.

        Args:
            hyperparameters: those that *HParams* lists, by key.
            trial: name in *HParams*; empty for that of the run.
            composed: whether pieces are composed during the training, so that their charts are not empty.
        """
        self.events.hyperparameters({key: _hyperparameter(value) for key, value in hyperparameters.items()}, trial)
        layout: Layout
        if self.curves is None:
            layout = {
                "single runs": {
                    f"{key}/{split}": [f"^{key}/{split}$"] for key in ("loss", "accuracy") for split in SPLITS
                }
            }
        else:
            layout = {chapter: {key: [f"^{key}$"] for key in keys} for chapter, keys in _CHARTS.items()}
        if composed:
            layout["composed and human music"] = {key: [f"^{key}(/held_out|/training)?$"] for key in COMPOSED}
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
        if not self._has_rows:
            writer.writeheader()
        self._has_rows = True
        writer.writerow(row)
        self.csv.write(buffer.getvalue().encode("utf-8"))
        self.csv.flush()
        # The table has the same columns in each row; TensorBoard draws a NaN as a point.
        taken = {key: value for key, value in metrics.items() if not math.isnan(value)}
        self.add_scalars(epoch, {key: value for key, value in taken.items() if not _OF_TENSORS.match(key)})
        if self.curves is not None:
            self.curves.add(epoch, metrics)

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

    def digests(self) -> dict[str, str]:
        """Return the SHA-256 of each file by name, of what has been written so far."""
        newest = event_files(self.folder)[-1].name
        return {**self._older, METRICS: self.csv.sha256, newest: self.events.stream.sha256}

    def close(self) -> None:
        """Close the files."""
        self.events.close()
        self.csv.close()
        if self.curves is not None:
            self.curves.close()


def event_files(folder: Path) -> list[Path]:
    """Return TensorBoard's files in a run directory, in the order of writing."""
    return sorted(folder.glob(f"{EVENTS_PREFIX}*"))


def _digest(path: Path, length: int | None = None) -> str:
    """Return the SHA-256 of a file, or of its first `length` bytes."""
    found, left = hashlib.sha256(), path.stat().st_size if length is None else length
    with path.open("rb") as stream:
        while left > 0 and (content := stream.read(min(left, 1 << 20))):
            found.update(content)
            left -= len(content)
    return found.hexdigest()


def changed_files(folder: Path, lengths: Mapping[str, int], digests: Mapping[str, str]) -> list[str]:
    """Return the names of files of a record that are missing, or whose content is not what a checkpoint knows.

    Args:
        folder: the run directory.
        lengths: in bytes, by name.
        digests: SHA-256 of the first bytes, as many as the length says, by name; empty in checkpoints of earlier
            versions.
    """
    return [
        name
        for name, digest in digests.items()
        if special(folder / name) or not (folder / name).exists() or _digest(folder / name, lengths[name]) != digest
    ]


def cut_back(folder: Path, lengths: dict[str, int]) -> None:
    """Truncate the files of a record to the given lengths in bytes; remove files without one."""
    for path in [folder / METRICS, *event_files(folder)]:
        kind = special(path)
        if kind is not None:
            raise ComposerError(f"{path}: {kind}, not a regular file; remove it")
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
