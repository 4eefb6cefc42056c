"""The module and the data module under a plain Lightning Trainer, as Lightning's documentation promises."""

import csv
import math
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.tuner.tuning import Tuner
from torch.optim.lr_scheduler import LinearLR, ReduceLROnPlateau
from torch.utils.data import DataLoader

import composer
from composer.config.compose import compose
from composer.config.plain import to_plain
from composer.data.datamodule import MusicDataModule
from composer.data.windows import Supervised
from composer.errors import ComposerError
from composer.runs.checkpoint import AtomicCheckpointIO
from composer.runs.layout import BEST, LAST
from composer.training.callbacks import run_callbacks
from composer.training.module import ComposerModule

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*does not have many workers.*",
    "ignore:.*isinstance.treespec, LeafSpec.*:FutureWarning",
    "ignore:.*your dataloader is not resumable.*",
    "ignore:.*logging interval.*",
    "ignore:.*callbacks used to create the checkpoint need to be provided.*",
)
SMALL = ("model.hidden_size=8", "data.batch_size=128")


def trainer(folder: Path, **arguments: Any) -> pl.Trainer:
    quiet = {"logger": False, "enable_checkpointing": False, "max_epochs": 1}
    return pl.Trainer(
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        **(quiet | arguments),
    )


def test_callbacks_and_loggers_see_the_metrics(tmp_path: Path) -> None:
    module, data = composer.build(SMALL)
    best = ModelCheckpoint(tmp_path / "best", monitor="loss/val", save_last=True)
    stop = EarlyStopping("loss/val", patience=1, min_delta=100)
    rate = LearningRateMonitor(logging_interval="epoch")
    logger = CSVLogger(tmp_path, name="csv", version="")
    fit = trainer(tmp_path, logger=logger, callbacks=[best, stop, rate], max_epochs=5, enable_checkpointing=True)
    fit.fit(module, datamodule=data)
    assert fit.current_epoch == 2  # no epoch improves by 100
    assert Path(best.best_model_path).exists()
    assert {"loss/train", "loss/val", "accuracy_joint/val", "penalty/train", "lr"} <= set(fit.callback_metrics)
    with (tmp_path / "csv" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["loss/val"]) for row in rows if row["loss/val"]][-1] == pytest.approx(
        float(fit.callback_metrics["loss/val"])
    )


def test_metrics_are_those_of_the_record(tmp_path: Path) -> None:
    module, data = composer.build(SMALL)
    fit = trainer(tmp_path)
    fit.fit(module, datamodule=data)
    logged = {key: float(value) for key, value in fit.callback_metrics.items()}
    assert logged == pytest.approx(module.epoch_metrics(), rel=1e-6)


def test_validate_test_and_predict(tmp_path: Path) -> None:
    module, data = composer.build(SMALL)
    plain = trainer(tmp_path)
    (val,) = plain.validate(module, datamodule=data, verbose=False)
    (test,) = plain.test(module, datamodule=data, verbose=False)
    assert set(val) == {key.replace("/test", "/val") for key in test}
    predicted = plain.predict(module, datamodule=data)
    assert predicted is not None
    shapes = [tuple(channel.shape[1] for channel in batch) for batch in predicted]
    assert set(shapes) == {data.music.vocabulary.sizes}
    assert sum(len(batch.note) for batch in predicted) == len(data.music.splits.test)
    # The test accuracy is that of the predictions.
    notes = torch.cat([batch.note.argmax(-1) for batch in predicted])
    targets = torch.cat([batch[:, -1, 0] for batch in data.test_dataloader()])
    assert test["accuracy_note/test"] == pytest.approx(float((notes == targets).double().mean()))


def test_a_file_alone_gives_the_module_back(tmp_path: Path) -> None:
    module, data = composer.build([*SMALL, "regularizer.parameters=[lstm.*]", "model.num_layers=2"])
    fit = trainer(tmp_path)
    fit.fit(module, datamodule=data)
    path = tmp_path / "a.ckpt"
    fit.save_checkpoint(path)
    assert torch.load(path, weights_only=True)["hyper_parameters"]["model"]["num_layers"] == 2
    loaded = ComposerModule.load_from_checkpoint(path)
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in module.state_dict().items())
    again = MusicDataModule.load_from_checkpoint(path)
    again.setup()
    assert torch.equal(next(iter(again.val_dataloader())), next(iter(data.val_dataloader())))
    # And it composes, as any checkpoint does.
    assert len(composer.load(path).generate(events=20).classes) >= 20


