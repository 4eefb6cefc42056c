"""Whole runs, small ones: what they leave, that they repeat, resume and stop as promised."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import mido
import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from composer.commands.evaluate import evaluate
from composer.commands.train import prepare, resume, start
from composer.composing.composer import Composer
from composer.config.compose import CONF_DIR, compose
from composer.config.data import TimeUnit
from composer.config.limits import CHANNELS
from composer.corpus import chorales
from composer.errors import ComposerError, RunInterrupted
from composer.files import read_json
from composer.music.events import prelude_piece
from composer.music.midi import write_midi
from composer.progress import Progress
from composer.reporting.run_tables import held_out_lines
from composer.runs import checkpoint as ckpt

# One thread: threads that wait for each other's cores make small runs many times slower.
QUICK = (
    "model.hidden_size=8",
    "data.window_size=10",
    "data.batch_size=64",
    "trainer.max_epochs=3",
    "trainer.threads=1",
    "trainer.progress_bar=false",
    "sampling.events=20",
    "sampling_grid.pieces=0",
    "logging.sample_media=false",
)
# What the one callback of earlier versions saved under `RunCallback`.
OLD_STATE = {"position", "steps", "best_epoch", "best_value", "metrics", "lengths", "seconds"}
BATCHES = 14  # 863 training windows of the prelude in batches of 64


def quick(*overrides: str) -> Any:
    return compose(*QUICK, *overrides)


def last(folder: Path) -> dict[str, Any]:
    return ckpt.load(folder / "checkpoints" / "last.ckpt")


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return ckpt.model_state(last(folder))


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    accumulator.Reload()
    tags = accumulator.Tags()["scalars"]
    return {tag: [(event.step, event.value) for event in accumulator.Scalars(tag)] for tag in tags}


def assert_same_run(one: Path, two: Path) -> None:
    """Equal to the last bit, times aside."""
    a, b = last(one), last(two)
    for name, value in a["state_dict"].items():
        assert torch.equal(value, b["state_dict"][name]), name
    for key, state in a["optimizer_states"][0]["state"].items():
        for name, value in state.items():
            assert torch.equal(value, b["optimizer_states"][0]["state"][key][name]), (key, name)
    assert (one / "metrics.csv").read_bytes() == (two / "metrics.csv").read_bytes()
    assert all(scalars(one / run) == scalars(two / run) for run in (".", "train", "val"))
    summaries = [read_json(folder / "summary.json") for folder in (one, two)]
    for summary in summaries:
        summary.pop("seconds")
    assert summaries[0] == summaries[1]
    samples = [sorted((folder / "samples").iterdir()) for folder in (one, two)]
    assert [path.read_bytes() for path in samples[0]] == [path.read_bytes() for path in samples[1]]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "finished"
    start(quick(), folder)
    return folder


@pytest.fixture
def interrupt_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], None]:
    """Send a real signal to this process at the end of a batch."""

    def at(epoch: int, batch: int, number: int = signal.SIGINT) -> None:
        update = Progress.update

        def hooked(progress: Progress, now_epoch: int, now_batch: int) -> None:
            update(progress, now_epoch, now_batch)
            if (now_epoch, now_batch) == (epoch, batch):
                monkeypatch.setattr(Progress, "update", update)
                signal.raise_signal(number)

        monkeypatch.setattr(Progress, "update", hooked)

    return at


def test_a_finished_run_holds_what_the_interface_promises(finished: Path) -> None:
    names = {path.relative_to(finished).as_posix() for path in finished.rglob("*") if path.is_file()}
    events = {name for name in names if "events.out.tfevents." in name}
    # What follows the training has a file of its own with `logging.sample_media` (test_samples.py).
    assert sorted(events) == [f"{run}events.out.tfevents.000000" for run in ("", "train/", "val/")]
    assert names - events == {
        "config.yaml",
        "manifest.json",
        "metrics.csv",
        "summary.json",
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
        "checkpoints/previous.ckpt",
        "samples/train-seed0-000.mid",
        ".lock",
    }
    summary = json.loads((finished / "summary.json").read_text())
    assert summary["status"] == "completed"
    assert (summary["epochs"], summary["steps"], summary["seed"]) == (3, 3 * BATCHES, 0)
    assert (summary["windows_train"], summary["windows_val"], summary["windows_test"]) == (863, 96, 109)
    assert summary["leak_rate"] == 1.0
    assert 0 <= summary["leak_rate_content"] <= summary["leak_rate_transposed"] <= 1
    for split in ("train", "val", "test"):
        for key in ("loss", "accuracy", "accuracy_joint"):
            assert f"{key}/{split}" in summary
        for channel in CHANNELS:
            assert {f"nll_{channel}/{split}", f"accuracy_{channel}/{split}"} <= set(summary)
    assert summary["penalty/train"] > 0
    assert summary["best"]["epoch"] == 3
    assert set(summary["baselines"]) == {"majority", "repeat_last", "markov", "nearest"}
    for figures in summary["baselines"].values():
        assert all(0 <= figures[key] <= 1 for key in summary if key.startswith("accuracy") and "/train" not in key)
        assert (figures["windows_val"], figures["windows_test"]) == (96, 109)
    assert 1 <= summary["baselines"]["markov"]["order"] <= 8
    manifest = json.loads((finished / "manifest.json").read_text())
    assert manifest["versions"]["torch"] == torch.__version__
    assert len(manifest["data"]["sha256"]) == 64


def test_metrics_csv_tensorboard_and_summary_agree(finished: Path) -> None:
    table, points = rows(finished), scalars(finished)
    assert [row["epoch"] for row in table] == ["1", "2", "3"]
    for key in table[0]:
        if key in ("epoch", "step"):
            continue
        if key.startswith(("zeros/", "small/")) and not key.endswith("/all"):
            assert key not in points, "figures of each tensor are in the table alone"
            continue
        assert [step for step, _ in points[key]] == [1, 2, 3]
        assert [value for _, value in points[key]] == pytest.approx([float(row[key]) for row in table])
    summary = json.loads((finished / "summary.json").read_text())
    assert float(table[-1]["loss/val"]) == summary["loss/val"]
    assert points["accuracy/test"] == [(3, pytest.approx(summary["accuracy/test"]))]


def re_match(pattern: str, run: Path) -> bool:
    return any(re.match(pattern, tag) for tag in scalars(run))


def test_train_and_val_are_runs_with_the_same_tags(finished: Path) -> None:
    main = scalars(finished)
    for split in ("train", "val"):
        points = scalars(finished / split)
        channels = [f"{kind}_{channel}" for kind in ("nll", "accuracy") for channel in CHANNELS]
        assert set(points) == {"loss", "accuracy", "accuracy_joint", *channels}
        assert all(found == main[f"{metric}/{split}"] for metric, found in points.items())


def test_the_loss_never_contains_the_penalty(finished: Path) -> None:
    row = rows(finished)[-1]
    assert float(row["loss/train"]) == pytest.approx(sum(float(row[f"nll_{channel}/train"]) for channel in CHANNELS))
    assert float(row["penalty/train"]) > 0


def test_tensorboard_has_hyperparameters_metrics_and_charts(finished: Path) -> None:
    accumulator = EventAccumulator(str(finished))
    accumulator.Reload()
    assert "hp_metric" not in accumulator.Tags()["scalars"]
    content = {tag: accumulator.PluginTagToContent(tag) for tag in ("hparams", "custom_scalars")}
    # No account of the experiment: TensorBoard makes its own from all runs, with what differs first.
    assert set(content["hparams"]) == {"_hparams_/session_start_info", "_hparams_/session_end_info"}
    session = content["hparams"]["_hparams_/session_start_info"]
    start_info = HParamsPluginData.FromString(session).session_start_info
    # What differs from the defaults, as on the command line, and the seed.
    assert {"seed", "model.hidden_size"} <= set(start_info.hparams)
    assert not {"regularizer", "regularizer.weight", "model"} & set(start_info.hparams)
    layout = Layout.FromString(accumulator.Tensors("custom_scalars__config__")[0].tensor_proto.string_val[0])
    assert [chart.title for chart in layout.category[0].chart] == ["loss", "accuracy", "accuracy_joint"]
    for category in layout.category[:2]:
        for chart in category.chart:
            # Its lines are of the runs `train` and `val`, which have a colour and a name each.
            (pattern,) = chart.multiline.tag
            assert [run for run in (".", "train", "val") if re_match(pattern, finished / run)] == ["train", "val"]
    assert "weights/lstm.weight_ih_l0" in accumulator.Tags()["histograms"]


@pytest.mark.slow
def test_the_same_seed_gives_the_same_run_and_another_another(finished: Path, tmp_path: Path) -> None:
    start(quick(), tmp_path / "same")
    assert_same_run(finished, tmp_path / "same")
    start(quick("seed=1"), tmp_path / "other")
    assert not torch.equal(weights(finished)["linear.weight"], weights(tmp_path / "other")["linear.weight"])


@pytest.mark.slow
@pytest.mark.parametrize(("epoch", "batch"), [(0, 1), (1, 7), (1, BATCHES), (2, 13)])
def test_a_run_stopped_by_ctrl_c_resumes_to_the_same_end(
    finished: Path, tmp_path: Path, interrupt_at: Callable[[int, int], None], epoch: int, batch: int
) -> None:
    interrupt_at(epoch, batch)
    with pytest.raises(RunInterrupted, match="resume=") as stopped:
        start(quick(), tmp_path / "run")
    assert stopped.value.exit_status == 130
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["status"] == "interrupted"
    resume(str(tmp_path / "run"), [])
    assert_same_run(finished, tmp_path / "run")


@pytest.mark.slow
def test_run_resumed_twice_and_from_older_checkpoint_is_equal(
    finished: Path, tmp_path: Path, interrupt_at: Callable[[int, int], None]
) -> None:
    run, copy = tmp_path / "run", tmp_path / "copy"
    interrupt_at(0, 10)
    with pytest.raises(RunInterrupted):
        start(quick(), run)
    shutil.copytree(run / "checkpoints", copy)
    interrupt_at(2, 3)
    with pytest.raises(RunInterrupted):
        resume(str(run), [])
    # As after a crash: the record is ahead of the newest checkpoint.
    shutil.rmtree(run / "checkpoints")
    copy.rename(run / "checkpoints")
    resume(str(run), [])
    assert_same_run(finished, run)


@pytest.mark.slow
def test_resuming_with_more_epochs_equals_longer_training(finished: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    start(quick("trainer.max_epochs=2"), run)
    resume(str(run), ["trainer.max_epochs=3"])
    assert torch.equal(weights(finished)["lstm.weight_hh_l0"], weights(run)["lstm.weight_hh_l0"])
    assert (finished / "metrics.csv").read_bytes() == (run / "metrics.csv").read_bytes()
    manifest = json.loads((run / "manifest.json").read_text())
    assert [entry["changed"] for entry in manifest["resumed"]] == [{"trainer.max_epochs": 3}]
    assert "max_epochs: 3" in (run / "config.yaml").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("validated", ["1", "5"], ids=["validated", "never validated"])
def test_resuming_with_no_epoch_left_equals_shorter_training(
    validated: str, tmp_path: Path, interrupt_at: Callable[[int, int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    run, short = tmp_path / "run", tmp_path / "short"
    often = ("checkpoint.every_epochs=1", f"trainer.check_val_every_n_epoch={validated}")
    interrupt_at(2, 1)
    with pytest.raises(RunInterrupted):
        start(quick(*often, "trainer.max_epochs=5"), run)
    # As after a kill just after the second epoch: its checkpoint is the newest.
    checkpoints = run / "checkpoints"
    (checkpoints / "previous.ckpt").replace(checkpoints / "last.ckpt")
    assert last(run)["callbacks"]["ProgressCallback"]["position"] == [2, 0]
    capsys.readouterr()
    ended = resume(str(run), ["trainer.max_epochs=2"])
    assert "resumes    after epoch 2 of 2, its last: only its end is missing" in capsys.readouterr().out
    whole = start(quick(*often, "trainer.max_epochs=2"), short)
    for figures in (ended, whole):
        del figures["seconds"]
    assert ended == whole
    assert scalars(run)["accuracy/test"] == scalars(short)["accuracy/test"]


def as_if_older(run: Path) -> None:
    """Take keys that the first version did not have out of a run's config and out of its checkpoints."""
    younger = ("  inputs:", "  supervision:", "  playable:")

    def older(text: str) -> str:
        text = re.sub(r"^augmentation:\n(  .*\n)+", "", text, flags=re.MULTILINE)
        return "".join(line for line in text.splitlines(keepends=True) if not line.startswith(younger))

    config = run / "config.yaml"
    config.write_text(older(config.read_text(encoding="utf-8")), encoding="utf-8")
    for path in (run / "checkpoints").glob("*.ckpt"):
        values = ckpt.load(path)
        values["composer"]["config"] = older(values["composer"]["config"])
        ckpt.save(path, values)


