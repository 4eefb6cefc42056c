"""Runs in Python: training, finding, reading, composing, scoring, resuming."""

import inspect
import logging
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas
import pytest

import composer
from composer.commands import evaluate
from composer.composing.composer import Composer
from composer.config.compose import compose
from composer.errors import ComposerError, RunInterrupted, UsageError
from composer.files import read_json, write_json
from composer.runs.layout import FOLDER_VARIABLE


def copy_of(run: composer.Run, folder: Path) -> Path:
    shutil.copytree(run.folder, folder)
    return folder


def test_a_trained_run_has_its_files_as_data(trained: composer.Run, quick: list[str]) -> None:
    assert trained.config == compose(*quick)
    assert trained.manifest["seed"] == 0
    assert trained.summary is not None
    assert (trained.status, trained.summary["epochs"]) == ("completed", 2)
    (piece,) = trained.samples
    assert len(piece.notes()) > 0


def test_metrics_are_a_frame_by_epoch(trained: composer.Run) -> None:
    metrics = trained.metrics
    assert isinstance(metrics, pandas.DataFrame)
    assert (metrics.index.name, metrics.index.tolist()) == ("epoch", [1, 2])
    assert trained.summary is not None
    assert metrics["loss/val"].iloc[-1] == pytest.approx(trained.summary["loss/val"])


