"""Names and keys of a run in TensorBoard's HParams."""

import json
from pathlib import Path

import pytest

from composer.config.compose import compose
from composer.runs.trial import MAX_NAME, trial


def job(folder: Path, number: int, **swept: str) -> Path:
    """The folder of a sweep's job."""
    folder.mkdir(parents=True)
    (folder / "job.json").write_text(json.dumps({"number": number, "swept": swept}))
    return folder


def test_a_job_of_a_sweep_shows_only_what_was_swept(tmp_path: Path) -> None:
    folder = job(tmp_path / "sweep-1a2b3c4d" / "x", 3, **{"regularizer": "l1", "model.hidden_size": "64", "seed": "1"})
    found = trial(folder, compose("regularizer=l1", "model.hidden_size=64", "seed=1", "trainer.max_epochs=3"))
    assert found.values == {"regularizer": "l1", "model.hidden_size": 64.0, "seed": "1"}
    assert found.name == "l1 64 s1 1a2b"


def test_names_are_never_cut_and_differ_between_sweeps(tmp_path: Path) -> None:
    long = {"model.dropout": "0.31234567", "optimizer.lr": "0.00123456", "seed": "0"}
    names = [
        trial(job(tmp_path / sweep / str(number), number, **swept), compose()).name
        for sweep in ("sweep-1a2b3c4d", "sweep-5e6f7a8b", "mine")
        for number, swept in enumerate(({"seed": "0"}, {"seed": "1"}, long))
    ]
    assert len(set(names)) == 9
    assert all(0 < len(name) <= MAX_NAME for name in names)
    assert names[2] == "job 3 1a2b"


def test_a_single_run_shows_its_seed_and_what_was_changed(tmp_path: Path) -> None:
    found = trial(tmp_path / "2026-11-26_06-13-01_f070e5", compose("model=gru", "name=mine", "trainer.max_epochs=2"))
    assert found.values == {"model": "gru", "model.hidden_size": 154, "trainer.max_epochs": 2, "seed": "0"}
    assert found.name == "mine f070e5"
    assert trial(tmp_path / "run", compose()).values == {"seed": "0"}


@pytest.mark.parametrize(("folder", "name"), [("mine", ""), ("2026-11-26_06-13-01_f070e5", "f070e5")])
def test_a_name_without_room_is_the_id_or_the_folder(tmp_path: Path, folder: str, name: str) -> None:
    assert trial(tmp_path / folder, compose("name=performances")).name == name