def test_a_wrong_hyperparameter_is_named() -> None:
    config = compose(*SMALL)
    groups = {"loss": config.loss, "regularizer": config.regularizer, "optimizer": config.optimizer}
    with pytest.raises(ComposerError, match=r"model\.hidden_size"):
        ComposerModule(model=to_plain(config.model) | {"hidden_size": 0}, sizes=(3, 3, 3), **groups)
    with pytest.raises(ComposerError, match="num_layers"):
        ComposerModule(model={"name": "lstm", "hidden_size": 8}, sizes=(3, 3, 3), **groups)


def test_our_callbacks_in_another_trainer(tmp_path: Path) -> None:
    def fit(folder: str, epochs: int, path: Path | None = None) -> None:
        module, data = composer.build(SMALL)
        assert module.composer_values is not None
        own = run_callbacks(tmp_path / folder, compose(*SMALL), module.composer_values, {})
        plugins = [AtomicCheckpointIO(module.composer_values)]
        one = trainer(tmp_path, callbacks=own.every, plugins=plugins, max_epochs=epochs, enable_checkpointing=True)
        one.fit(module, datamodule=data, ckpt_path=path, weights_only=True)

    last = tmp_path / "resumed" / "checkpoints" / "last.ckpt"
    fit("whole", 3)
    fit("resumed", 2)
    with pytest.raises(ComposerError, match="holds a training; resume it with ckpt_path="):
        fit("resumed", 2)
    fit("resumed", 3, last)
    tables = [(tmp_path / folder / "metrics.csv").read_bytes() for folder in ("whole", "resumed")]
    assert tables[0] == tables[1]


@pytest.mark.parametrize("supervision", ["last", "every", "stream"])
@pytest.mark.parametrize(
    "arguments",
    [
        {"overfit_batches": 2, "max_epochs": 2},
        {"fast_dev_run": True},
        {"limit_train_batches": 0.5, "limit_val_batches": 1},
        {"accumulate_grad_batches": 2},
        {"val_check_interval": 0.5},
        {"precision": "bf16-mixed"},
        {"gradient_clip_val": 0.5},
        {"detect_anomaly": True},
        {"profiler": "simple"},
    ],
    ids=lambda arguments: next(iter(arguments)),
)
@pytest.mark.slow
def test_features_of_the_trainer(tmp_path: Path, supervision: str, arguments: dict[str, Any]) -> None:
    module, data = composer.build([*SMALL, f"loss.supervision={supervision}", "data.window_size=10"])
    fit = trainer(tmp_path, **arguments)
    fit.fit(module, datamodule=data)
    assert math.isfinite(fit.callback_metrics["loss/train"])


def test_overfitting_repeats_the_same_batches(tmp_path: Path) -> None:
    module, data = composer.build([*SMALL, "optimizer.lr=0.01"])
    seen: list[list[torch.Tensor]] = []

    class Spy(pl.Callback):
        def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            seen.append([])

        def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: torch.Tensor, batch_idx: int) -> None:
            seen[-1].append(batch.clone())

    trainer(tmp_path, overfit_batches=2, max_epochs=3, callbacks=[Spy()]).fit(module, datamodule=data)
    assert [len(epoch) for epoch in seen] == [2, 2, 2]
    assert all(torch.equal(a, b) for epoch in seen[1:] for a, b in zip(epoch, seen[0], strict=True))


class Scheduled(ComposerModule):
    """A module with a schedule of the user's."""

    kind = "linear"

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)
        if self.kind == "plateau":
            plateau = ReduceLROnPlateau(optimizer, patience=0, factor=0.5, threshold=1e9, threshold_mode="abs")
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": plateau, "monitor": "loss/val"}}
        linear = LinearLR(optimizer, start_factor=0.5, total_iters=4)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": linear, "interval": self.kind}}