@pytest.mark.slow
def test_run_of_older_version_is_resumed_and_composed_with(finished: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copytree(finished, old)
    as_if_older(old)
    with pytest.warns(UserWarning, match="older version of composer, without augmentation and 3 more;"):
        composer = Composer.load(old)
    assert composer.config == Composer.load(finished).config
    assert composer.generate(events=20).classes.tolist() == Composer.load(finished).generate(events=20).classes.tolist()
    assert evaluate(composer)["loss/val"] == evaluate(Composer.load(finished))["loss/val"]
    new = tmp_path / "new"
    shutil.copytree(finished, new)
    resume(str(new), ["trainer.max_epochs=4"])
    with pytest.warns(UserWarning, match="older version of composer"):
        resume(str(old), ["trainer.max_epochs=4"])
    assert_same_run(new, old)
    # Resumed, it is of this version.
    resume(str(old), [])


@pytest.mark.slow
def test_run_with_state_of_old_callback_resumes_to_same_end(
    finished: Path, tmp_path: Path, interrupt_at: Callable[[int, int], None]
) -> None:
    run = tmp_path / "run"
    interrupt_at(1, 5)
    with pytest.raises(RunInterrupted):
        start(quick(), run)
    path = run / "checkpoints" / "last.ckpt"
    values = ckpt.load(path)
    # As checkpoints were up to version 50a75f9: one callback held the position and the lengths of the record.
    callbacks = values["callbacks"]
    values["callbacks"] = {"RunCallback": {**callbacks["ProgressCallback"], **callbacks["RecordCallback"]}}
    for younger in ("ended", "digests", "damaged"):
        del values["callbacks"]["RunCallback"][younger]
    assert values["callbacks"]["RunCallback"].keys() == OLD_STATE
    ckpt.save(path, values)
    with path.open("rb") as stream:
        assert torch.load(stream, weights_only=True)["callbacks"].keys() == {"RunCallback"}
    resume(str(run), [])
    assert_same_run(finished, run)
    assert last(run)["callbacks"].keys() == {"ProgressCallback", "RecordCallback"}


def test_fixed_key_is_refused_in_an_older_run_too(finished: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copytree(finished, old)
    as_if_older(old)
    with (
        pytest.warns(UserWarning, match="older version of composer"),
        pytest.raises(ComposerError, match=r"loss\.supervision: cannot change"),
    ):
        resume(str(old), ["loss.supervision=every"])


def test_resuming_a_finished_run_changes_nothing(finished: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    resume(str(run), [])
    assert_same_run(finished, run)


def test_resuming_refuses_a_changed_key_and_leaves_the_run_alone(finished: Path) -> None:
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    with pytest.raises(ComposerError, match=r"^model\.hidden_size: cannot change when a run is resumed"):
        resume(str(finished), ["model.hidden_size=16"])
    assert {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()} == before


def test_a_folder_that_holds_another_run_is_not_overwritten(finished: Path) -> None:
    with pytest.raises(ComposerError, match=r"holds another run \(its seed differs\)"):
        start(quick("seed=1"), finished)


@pytest.mark.slow
def test_same_run_started_again_continues_like_a_requeued_job(
    finished: Path, tmp_path: Path, interrupt_at: Callable[[int, int], None]
) -> None:
    interrupt_at(1, 3)
    with pytest.raises(RunInterrupted):
        start(quick(), tmp_path / "run")
    start(quick(), tmp_path / "run")
    assert_same_run(finished, tmp_path / "run")


@pytest.mark.slow
def test_scheduler_is_called_after_checkpoint_and_job_continues(
    finished: Path, tmp_path: Path, interrupt_at: Callable[[int, int], None]
) -> None:
    run, told = tmp_path / "run", []

    def requeue(number: int, frame: object) -> None:
        told.append((number, last(run)["callbacks"]["ProgressCallback"]["position"]))
        raise SystemExit(0)

    before = signal.signal(signal.SIGUSR2, requeue)
    interrupt_at(1, 5, signal.SIGUSR2)
    try:
        with pytest.raises(SystemExit):
            start(quick(), run)
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert told == [(signal.SIGUSR2, [1, 5])]
    assert json.loads((run / "summary.json").read_text())["status"] == "interrupted"
    start(quick(), run)
    assert_same_run(finished, run)


@pytest.mark.slow
def test_ignored_termination_saves_and_trains_on(
    finished: Path, tmp_path: Path, interrupt_at: Callable[[int, int], None]
) -> None:
    told = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: told.append(number))
    interrupt_at(1, 5, signal.SIGTERM)
    try:
        start(quick(), tmp_path / "run")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert told == [signal.SIGTERM]
    assert_same_run(finished, tmp_path / "run")


@pytest.mark.slow
def test_signal_handlers_are_restored_between_runs(tmp_path: Path, interrupt_at: Callable[[int, int], None]) -> None:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
    before = [signal.getsignal(number) for number in numbers]
    start(quick("trainer.max_epochs=1"), tmp_path / "one")
    assert [signal.getsignal(number) for number in numbers] == before
    interrupt_at(1, 2, signal.SIGTERM)
    with pytest.raises(RunInterrupted) as stopped:
        start(quick(), tmp_path / "two")
    assert stopped.value.exit_status == 128 + signal.SIGTERM
    assert [signal.getsignal(number) for number in numbers] == before


@pytest.mark.slow
def test_a_second_ctrl_c_stops_at_once_and_the_run_still_resumes(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    update = Progress.update

    def twice(progress: Progress, epoch: int, batch: int) -> None:
        if (epoch, batch) == (1, 3):
            monkeypatch.setattr(Progress, "update", update)
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Progress, "update", twice)
    with pytest.raises(RunInterrupted, match="stopped at once") as stopped:
        start(quick(), tmp_path / "run")
    assert stopped.value.exit_status == 130
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["status"], summary["windows_train"]) == ("interrupted", 863)
    monkeypatch.undo()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # Lightning ignores it after such a stop
    resume(str(tmp_path / "run"), [])
    assert_same_run(finished, tmp_path / "run")


@pytest.mark.slow
def test_run_is_resumed_from_another_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_midi(tmp_path / "piece.mid", prelude_piece(TimeUnit.seconds))
    monkeypatch.chdir(tmp_path)
    start(quick("data=midi", "data.path=piece.mid", "trainer.max_epochs=1"), tmp_path / "run")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert resume("../run", ["trainer.max_epochs=2"])["epochs"] == 2


def test_a_resumption_that_cannot_begin_leaves_the_summary(finished: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    before = (run / "summary.json").read_bytes()
    for name in ("last.ckpt", "previous.ckpt"):
        (run / "checkpoints" / name).write_bytes(b"")
    with pytest.raises(ComposerError, match="no whole checkpoint"):
        resume(str(run), [])
    assert (run / "summary.json").read_bytes() == before


def test_a_finished_run_that_is_started_again_is_passed_over(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name != ".lock"}
    assert start(quick(), run)["status"] == "completed"
    assert "has finished its 3 epochs" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.slow
def test_termination_during_final_composing_is_handled(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("composer.commands.train.write_samples", lambda *arguments: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(RunInterrupted, match="after the training, which is saved") as stopped:
        start(quick(), tmp_path / "run")
    assert stopped.value.exit_status == 143
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["status"] == "interrupted"
    monkeypatch.undo()
    resume(str(tmp_path / "run"), [])
    assert_same_run(finished, tmp_path / "run")


def test_fewer_epochs_than_were_trained_are_refused(finished: Path) -> None:
    before = (finished / "config.yaml").read_bytes()
    with pytest.raises(ComposerError, match=r"trainer\.max_epochs=2: .* has finished 3 epochs"):
        resume(str(finished), ["trainer.max_epochs=2"])
    assert (finished / "config.yaml").read_bytes() == before


@pytest.mark.slow
def test_weights_that_are_not_finite_are_never_saved(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(ComposerError, match="not finite"):
        start(quick("optimizer.lr=1e30", "checkpoint.every_steps=1"), run)
    assert all(value.isfinite().all() for value in weights(run).values())


@pytest.mark.slow
def test_mixed_precision_trains_with_clipping(tmp_path: Path) -> None:
    config = quick("trainer.precision=bf16-mixed", "optimizer.gradient_clip_norm=1", "trainer.max_epochs=1")
    assert start(config, tmp_path / "run")["status"] == "completed"


@pytest.mark.slow
@pytest.mark.parametrize("supervision", [pytest.param("last", marks=pytest.mark.nightly), "every"])
def test_two_processes_train_as_one(tmp_path: Path, supervision: str) -> None:
    # 863 windows in batches of 86: shares of 43, and a last batch of three that is divided unevenly. With every step,
    # the shares also differ in how many of their steps are validation targets.
    common = [*QUICK, "model.dropout=0", "data.batch_size=86", f"loss.supervision={supervision}"]
    for name in ("cpu", "ddp"):
        command = [sys.executable, "-m", "composer.cli", "train", f"trainer={name}", f"hydra.run.dir={name}", *common]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        subprocess.run(command, cwd=tmp_path, check=True, timeout=240, capture_output=True, env=environment)
    one, two = rows(tmp_path / "cpu"), rows(tmp_path / "ddp")
    for row, other in zip(one, two, strict=True):
        for key in ("loss/train", "loss/val", "accuracy/val", "step"):
            assert float(other[key]) == pytest.approx(float(row[key]), rel=1e-5, abs=1e-6), key
    summaries = [read_json(tmp_path / name / "summary.json") for name in ("cpu", "ddp")]
    assert summaries[1]["loss/test"] == pytest.approx(summaries[0]["loss/test"], rel=1e-5)


@pytest.fixture(scope="module")
def every_step(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "every"
    start(quick("loss.supervision=every"), folder)
    return folder


def test_every_step_learns_faster_with_comparable_metrics(finished: Path, every_step: Path) -> None:
    before, after = rows(finished), rows(every_step)
    assert list(before[0]) == list(after[0])
    assert float(after[-1]["loss/train"]) < float(before[-1]["loss/train"])
    assert float(after[-1]["loss/val"]) < float(before[-1]["loss/val"])
    summaries = [read_json(folder / "summary.json") for folder in (finished, every_step)]
    for key in ("windows_train", "windows_val", "windows_test", "leak_rate", "steps"):
        assert summaries[0][key] == summaries[1][key]


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        ("loss.supervision=every", "model.num_layers=2"),
        ("model.inputs=shuffle_note", "data.first_target=20"),
        ("loss.supervision=stream", "data.batch_size=8", "model.num_layers=2", "trainer.max_epochs=2"),
        ("loss.supervision=stream", "data.batch_size=8", "model=gru", "model.heads=chained", "trainer.max_epochs=2"),
        ("augmentation=all", "data.windows_per_epoch=500", "loss.supervision=every"),
        (
            "model=gru",
            "model.heads=chained",
            "model.weight_dropout=0.3",
            "loss.label_smoothing=0.1",
            "regularizer=none",
        ),
        ("model.variational_dropout=0.2", "model.embedding_size=4", "loss.supervision=every"),
        ("model=transformer", "model.heads=chained", "loss.supervision=every", "model.inputs=shuffle_note"),
        ("model.bar_position=true", "augmentation=all", "loss.supervision=every", "encoding=score"),
    ],
)
def test_every_kind_of_training_resumes_to_the_same_end(
    tmp_path: Path, interrupt_at: Callable[[int, int], None], overrides: tuple[str, ...]
) -> None:
    # A group chosen by name brings its own size.
    config = quick(*overrides, "model.hidden_size=8")
    start(config, tmp_path / "whole")
    interrupt_at(1, 5)
    with pytest.raises(RunInterrupted):
        start(config, tmp_path / "run")
    resume(str(tmp_path / "run"), [])
    assert_same_run(tmp_path / "whole", tmp_path / "run")


def test_every_step_trains_with_mixed_precision_and_clipping(tmp_path: Path) -> None:
    config = quick(
        "loss.supervision=every",
        "trainer.precision=bf16-mixed",
        "optimizer.gradient_clip_norm=1",
        "trainer.max_epochs=1",
    )
    assert start(config, tmp_path / "run")["status"] == "completed"


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides", ["model=transformer", "model=gru model.weight_dropout=0.2", "model.heads=chained"]
)
def test_other_networks_train_with_mixed_precision(tmp_path: Path, overrides: str) -> None:
    config = quick("loss.supervision=every", "trainer.precision=bf16-mixed", "trainer.max_epochs=1", *overrides.split())
    assert start(config, tmp_path / "run")["status"] == "completed"


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(path.stem for path in (CONF_DIR / "experiment").glob("*.yaml")))
def test_every_experiment_trains_and_composes(
    name: str, tmp_path: Path, midi_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for k, part in enumerate(["train", "train", "train", "validation", "test"]):
        pitches = np.random.default_rng(k).integers(40, 90, 60).tolist()
        metre = mido.MetaMessage("time_signature", numerator=4, denominator=4)
        notes = [mido.Message("note_on", note=pitch, time=240) for pitch in pitches]
        midi_file([[metre, *notes]], name=f"corpus/{k}.mid")
        with (tmp_path / "corpus" / "chorales.csv").open("a") as stream:
            stream.write(("midi_filename,split,tune\n" if k == 0 else "") + f"{k}.mid,{part},{k}\n")
    # The chorales themselves need music21, and a minute.
    monkeypatch.setattr(chorales, "folder", lambda cache: tmp_path / "corpus")
    path = [f"data.path={tmp_path / 'corpus'}"] if name == "performances" else []
    # A single epoch has no room for a warm-up.
    path += ["scheduler.warmup_epochs=0"] if name == "lstm" else []
    asked = ["trainer.max_epochs=1", f"data.cache={tmp_path / 'cache'}", *path]
    summary = start(quick(f"experiment={name}", *asked), tmp_path / "run")
    assert (summary["status"], summary["epochs"]) == ("completed", 1)
    # The article's two hold nothing out; the others do.
    assert (summary["windows_test"] > 0) == (not name.startswith("article"))
    assert [path.name for path in (tmp_path / "run" / "samples").iterdir()] == [f"{name}-seed0-000.mid"]


@pytest.mark.slow
def test_label_smoothing_is_trained_on_and_never_reported(finished: Path, tmp_path: Path) -> None:
    start(quick("loss.label_smoothing=0.5", "optimizer.lr=1e-12", "trainer.max_epochs=1"), tmp_path / "smooth")
    start(quick("optimizer.lr=1e-12", "trainer.max_epochs=1"), tmp_path / "hard")
    smooth, hard = rows(tmp_path / "smooth")[0], rows(tmp_path / "hard")[0]
    for key in ("loss/train", "loss/val"):
        # Untrained, both are the same network.
        assert float(smooth[key]) == pytest.approx(float(hard[key]), rel=1e-6)
    start(quick("loss.label_smoothing=0.5"), tmp_path / "run")
    assert float(rows(tmp_path / "run")[-1]["loss/train"]) > float(rows(finished)[-1]["loss/train"])


@pytest.mark.slow
def test_a_weight_of_zero_trains_the_same_bits_as_no_regularizer(tmp_path: Path) -> None:
    for name in ("none", "l1", "l2", "elastic_net", "proximal_l1"):
        weight = [] if name == "none" else ["regularizer.weight=0"]
        start(quick("trainer.max_epochs=1", f"regularizer={name}", *weight), tmp_path / name)
        for key, value in weights(tmp_path / "none").items():
            assert torch.equal(value, weights(tmp_path / name)[key]), (name, key)


@pytest.mark.slow
def test_proximal_l1_reaches_exact_zeros_unlike_the_loss_term(tmp_path: Path) -> None:
    for name in ("l1", "proximal_l1"):
        start(quick(f"regularizer={name}", "regularizer.weight=1", "trainer.max_epochs=2"), tmp_path / name)
    zeros = {name: float(rows(tmp_path / name)[-1]["zeros/linear.weight"]) for name in ("l1", "proximal_l1")}
    assert zeros["l1"] == 0
    assert zeros["proximal_l1"] > 0.01
    assert float(rows(tmp_path / "proximal_l1")[-1]["zeros/all"]) > 0.01


@pytest.mark.slow
def test_nonfinite_loss_stops_and_keeps_last_good_checkpoint(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(
        ComposerError, match=r"the loss is not finite in epoch \d, batch \d+: lower optimizer\.lr=1e\+30"
    ):
        start(quick("optimizer.lr=1e30"), run)
    summary = json.loads((run / "summary.json").read_text())
    assert summary["status"] == "failed"
    assert "baselines" not in summary
    assert "not finite" in summary["error"]
    assert all(value.isfinite().all() for value in weights(run).values())


@pytest.mark.slow
def test_early_stopping_ends_resumed_run_at_same_epoch(tmp_path: Path) -> None:
    # A rate of almost nothing lets loss/val move by rounding alone, so the patience runs out.
    config = quick("optimizer.lr=1e-12", "trainer.early_stopping_patience=2", "trainer.max_epochs=50")
    summary = start(config, tmp_path / "run")
    assert summary["epochs"] == summary["best"]["epoch"] + 2 < 50
    before = (tmp_path / "run" / "metrics.csv").read_bytes()
    resume(str(tmp_path / "run"), [])
    assert (tmp_path / "run" / "metrics.csv").read_bytes() == before


@pytest.mark.slow
def test_best_ckpt_holds_weights_of_lowest_validation_loss(tmp_path: Path) -> None:
    summary = start(quick("optimizer.lr=0.3", "trainer.max_epochs=4"), tmp_path / "run")
    losses = [float(row["loss/val"]) for row in rows(tmp_path / "run")]
    assert summary["best"]["epoch"] == 1 + losses.index(min(losses))
    assert summary["best"]["loss/val"] == min(losses)


@pytest.mark.slow
def test_the_cosine_schedule_is_half_way_down_in_the_middle(tmp_path: Path) -> None:
    start(quick("scheduler=cosine", "trainer.max_epochs=2"), tmp_path / "run")
    assert [float(row["lr"]) for row in rows(tmp_path / "run")] == pytest.approx([1e-3, 5e-4])


def test_a_checkpoint_follows_the_first_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interrupt_at: Callable[[int, int], None]
) -> None:
    saved: list[list[int]] = []
    save = ckpt.AtomicCheckpointIO.save_checkpoint

    def noted(io: Any, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        saved.append(checkpoint["callbacks"]["ProgressCallback"]["position"])
        save(io, checkpoint, path, storage_options)

    monkeypatch.setattr(ckpt.AtomicCheckpointIO, "save_checkpoint", noted)
    interrupt_at(2, 1)
    with pytest.raises(RunInterrupted):
        start(quick("checkpoint.every_minutes=60"), tmp_path / "run")
    # At the start, after the first epoch, and at the signal; none else, since no second has passed.
    assert saved[:2] == [[0, 0], [1, 0]]
    assert saved[-1] == [2, 1]


def test_held_out_pieces_are_named_with_their_windows(tmp_path: Path) -> None:
    piece = prelude_piece(TimeUnit.beats)
    for number, share in enumerate((1, 4, 4, 4, 4)):
        part = replace(piece, events=piece.events[number * 50 : number * 50 + len(piece.events) // share])
        write_midi(tmp_path / f"{number}.mid", part)
    config = quick("data=midi", f"data.path={tmp_path}", "data.split=by_piece", "data.group_similarity=null", "seed=7")
    lines = held_out_lines(prepare(config, tmp_path).data, config.data)
    named = [re.fullmatch(r"(held out)? *(val|test) (\d+)% of the windows: (\d\.mid)", line) for line in lines[:2]]
    assert all(named)
    music = prepare(config, tmp_path).data
    total = sum(map(len, (music.splits.train, music.splits.val, music.splits.test)))
    for found, held in zip(named, (music.splits.val, music.splits.test), strict=True):
        assert found is not None
        number = music.pieces.names.index(found[4])
        assert held.contains(music.pieces.offsets[[number]]).tolist() == [True]
        assert int(found[3]) == round(100 * len(held) / total)