def test_metrics_are_arrays_without_pandas(trained: composer.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = trained.metrics
    monkeypatch.setitem(sys.modules, "pandas", None)
    metrics = trained.metrics
    assert metrics["epoch"].tolist() == [1, 2]
    assert np.array_equal(metrics["loss/val"], expected["loss/val"])


def test_a_run_shows_its_state_in_a_line_and_a_table(trained: composer.Run) -> None:
    assert repr(trained).startswith(f"<Run {trained.folder}, completed, epochs 2, loss/val ")
    assert "<td>accuracy/val</td>" in trained._repr_html_()


def test_a_run_and_its_checkpoint_file_compose_alike(trained: composer.Run) -> None:
    file = composer.load(trained.folder / "checkpoints" / "best.ckpt")
    assert isinstance(file, Composer)
    piece = trained.generate(events=20, seed=3)
    assert np.array_equal(piece.classes, file.generate(events=20, seed=3).classes)
    assert trained.vocabulary.sizes == file.vocabulary.sizes
    assert trained.setting == file.setting
    assert trained.composer is trained.composer
    assert not trained.model.training


def test_last_is_another_checkpoint_than_best(trained: composer.Run) -> None:
    last = composer.load(trained.folder, "last")
    assert isinstance(last, composer.Run)
    assert last.checkpoint == "last"
    assert len(last.generate(events=5, include_primer=True).piece.events) == 35


def test_generate_has_the_signature_and_help_of_composer() -> None:
    own, other = inspect.signature(composer.Run.generate), inspect.signature(Composer.generate)
    assert str(own) == str(other)
    assert "temperature" in own.parameters
    assert inspect.getdoc(composer.Run.generate).startswith("Compose one piece.")  # type: ignore[union-attr]


@pytest.mark.parametrize(("checkpoint", "message"), [("best", "is not a run directory"), ("first", "best or last")])
def test_no_run_and_no_checkpoint_are_refused(checkpoint: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ComposerError, match=message):
        composer.load(tmp_path, checkpoint)
    with pytest.raises(ComposerError, match="no such run directory or checkpoint file"):
        composer.load(tmp_path / "absent")


def test_evaluate_returns_what_the_command_writes(
    trained: composer.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = trained.evaluate(samples=0, windows=0)
    assert capsys.readouterr().out == ""
    given = ["samples=0", "context.windows=0", "figures=false", f"output={tmp_path}"]
    written = read_json(evaluate.run(compose(f"run={trained.folder}", *given, command="evaluate")))
    assert set(results) == {*written, "by_piece"}
    assert results["loss/val"] == written["loss/val"]
    assert results["skill"] == written["skill"]


def test_evaluate_scores_other_files_and_names_wrong_keys(trained: composer.Run) -> None:
    other = trained.samples[0].save(trained.folder.parent.parent / "other.mid")
    results = trained.evaluate(path=other, samples=0, windows=0)
    assert results["data_path"] == str(other)
    assert results["windows_data"] > 0
    with pytest.raises(ComposerError, match="^sample: no argument of evaluate; did you mean samples?"):
        trained.evaluate(sample=1)


def test_a_new_run_lies_below_outputs(quick: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = composer.train([*quick, "name=mine", "trainer.max_epochs=1"])
    assert run.folder.parent == tmp_path / "outputs" / "mine"
    assert [found.folder for found in composer.runs()] == [run.folder]
    assert repr(run).startswith(f"<Run outputs/mine/{run.folder.name}, completed, epochs 1")
    assert FOLDER_VARIABLE not in os.environ


class Heard(logging.Handler):
    """Keeps the messages of the logger `composer`, which go nowhere else, and may answer each."""

    def __init__(self, answer: Callable[[str], None] = lambda said: None) -> None:
        super().__init__(logging.INFO)
        self.said: list[str] = []
        self.answer = answer

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())
        self.answer(self.said[-1])

    @contextmanager
    def listening(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        logger = logging.getLogger("composer")
        with monkeypatch.context() as patched:
            patched.setattr(logger, "propagate", False)
            patched.setattr(logger, "handlers", [self])
            patched.setattr(logger, "level", logging.INFO)
            logger.manager._clear_cache()  # type: ignore[attr-defined]
            yield
        logger.manager._clear_cache()  # type: ignore[attr-defined]


def test_a_program_gets_messages_through_its_logger(
    quick: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    heard = Heard()
    with heard.listening(monkeypatch):
        composer.train([*quick, "trainer.max_epochs=1"], folder=tmp_path / "run")
    assert any(line.startswith("epoch 1/1  loss train") for line in heard.said)
    assert any(line.startswith("run        ") for line in heard.said)
    output = capsys.readouterr()
    assert (output.out, output.err) == ("", "")


def test_resume_trains_more_epochs_in_the_same_folder(trained: composer.Run, tmp_path: Path) -> None:
    run = composer.load(copy_of(trained, tmp_path / "run"))
    assert isinstance(run, composer.Run)
    longer = run.resume(max_epochs=3)
    assert longer.folder == run.folder
    assert longer.metrics.index.tolist() == [1, 2, 3]
    assert composer.train([f"resume={run.folder}", "trainer.max_epochs=4"]).metrics.index.tolist() == [1, 2, 3, 4]
    with pytest.raises(ComposerError, match=r"^model\.hidden_size: cannot change when a run is resumed"):
        run.resume(hidden_size=32)
    with pytest.raises(UsageError, match="is resumed in its own folder"):
        composer.train([f"resume={run.folder}"], folder=tmp_path / "other")


def interrupt(said: str) -> None:
    """Press Ctrl+C after the first epoch."""
    if said.startswith("epoch 1/2"):
        signal.raise_signal(signal.SIGINT)


def test_ctrl_c_saves_and_the_run_resumes_to_the_same_end(
    trained: composer.Run, quick: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        Heard(interrupt).listening(monkeypatch),
        pytest.raises(RunInterrupted, match="^SIGINT: stopped, and saved; continue with"),
    ):
        composer.train(quick, folder=tmp_path / "run")
    run = composer.load(tmp_path / "run")
    assert isinstance(run, composer.Run)
    assert run.status == "interrupted"
    resumed = run.resume()
    assert resumed.status == "completed"
    assert resumed.metrics.equals(trained.metrics)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed=0,1", "seed=0,1: is a sweep; composer.sweep runs one"),
        ("ablation=l1", "ablation=l1: is a sweep"),
        ("hydra.run.dir=x", "hydra.run.dir=x: not used by composer.train; folder=... names the run directory"),
        ("modle=gru", "modle=gru: there is no key modle; did you mean model"),
        ("data.part=nonsense", "data.part=nonsense: must be first, all"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(
    override: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = ["data=midi", f"data.path={tmp_path}", override] if override.startswith("data.part") else [override]
    composer.Piece.from_notes([(0, 1, 60, 64)]).save(tmp_path / "note.mid")
    with pytest.raises(ComposerError, match=f"^.*{message}") as caught:
        composer.train(given)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["note.mid"]


def test_training_outside_the_main_thread_is_refused() -> None:
    errors: list[Exception] = []

    def train() -> None:
        try:
            composer.train()
        except ComposerError as error:
            errors.append(error)

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    assert [str(error).split(":")[0] for error in errors] == ["composer.train"]


def test_runs_come_in_the_order_of_their_start(trained: composer.Run, tmp_path: Path) -> None:
    for name, hour in (("a", 12), ("b", 11), ("c", 13)):
        folder = copy_of(trained, tmp_path / "outputs" / "train" / name)
        manifest = read_json(folder / "manifest.json")
        write_json(folder / "manifest.json", {**manifest, "started": f"2026-11-22T{hour}:00:00+00:00"})
    assert [run.folder.name for run in composer.runs(tmp_path / "outputs")] == ["b", "a", "c"]


@pytest.mark.parametrize("name", ["config.yaml", "summary.json", "manifest.json"])
def test_a_damaged_run_is_left_out_with_a_warning(name: str, trained: composer.Run, tmp_path: Path) -> None:
    copy_of(trained, tmp_path / "whole")
    (copy_of(trained, tmp_path / "damaged") / name).write_text("{")
    with pytest.warns(UserWarning, match=f"left out: .*{name}: damaged"):
        found = composer.runs(tmp_path)
    assert [run.folder.name for run in found] == ["whole"]


def test_runs_of_no_folder_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(ComposerError, match="absent: no such folder"):
        composer.runs(tmp_path / "absent")
    assert composer.runs(tmp_path) == []


def test_a_run_without_a_summary_is_unfinished(trained: composer.Run, tmp_path: Path) -> None:
    folder = copy_of(trained, tmp_path / "run")
    (folder / "summary.json").unlink()
    (run,) = composer.runs(folder)
    assert (run.status, run.summary) == ("unfinished", None)
    (folder / "summary.json").write_text("{")
    assert composer.Run(folder).status == "damaged"
    assert repr(composer.Run(folder)).endswith("damaged>")
