"""TensorBoard's runs `train` and `val` below a run: one tag in both, so that a chart has a colour for each split.

TensorBoard colours the lines of a chart by run. The run itself has `loss/train` and `loss/val`; here `loss` stands in a
run of each split, and the list of runs is the legend. These files repeat what `metrics.csv` holds, so that no
checkpoint counts them: at the first epoch that a resumed run writes, the points of lost epochs are left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.compat.proto.event_pb2 import Event, SessionLog

from composer.errors import ComposerError
from composer.runs.metrics_table import read_metrics
from composer.runs.tensorboard import EVENTS_PREFIX, EventFile

# Splits that have a value in every epoch, and names of their runs.
SPLITS = ("train", "val")


class SplitCurves:
    """Writer of the runs `train` and `val` of one run directory."""

    def __init__(self, folder: Path) -> None:
        """Keep the run directory; nothing is written before the first epoch."""
        self.folder = folder
        self._files: dict[str, EventFile] = {}

    def add(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Write the metrics that both splits have, as points of an epoch.

        Args:
            epoch: the number of finished epochs.
            metrics: values by key (`loss/train`); NaN is left out.
        """
        if not self._files:
            earlier = _table(self.folder, epoch)
            self._files = {split: _opened(self.folder / split, split, epoch, earlier) for split in SPLITS}
        for split, file in self._files.items():
            points = of_split(metrics, split)
            if points:
                file.scalars(epoch, points)
                file.flush()

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()


def of_split(metrics: Mapping[str, float], split: str) -> dict[str, float]:
    """Return the finite values of a split by metric (`loss`), of metrics that every split has."""
    found = {}
    for key, value in metrics.items():
        metric, _, end = key.rpartition("/")
        shared = all(f"{metric}/{other}" in metrics for other in SPLITS)
        if end == split and shared and not math.isnan(value):
            found[metric] = value
    return found


def _table(folder: Path, epoch: int) -> list[tuple[int, dict[str, float]]]:
    """Return the rows of `metrics.csv` before an epoch; none where it cannot be read."""
    if epoch == 1:
        return []
    try:
        table = read_metrics(folder)
    except ComposerError:
        return []
    rows = [{key: float(values[row]) for key, values in table.items()} for row in range(len(table["epoch"]))]
    return [(int(row["epoch"]), row) for row in rows if row["epoch"] < epoch]


def _opened(folder: Path, split: str, epoch: int, earlier: list[tuple[int, dict[str, float]]]) -> EventFile:
    """Return a new event file with the points before an epoch, in place of the older files.

    The points are those of the older files, with their times; without such files, as in a run of an earlier version,
    those of `metrics.csv`.

    Raises:
        ComposerError: the folder is a link or no folder.
    """
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise ComposerError(f"{folder}: a link or a file, where the run has a folder for TensorBoard; remove it")
    folder.mkdir(exist_ok=True)
    older = sorted(folder.glob(f"{EVENTS_PREFIX}*"))
    kept = [event for path in older for event in _points(path) if event.step < epoch]
    number = int(older[-1].name.removeprefix(EVENTS_PREFIX)) + 1 if older else 0
    file = EventFile(folder / f"{EVENTS_PREFIX}{number:06d}")
    if older:
        # A running TensorBoard then drops what it has read.
        file.write(Event(step=1, session_log=SessionLog(status=SessionLog.START)))
    if kept:
        for event in kept:
            file.append(event)
    else:
        for number, row in earlier:
            file.scalars(number, of_split(row, split))
    file.flush()
    for path in older:
        path.unlink()
    return file


def _points(path: Path) -> Iterator[Event]:
    """Return the scalar events of a file, up to its first damaged record."""
    try:
        for content in RawEventFileLoader(str(path)).Load():
            event = Event.FromString(content)
            if event.HasField("summary"):
                yield event
    except Exception:  # of TensorBoard's reader, which raises errors of several kinds
        return
