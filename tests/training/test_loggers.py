"""Loggers and callbacks of Lightning in a run: what they write, and that they change nothing else."""

from __future__ import annotations

import csv
import inspect
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from composer import registry
from composer.commands.train import resume, start
from composer.config.compose import compose
from composer.config.trainer import ELSEWHERE, TrainerConfig
from composer.errors import ComposerError
from composer.files import read_json
from composer.runs import checkpoint as ckpt
from composer.training import named_callbacks
from composer.training.named_callbacks import make_callbacks

QUICK = (
    *("model.hidden_size=4", "data.batch_size=256", "trainer.max_epochs=2", "trainer.progress_bar=false"),
    *("sampling.events=10", "sampling_grid.pieces=0", "logging.sample_media=false", "logging.sample_every_epochs=null"),
    *("logging.histogram_every_epochs=null", "trainer.threads=1"),
)


def run(folder: Path, *overrides: str) -> dict[str, Any]:
    return start(compose(*QUICK, *overrides), folder)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as stream:
        return list(csv.DictReader(stream))


def weights(folder: Path, name: str = "last.ckpt") -> dict[str, torch.Tensor]:
    return ckpt.model_state(ckpt.load(folder / "checkpoints" / name))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plain") / "run"
    run(folder)
    return folder


@pytest.mark.slow
def test_loggers_write_and_change_no_figure(tmp_path: Path, plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "run"
    run(folder, "logger=[csv,tensorboard,mlflow]", "callbacks=[lr_monitor,device_stats,early_stopping]")
    assert (folder / "metrics.csv").read_bytes() == (plain / "metrics.csv").read_bytes()
    table = rows(folder / "loggers/csv/version_0/metrics.csv")
    assert {"loss/val", "accuracy/train", "lr-Adam", "loss/test"} <= set(table[0])
    assert list((folder / "loggers/tensorboard").glob("events*"))
    identity = read_json(folder / "loggers/mlflow/run.json")
    stored = tmp_path / "mlruns"
    assert (next(stored.glob(f"*/{identity['id']}")) / "metrics" / "loss" / "val").exists()

    resume(str(folder), ["trainer.max_epochs=3"])
    assert (folder / "loggers/csv/version_1/metrics.csv").exists(), "the table before the resumption stays"
    assert read_json(folder / "loggers/mlflow/run.json") == identity
    assert len(list(stored.glob("*/*/params"))) == 1, "the same run of MLflow"


@pytest.mark.slow
def test_weights_and_biases_offline(tmp_path: Path, plain: Path) -> None:
    folder = tmp_path / "run"
    run(folder, "logger=wandb", "logger.wandb.offline=true", "logger.wandb.tags=[a,b]")
    assert (folder / "metrics.csv").read_bytes() == (plain / "metrics.csv").read_bytes()
    assert list((folder / "loggers/wandb/wandb").glob("offline-run-*/*.wandb"))


@pytest.mark.parametrize("name", ["ema", "swa"])
def test_averaged_weights_are_validated_and_kept(tmp_path: Path, plain: Path, name: str) -> None:
    summary = run(tmp_path / "run", f"callbacks={name}", *(["callbacks.ema.decay=0.5"] if name == "ema" else []))
    same = torch.equal
    trained, untouched = weights(tmp_path / "run"), weights(plain)
    assert all(same(trained[key], untouched[key]) for key in trained), "the optimiser's weights are the same"
    best = weights(tmp_path / "run", "best.ckpt")
    averaged = not all(same(best[key], trained[key]) for key in trained)
    # The mean over the last fifth of two epochs is the last epoch alone.
    assert averaged is (name == "ema")
    assert (summary["loss/val"] != read_json(plain / "summary.json")["loss/val"]) is averaged
    assert summary["exact_resume"] is True


def test_lightnings_early_stopping_ends_a_run_for_good(tmp_path: Path) -> None:
    stop = ("callbacks=early_stopping", "callbacks.early_stopping.patience=1", "callbacks.early_stopping.min_delta=100")
    assert run(tmp_path / "run", *stop, "trainer.max_epochs=5")["epochs"] == 2
    assert resume(str(tmp_path / "run"), ["trainer.max_epochs=6"])["epochs"] == 2


def test_a_run_without_validation_ends_with_its_last_weights(tmp_path: Path) -> None:
    summary = run(tmp_path / "run", "trainer.limit_val_batches=0")
    assert "loss/val" not in summary
    assert summary["best"]["epoch"] == 2
    assert summary["no_result"] == ["trainer.limit_*_batches"]


def test_an_epoch_without_validation_keeps_its_columns(tmp_path: Path) -> None:
    run(tmp_path / "run", "trainer.check_val_every_n_epoch=2", "trainer.accumulate_grad_batches=2")
    table = rows(tmp_path / "run/metrics.csv")
    assert [row["loss/val"] == "nan" for row in table] == [True, False]
    assert [row["step"] for row in table] == ["2", "4"]


def test_steps_end_a_run(tmp_path: Path) -> None:
    summary = run(tmp_path / "run", "trainer.max_steps=5", "trainer.profiler=simple")
    assert (summary["steps"], summary["epochs"]) == (5, 2)
    assert "optimizer_step" in (tmp_path / "run/fit-profile.txt").read_text()


@pytest.mark.parametrize(("option", "epochs"), [("fast", 1), ("overfit", 2)])
def test_a_debug_run_is_marked_as_no_result(tmp_path: Path, option: str, epochs: int) -> None:
    summary = run(tmp_path / "run", f"debug={option}")
    assert summary["epochs"] == epochs
    assert summary["no_result"][0] == "debug"


def test_every_argument_of_the_trainer_is_a_key_or_explained() -> None:
    arguments = set(inspect.signature(pl.Trainer).parameters)
    keys = set(TrainerConfig.__dataclass_fields__)
    assert arguments - keys == set(ELSEWHERE)
    for name, instead in ELSEWHERE.items():
        with pytest.raises(ComposerError) as caught:
            compose(f"trainer.{name}=1")
        assert str(caught.value) == f"trainer.{name}=1: {instead}"


def test_defaults_of_the_trainer_are_lightnings() -> None:
    config = compose().trainer
    differing = {
        name
        for name, parameter in inspect.signature(pl.Trainer).parameters.items()
        if name in TrainerConfig.__dataclass_fields__ and getattr(config, name) != parameter.default
    }
    ours = {"accelerator", "devices", "precision", "max_epochs", "deterministic"}
    # None of Lightning stands for these values; sanity checks come before the first checkpoint of a run.
    same = {"gradient_clip_algorithm", "log_every_n_steps", "num_sanity_val_steps"}
    assert differing == ours | same


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("logger=csvv",), "logger=csvv: logger is one of csv, mlflow, none, tensorboard, wandb; did you mean csv?"),
        (("logger=[csv,wnadb]",), "logger=wnadb: logger is one of .*; did you mean wandb?"),
        (("logger.csv.flush_every_n_steps=3",), "logger.csv.flush_every_n_steps: is a key of logger=csv"),
        (("+logger=csv",), r"\+logger: has a value already; write logger=OPTION, several as logger="),
        (("callbacks=ema", "callbacks.ema.decay=1"), "callbacks.ema.decay=1.0: must be"),
        (("callbacks=early_stopping", "callbacks.early_stopping.monitor=loss/train"), "callbacks.early_stopping.mon"),
        (("callbacks=ema", "callbacks.ema.dekay=1"), "callbacks.ema.dekay=1: there is no key"),
        (("trainer.limit_val_batches=1.5",), "trainer.limit_val_batches=1.5: must be null, a whole number"),
        (("trainer.devices=none",), "trainer.devices=none: must be at least 1, auto"),
        (("optimizer.schedule=cosine",), "optimizer.schedule=cosine: is the group scheduler now: scheduler=cosine"),
    ],
)
def test_wrong_choices_are_refused_in_one_line(overrides: tuple[str, ...], message: str) -> None:
    with pytest.raises(ComposerError, match=f"^{message}") as caught:
        compose(*overrides)
    assert len(str(caught.value).splitlines()) == 1


def test_callbacks_without_what_they_need_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ComposerError, match="^callbacks=lr_monitor: writes to loggers, and there is none"):
        make_callbacks(compose("callbacks=lr_monitor").callbacks, logged=False)
    with pytest.raises(ComposerError, match="both average the weights"):
        make_callbacks(compose("callbacks=[ema,swa]").callbacks)

    def missing(config: object) -> None:
        raise ModuleNotFoundError("rich")

    monkeypatch.setitem(registry._PARTS["callbacks"], "rich_progress", missing)
    with pytest.raises(ComposerError, match=r"pip install 'lstm-composer\[rich\]'"):
        make_callbacks(compose("callbacks=rich_progress").callbacks)
    assert named_callbacks.NEED_LOGGER == ("lr_monitor", "device_stats")
