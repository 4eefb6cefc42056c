"""Checkpoints: whole or not at all, and never a way in for foreign code."""

import json
import os
import pickle
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from composer.commands.train import resume, start
from composer.composing.composer import Composer
from composer.config.compose import compose
from composer.errors import ComposerError
from composer.files import write_atomic
from composer.runs import checkpoint as ckpt
from composer.runs.layout import locked

QUICK = (
    "model.hidden_size=8",
    "data.window_size=10",
    "data.batch_size=128",
    "trainer.max_epochs=2",
    "trainer.threads=1",
    "trainer.progress_bar=false",
    "sampling.events=5",
    "sampling_grid.pieces=0",
    "logging.sample_media=false",
)
VALUES = {"state_dict": {"w": torch.arange(6.0)}, "composer": {"format": ckpt.FORMAT}}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "finished"
    start(compose(*QUICK), folder)
    return folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


class Bomb:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.path),))


def damage(path: Path, place: int = 200) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def test_a_saved_checkpoint_loads_and_is_an_ordinary_torch_file(tmp_path: Path) -> None:
    ckpt.save(tmp_path / "a.ckpt", VALUES)
    assert torch.equal(ckpt.load(tmp_path / "a.ckpt")["state_dict"]["w"], torch.arange(6.0))
    plain = torch.load(tmp_path / "a.ckpt", weights_only=True)
    assert torch.equal(plain["state_dict"]["w"], torch.arange(6.0))
    assert os.listdir(tmp_path) == ["a.ckpt"]