@pytest.mark.parametrize(
    ("kind", "rates"),
    [("epoch", [0.05, 0.0625, 0.075]), ("step", [0.1, 0.1, 0.1]), ("plateau", [0.1, 0.1, 0.05])],
)
def test_a_schedule_of_the_users_is_left_alone(tmp_path: Path, kind: str, rates: list[float]) -> None:
    module, data = composer.build(SMALL)
    own = Scheduled(**module.hparams)
    own.kind = kind
    found = []

    class Spy(pl.Callback):
        def on_train_batch_end(self, trainer: pl.Trainer, *_: Any, **__: Any) -> None:
            found.append(trainer.optimizers[0].param_groups[0]["lr"])

    fit = trainer(tmp_path, max_epochs=3, callbacks=[Spy()])
    fit.fit(own, datamodule=data)
    batches = int(fit.num_training_batches)
    # In the middle of each epoch.
    assert found[batches // 2 :: batches] == pytest.approx(rates)


def test_the_learning_rate_finder_sets_the_rate(tmp_path: Path) -> None:
    module, data = composer.build([*SMALL, "data.batch_size=32"])
    fit = trainer(tmp_path, enable_checkpointing=True)
    finder = Tuner(fit).lr_find(module, datamodule=data, num_training=20)
    assert finder is not None
    assert len(finder.results["lr"]) == 20
    assert module.lr == finder.suggestion()
    fit.fit(module, datamodule=data)
    assert fit.optimizers[0].param_groups[0]["lr"] == module.lr


@pytest.mark.parametrize("supervision", ["last", "stream"])
def test_a_plain_trainer_resumes_inside_an_epoch(tmp_path: Path, supervision: str) -> None:
    overrides = [*SMALL, "data.batch_size=32", f"loss.supervision={supervision}", "scheduler=cosine"]
    overrides += ["data.window_size=10", "trainer.max_epochs=2"]

    def fit(path: Path | None, **arguments: Any) -> tuple[ComposerModule, pl.Trainer]:
        module, data = composer.build(overrides)
        plain = trainer(tmp_path, max_epochs=2, **arguments)
        plain.fit(module, datamodule=data, ckpt_path=path, weights_only=True)
        return module, plain

    saving = ModelCheckpoint(tmp_path / "steps", every_n_train_steps=7, save_top_k=-1)
    whole, one = fit(None, callbacks=[saving], enable_checkpointing=True)
    paths = sorted((tmp_path / "steps").glob("*.ckpt"), key=lambda path: int(path.stem.split("=")[-1]))
    for path in (paths[0], paths[-1]):
        resumed, other = fit(path)
        assert all(torch.equal(value, resumed.state_dict()[name]) for name, value in whole.state_dict().items())
        assert torch.equal(one.callback_metrics["loss/train"], other.callback_metrics["loss/train"])


def test_windows_of_the_users_can_be_trained_on(tmp_path: Path) -> None:
    module, data = composer.build(SMALL)
    windows = torch.cat(list(data.val_dataloader()))
    fit = trainer(tmp_path)
    fit.fit(module, DataLoader(windows, batch_size=16, shuffle=True), DataLoader(windows, batch_size=16))
    assert math.isfinite(fit.callback_metrics["loss/val"])


def test_the_data_module_reads_its_own_data(tmp_path: Path) -> None:
    config = compose(*SMALL, "loss.supervision=every")
    data = MusicDataModule(None, config.data, supervision="every", encoding=config.encoding)
    data.prepare_data()
    data.setup("fit")
    assert isinstance(next(iter(data.train_dataloader())), Supervised)
    with pytest.raises(ComposerError, match="^encoding: "):
        MusicDataModule(None, config.data).setup()
    with pytest.raises(ComposerError, match="^config: "):
        MusicDataModule()


def test_best_checkpoint_of_a_run_loads_into_lightning(tmp_path: Path) -> None:
    from composer.commands.train import start

    config = compose(*SMALL, "trainer.max_epochs=1", "sampling.events=20", "logging.sample_media=false")
    start(config, tmp_path / "run")
    for name in (BEST, LAST):
        loaded = ComposerModule.load_from_checkpoint(tmp_path / "run" / "checkpoints" / name)
        assert loaded.hparams["model"]["hidden_size"] == 8
