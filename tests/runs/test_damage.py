"""Damaged and hostile run directories: a line that names the file, and no figure that is wrong."""

from __future__ import annotations

import io
import json
import os
import pickle
import re
import resource
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import composer
from composer import cli
from composer.commands.train import resume, start
from composer.compare.reading import read_run, read_sweep
from composer.config.compose import compose
from composer.errors import ComposerError
from composer.files import read_json, write_json
from composer.runs import checkpoint as ckpt
from composer.runs.metrics_table import read_metrics

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("damage") / "run"
    quick = ["model.hidden_size=8", "data.window_size=10", "data.batch_size=256", "trainer.max_epochs=2"]
    quick += ["trainer.threads=1", "trainer.progress_bar=false", "sampling_grid.pieces=0", "logging.sample_media=false"]
    start(compose(*quick), folder)
    return folder


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "run"))


def change_weights(run: Path, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    for path in (run / "checkpoints").glob("*.ckpt"):
        values = ckpt.load(path)
        for name in ("model.linear.weight", "model.lstm.weight_hh_l0", "model.lstm.weight_ih_l0"):
            values["state_dict"][name] = change(values["state_dict"][name])
        ckpt.save(path, values)


# Weights


@pytest.mark.parametrize("command", ["generate", "evaluate", "export", "report", "resume", "copying"])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda w: w.fill_(torch.nan), r"weight\w* holds NaN or infinity"),
        (lambda w: w.fill_(-torch.inf), r"weight\w* holds NaN or infinity"),
        (lambda w: w.to_sparse(), r"weight\w* is no dense tensor"),
        (lambda w: w.fill_(1e38), "too large for finite probabilities|the loss is not finite"),
    ],
    ids=["nan", "infinite", "sparse", "1e38"],
)
def test_weights_that_no_training_writes_are_refused(
    command: str, change: Any, words: str, run: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    change_weights(run, change)
    arguments = {
        "generate": ["generate", str(run), f"output={tmp_path / 'out'}"],
        "evaluate": ["evaluate", str(run), f"output={tmp_path / 'out'}"],
        "export": ["export", str(run), f"output={tmp_path / 'a.safetensors'}"],
        "report": ["report", str(run)],
        "resume": ["train", f"resume={run}", "trainer.max_epochs=3"],
        "copying": ["generate", str(run), "checkpoint=last", f"output={tmp_path / 'out'}"],
    }[command]
    assert cli.run(arguments[0], arguments[1:]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len([line for line in lines if "epoch" not in line or "finite" in line]) == 1
    assert re.search(words, lines[-1])
    assert not (tmp_path / "a.safetensors").exists()


def test_damaged_safetensors_are_refused(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    path = tmp_path / "a.safetensors"
    assert cli.run("export", [str(run), f"output={path}"]) == 0
    content = path.read_bytes()
    weights = safetensors.load(content)
    weights["linear.weight"].fill_(torch.nan)
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    hostile = {
        "NaN": safetensors.save(weights, header["__metadata__"]),
        "cut": content[:-20],
        "header of 2^63 bytes": b"\xff" * 7 + b"\x7f" + content[8:],
        "nested header": (100_000).to_bytes(8, "little") + b"[" * 100_000,
    }
    capsys.readouterr()
    for name, damaged in hostile.items():
        path.write_bytes(damaged)
        assert cli.run("generate", [str(path), f"output={tmp_path / 'out'}"]) == 1, name
        (line,) = capsys.readouterr().err.splitlines()
        assert "holds NaN or infinity" in line or "not weights that composer exported" in line


def test_a_tensor_larger_than_its_content_is_refused(run: Path) -> None:
    change_weights(run, lambda w: torch.zeros(1).expand(1 << 40))
    with pytest.raises(ComposerError, match=r"weight\w* is larger than its content"):
        ckpt.load(run / "checkpoints" / "last.ckpt")


# Archives


def archive(path: Path, entries: list[tuple[str, bytes]], compression: int = zipfile.ZIP_STORED) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        for name, content in entries:
            file.writestr(name, content)
    path.write_bytes(buffer.getvalue())


def test_a_compressed_archive_is_refused_before_it_is_read(tmp_path: Path) -> None:
    archive(tmp_path / "a.ckpt", [("a/data.pkl", bytes(1 << 24))], zipfile.ZIP_DEFLATED)
    assert (tmp_path / "a.ckpt").stat().st_size < 1 << 16
    with pytest.raises(ComposerError, match="archive is compressed"):
        ckpt.load(tmp_path / "a.ckpt")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_archive_with_a_name_twice_is_refused(tmp_path: Path) -> None:
    archive(tmp_path / "a.ckpt", [("a/data.pkl", b"x"), ("a/data.pkl", b"x")])
    with pytest.raises(ComposerError, match="states more than the file holds"):
        ckpt.load(tmp_path / "a.ckpt")


def test_values_of_absurd_size_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ckpt, "MAX_PICKLE_BYTES", 1000)
    archive(tmp_path / "a.ckpt", [("a/data.pkl", pickle.dumps(bytes(2000), protocol=2))])
    with pytest.raises(ComposerError, match="more than 1,000 bytes besides its tensors"):
        ckpt.load(tmp_path / "a.ckpt")


LIMITED = """
import resource, sys
from composer import cli
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
sys.exit(cli.run(sys.argv[1], sys.argv[2:]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="a limit of Linux")
def test_devices_and_bombs_take_no_memory(run: Path, tmp_path: Path) -> None:
    archive(tmp_path / "bomb.ckpt", [("a/data.pkl", bytes(1 << 27))], zipfile.ZIP_DEFLATED)
    archive(tmp_path / "values.ckpt", [("a/data.pkl", bytes((64 << 20) + 1))])
    (tmp_path / "zero.mid").symlink_to("/dev/zero")
    (tmp_path / "zero.ckpt").symlink_to("/dev/zero")
    (run / "metrics.csv").unlink()
    (run / "metrics.csv").symlink_to("/dev/zero")
    for arguments, words in (
        (["render", "zero.mid"], "zero.mid: a device, not a regular file"),
        (["generate", "zero.ckpt"], "run=zero.ckpt: no such run directory or checkpoint file"),
        (["generate", "bomb.ckpt"], "bomb.ckpt: its archive is compressed, which no checkpoint is"),
        (["generate", "values.ckpt"], "values.ckpt: more than 67,108,864 bytes besides its tensors"),
        (["train", f"resume={run}", "trainer.max_epochs=3"], "metrics.csv: a device, which is never written over"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", LIMITED, *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 1
        assert words in done.stderr.splitlines()[-1]
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 4 << 20


# The best weights


@pytest.mark.parametrize(
    "damage", [lambda p: p.unlink(), lambda p: p.write_bytes(p.read_bytes()[:-9])], ids=["no", "cut"]
)
def test_lost_best_weights_are_told_where_no_epoch_is_left(damage: Any, run: Path) -> None:
    damage(run / "checkpoints" / "best.ckpt")
    with pytest.raises(
        ComposerError, match=r"best\.ckpt: .*; the weights of epoch 2, the best, are lost: composer gen"
    ):
        resume(str(run), [])


def test_lost_best_weights_are_replaced_by_a_later_epoch(run: Path) -> None:
    (run / "checkpoints" / "best.ckpt").unlink()
    with pytest.warns(UserWarning, match=r"best\.ckpt: not found; the best of the epochs after 2 takes its place"):
        summary = resume(str(run), ["trainer.max_epochs=3"])
    assert summary["best"]["epoch"] == 3


# The record


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda p: p.write_text(p.read_text().replace("1,", "2,", 1)), "damaged since"),
        (lambda p: p.write_bytes(p.read_bytes() + b"1,2,3\n"), None),
        (lambda p: p.unlink(), "damaged since"),
    ],
    ids=["changed", "longer", "missing"],
)
def test_a_record_that_changed_is_told_when_resuming(damage: Any, expected: str | None, run: Path) -> None:
    damage(run / "metrics.csv")
    if expected is None:
        # What follows the checkpoint is of lost work, and cut off.
        summary = resume(str(run), ["trainer.max_epochs=3"])
        assert len(read_metrics(run)["epoch"]) == 3
    else:
        with pytest.warns(UserWarning, match=r"metrics\.csv: damaged since its checkpoint was written, or missing"):
            summary = resume(str(run), ["trainer.max_epochs=3"])
    assert summary["damaged_record"] == (["metrics.csv"] if expected else [])


def test_a_longer_record_of_a_finished_run_is_told(run: Path) -> None:
    with (run / "metrics.csv").open("a") as stream:
        stream.write("3,12,0.5\n")
    with pytest.warns(UserWarning, match=r"metrics\.csv: damaged since the run ended, or missing"):
        resume(str(run), [])


def test_events_that_changed_are_told_when_no_epoch_is_left(run: Path) -> None:
    path = run / "events.out.tfevents.000000"
    content = bytearray(path.read_bytes())
    content[200] ^= 1
    path.write_bytes(content)
    with pytest.warns(UserWarning, match=r"events\.out\.tfevents\.000000: damaged since the run ended, or missing"):
        resume(str(run), [])


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("epoch,step,loss\n1,2,0.5\n1,4,0.4\n", "its epochs are not 1, 2, 3"),
        ("epoch,step,loss\n1,2,0.5,7\n", "damaged"),
        ("epoch,step,step\n1,2,0.5\n", "two columns have one name"),
        ("step,loss\n2,0.5\n", "no column 'epoch'"),
        ("epoch,step,loss\n1,2,x\n", "damaged"),
        ("", "damaged"),
    ],
)
def test_a_damaged_table_is_refused(table: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text(table)
    with pytest.raises(ComposerError, match=words):
        read_metrics(tmp_path)


def test_a_changed_digit_of_the_table_is_noticed(run: Path) -> None:
    path = run / "metrics.csv"
    text = path.read_text()
    path.write_text(text[:-3] + str((int(text[-3]) + 1) % 10) + text[-2:])
    with pytest.warns(UserWarning, match=r"metrics\.csv: damaged \(not the file that the run ended with"):
        assert not read_run(run).curves


# Text files


@pytest.mark.parametrize("name", ["summary.json", "manifest.json"])
def test_a_changed_digit_of_a_json_file_is_noticed(name: str, run: Path) -> None:
    values = json.loads((run / name).read_text())
    values["seed"] += 1
    (run / name).write_text(json.dumps(values))
    with pytest.raises(ComposerError, match=f"{name}: damaged or edited"):
        read_json(run / name)


def test_a_file_of_an_earlier_version_has_no_checksum(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"seed": 1})
    assert read_json(tmp_path / "a.json") == {"seed": 1}
    write_json(tmp_path / "b.json", {"seed": 1, "loss": float("nan")}, checked=True)
    assert read_json(tmp_path / "b.json") == {"seed": 1, "loss": None}


def test_a_changed_config_is_no_arm_of_a_comparison(run: Path, whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "other")
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("hidden_size: 8", "hidden_size: 9"))
    sweep = read_sweep(tmp_path, "final")
    assert [run.folder.name for run in sweep.counted] == ["other"]
    assert [
        note for note in sweep.notes if note.startswith("left out: run (") and "config.yaml: damaged or edi" in note
    ]
    with pytest.raises(ComposerError, match=r"its model\.hidden_size is not that of the training, 8; write that value"):
        resume(str(run), ["trainer.max_epochs=3"])


def test_no_unknown_config_is_an_arm(run: Path, whole: Path, tmp_path: Path) -> None:
    (run / "config.yaml").write_text("{")
    with pytest.raises(ComposerError, match="no run of it can be used"):
        read_sweep(tmp_path, "final")
    shutil.copytree(whole, tmp_path / "other")
    assert [arm.swept for arm in read_sweep(tmp_path, "final").arms] == [{}]


def test_a_number_of_5000_digits_is_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("\nseed: 0", "\nseed: " + "7" * 5000))
    for command, arguments in (("train", [f"resume={run}"]), ("report", [str(run)])):
        assert cli.run(command, arguments) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert "config.yaml: " in line


def test_a_folder_in_the_place_of_the_summary_is_told(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "summary.json").unlink()
    (run / "summary.json").mkdir()
    for command, arguments in (("report", [str(run)]), ("train", [f"resume={run}"])):
        assert cli.run(command, arguments) == 1
        assert "summary.json: a folder" in capsys.readouterr().err.splitlines()[-1]
    assert cli.run("train", [f"resume={run}", "trainer.max_epochs=3"]) == 1
    assert "summary.json: a folder, which is never written over" in capsys.readouterr().err.splitlines()[-1]


def test_a_loss_of_nothing_is_refused() -> None:
    with pytest.raises(ComposerError, match=r"loss\.note_weight=0\.0: must be above 0, or velocity_weight or"):
        compose("loss.note_weight=0", "loss.velocity_weight=0", "loss.time_weight=0")


def test_a_python_program_gets_the_same_errors(run: Path) -> None:
    change_weights(run, lambda w: w.fill_(torch.nan))
    with pytest.raises(ComposerError, match="holds NaN or infinity"):
        composer.load(run).generate(events=5)
