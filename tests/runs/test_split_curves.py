"""TensorBoard's runs `train` and `val` below a run, also after it was interrupted."""

from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from composer.errors import ComposerError
from composer.runs.record import RunLog
from composer.runs.split_curves import SplitCurves


def row(value: float) -> dict[str, float]:
    """Metrics of an epoch."""
    return {"loss/train": value, "loss/val": value + 0.5, "lr": 1.0, "penalty/train": 2.0}


def losses(folder: Path) -> list[tuple[int, float]]:
    accumulator = EventAccumulator(str(folder))
    accumulator.Reload()
    assert accumulator.Tags()["scalars"] == ["loss"]
    return [(event.step, event.value) for event in accumulator.Scalars("loss")]


def test_lost_epochs_are_left_out_of_a_resumed_run(tmp_path: Path) -> None:
    curves = SplitCurves(tmp_path)
    for epoch in (1, 2, 3):
        curves.add(epoch, row(epoch))
    curves.close()
    times = [event.wall_time for event in events(tmp_path / "train")]
    resumed = SplitCurves(tmp_path)
    resumed.add(2, row(20))
    resumed.close()
    assert losses(tmp_path / "train") == [(1, 1.0), (2, 20.0)]
    assert losses(tmp_path / "val") == [(1, 1.5), (2, 20.5)]
    assert events(tmp_path / "train")[0].wall_time == times[0]
    # A name of its own, so that a running TensorBoard reads it.
    assert [path.name for path in (tmp_path / "val").iterdir()] == ["events.out.tfevents.000001"]


def events(folder: Path) -> list[Any]:
    accumulator = EventAccumulator(str(folder))
    accumulator.Reload()
    return accumulator.Scalars("loss")


def test_a_run_of_an_earlier_version_gets_its_curves(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("epoch,step,loss/train,loss/val\n1,5,1.0,1.5\n2,10,2.0,nan\n")
    curves = SplitCurves(tmp_path)
    curves.add(3, row(3))
    curves.close()
    assert losses(tmp_path / "train") == [(1, 1.0), (2, 2.0), (3, 3.0)]
    assert losses(tmp_path / "val") == [(1, 1.5), (3, 3.5)]


def test_a_damaged_file_gives_what_stands_before_the_damage(tmp_path: Path) -> None:
    curves = SplitCurves(tmp_path)
    for epoch in (1, 2):
        curves.add(epoch, row(epoch))
    curves.close()
    path = tmp_path / "train" / "events.out.tfevents.000000"
    path.write_bytes(path.read_bytes()[:-3])
    resumed = SplitCurves(tmp_path)
    resumed.add(3, row(3))
    resumed.close()
    assert losses(tmp_path / "train") == [(1, 1.0), (3, 3.0)]


def test_a_link_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "train").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ComposerError, match="train: a link or a file"):
        SplitCurves(tmp_path).add(1, row(1))
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_job_of_a_sweep_has_no_runs_of_its_splits(tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text("{}")
    record = RunLog(tmp_path)
    record.add_row(1, 5, row(1))
    record.close()
    assert not (tmp_path / "train").exists()