def test_every_changed_byte_and_every_cut_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    ckpt.save(path, VALUES)
    content = path.read_bytes()
    for place in range(0, len(content), 37):
        changed = bytearray(content)
        changed[place] ^= 0x10
        path.write_bytes(changed)
        with pytest.raises(ComposerError, match=r"a\.ckpt: (damaged|not a checkpoint)"):
            ckpt.load(path)
    for length in (0, 1, 70, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(ComposerError, match=r"a\.ckpt: (damaged|not a checkpoint)"):
            ckpt.load(path)


def test_a_pickle_with_foreign_code_is_refused_and_runs_nothing(run: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    path = run / "checkpoints" / "best.ckpt"
    ckpt.save(path, {**ckpt.load(path), "extra": Bomb(mark)})  # with a right checksum
    with pytest.raises(ComposerError, match="holds more than tensors and plain values"):
        Composer.load(run)
    path.write_bytes(pickle.dumps(Bomb(mark)))
    with pytest.raises(ComposerError, match="not a checkpoint of composer"):
        Composer.load(run)
    assert not mark.exists()


@pytest.mark.slow
def test_class_names_in_a_checkpoint_are_never_called(run: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    path = run / "checkpoints" / "last.ckpt"
    target = {"_instantiator": "os.mkdir", "_target_": "os.mkdir", "path": str(mark)}
    ckpt.save(path, {**ckpt.load(path), "hyper_parameters": target, "hparams_name": "kwargs"})
    resume(str(run), ["trainer.max_epochs=3"])
    assert not mark.exists()


@pytest.mark.parametrize("key", ["_target_", "model._target_"])
def test_a_target_in_a_run_directorys_config_is_refused(run: Path, tmp_path: Path, key: str) -> None:
    mark = tmp_path / "mark"
    text = (run / "config.yaml").read_text()
    line = f"_target_: os.mkdir\n{'  ' if '.' in key else ''}path: {mark}\n"
    where = text.index("  hidden_size") if "." in key else 0
    indent = "  " if "." in key else ""
    (run / "config.yaml").write_text(text[:where] + indent + line + text[where:])
    with pytest.raises(ComposerError, match=r"config\.yaml: .*_target_"):
        resume(str(run), [])
    assert not mark.exists()


def test_a_file_beyond_all_sizes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.ckpt"
    path.write_bytes(bytes(101))
    monkeypatch.setattr(ckpt, "MAX_BYTES", 100)
    with pytest.raises(ComposerError, match="larger than 100 bytes"):
        ckpt.load(path)


def test_misfitting_weights_get_one_line_when_resuming(run: Path) -> None:
    path = run / "checkpoints" / "last.ckpt"
    values = ckpt.load(path)
    values["state_dict"]["model.linear.bias"] = torch.zeros(3)
    ckpt.save(path, values)
    with pytest.raises(ComposerError, match=r"last\.ckpt: .*linear\.bias should be \(\d+,\) and is \(3,\)"):
        resume(str(run), [])


def test_a_checkpoint_without_a_training_state_is_not_resumed(run: Path) -> None:
    shutil.copy(run / "checkpoints" / "best.ckpt", run / "checkpoints" / "last.ckpt")
    with pytest.raises(ComposerError, match=r"last\.ckpt: holds weights but no training to go on with"):
        resume(str(run), [])


@pytest.mark.parametrize(
    "damage",
    [
        lambda values: values["optimizer_states"][0]["state"][0].update(exp_avg=torch.zeros(3)),
        lambda values: values["callbacks"]["ProgressCallback"].pop("position"),
        lambda values: values["callbacks"]["ProgressCallback"].update(position="x"),
        lambda values: values["callbacks"]["RecordCallback"].pop("lengths"),
        lambda values: values.pop("optimizer_states"),
    ],
)
def test_a_training_state_that_contradicts_itself_gets_one_line(run: Path, damage: Any) -> None:
    path = run / "checkpoints" / "last.ckpt"
    values = ckpt.load(path)
    damage(values)
    ckpt.save(path, values)
    with pytest.raises(ComposerError, match=r"last\.ckpt: its training state is damaged"):
        resume(str(run), [])


@pytest.mark.slow
def test_damaged_last_checkpoint_falls_back_to_previous(finished: Path, run: Path) -> None:
    damage(run / "checkpoints" / "last.ckpt")
    with pytest.warns(UserWarning, match=r"last\.ckpt: damaged .* resuming from .*previous\.ckpt"):
        resume(str(run), [])
    expected = ckpt.load(finished / "checkpoints" / "last.ckpt")["state_dict"]
    for name in ("last.ckpt", "previous.ckpt"):  # the damaged file has not taken the whole one's place
        for key, value in ckpt.load(run / "checkpoints" / name)["state_dict"].items():
            assert value.shape == expected[key].shape
    for key, value in ckpt.load(run / "checkpoints" / "last.ckpt")["state_dict"].items():
        assert torch.equal(value, expected[key])


def test_without_whole_checkpoint_resuming_fails(run: Path) -> None:
    before = (run / "metrics.csv").read_bytes()
    damage(run / "checkpoints" / "last.ckpt")
    (run / "checkpoints" / "previous.ckpt").write_bytes(b"")
    with pytest.raises(ComposerError, match="no whole checkpoint is left to resume from"):
        resume(str(run), [])
    assert (run / "metrics.csv").read_bytes() == before


@pytest.mark.slow
def test_run_killed_before_its_first_checkpoint_starts_over(finished: Path, run: Path) -> None:
    shutil.rmtree(run / "checkpoints")
    resume(str(run), [])
    assert (run / "metrics.csv").read_bytes() == (finished / "metrics.csv").read_bytes()


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    ckpt.save(path, VALUES)

    def fail(stream: Any) -> None:
        stream.write(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(ComposerError, match=r"a\.ckpt: cannot be written \(No space left on device\)"):
        write_atomic(path, fail)
    assert os.listdir(tmp_path) == ["a.ckpt"]
    assert ckpt.load(path)["composer"]["format"] == ckpt.FORMAT


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    mount = tmp_path / "disk"
    mount.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(mount)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a small file system can only be mounted by root")
    yield mount
    subprocess.run(["umount", "-l", str(mount)], check=True)


@pytest.mark.slow
def test_full_disk_ends_run_with_checkpoint_intact(small_disk: Path) -> None:
    folder = small_disk / "run"
    # Room for the first checkpoints, not for many epochs of the record.
    (small_disk / "other").write_bytes(bytes(350_000))
    config = compose(
        *QUICK, "trainer.max_epochs=100000", "checkpoint.every_epochs=1", "logging.histogram_every_epochs=1"
    )
    with pytest.raises(ComposerError, match="No space left on device") as error:
        start(config, folder)
    assert "\n" not in str(error.value)
    assert json.loads((folder / "summary.json").read_text())["status"] == "failed"
    _, values = ckpt.load_newest(folder) or (None, {})
    assert values["callbacks"]["ProgressCallback"]["position"][0] >= 1
    (small_disk / "other").unlink()
    epochs = values["callbacks"]["ProgressCallback"]["position"][0] + 1
    summary = resume(str(folder), [f"trainer.max_epochs={epochs}"])
    assert summary["status"] == "completed"


def test_locked_directory_is_refused_until_process_ends(tmp_path: Path) -> None:
    pid = os.fork()
    if pid == 0:
        with locked(tmp_path):
            (tmp_path / "holding").touch()
            time.sleep(60)  # until killed
        os._exit(0)
    while not (tmp_path / "holding").exists():
        time.sleep(0.01)
    with pytest.raises(ComposerError, match=f"another process \\(number {pid}\\)"), locked(tmp_path):
        pass
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    with locked(tmp_path):
        assert (tmp_path / ".lock").read_text() == f"{os.getpid()}\n"
    assert not (tmp_path / ".lock").exists()  # no run began here
