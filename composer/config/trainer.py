"""Group `trainer`: the arguments of Lightning's `Trainer`, under their names and with their defaults but for a few."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from composer.config.limits import COUNT, Amount, Group, Matching, OneOf, Values, at_least

_TIME = Matching("DAYS:HOURS:MINUTES:SECONDS, such as 00:08:00:00", re.compile(r"\d+:\d+:\d+:\d+"))
_BATCHES = Amount("null, a whole number of batches, or a share from 0.0 to 1.0")
_TRAINED = Amount("null, a whole number of batches above 0, or a share up to 1.0", least=1)
_PROFILER = OneOf(("simple", "advanced", "pytorch"))

_DEVICES = Values("at least 1, auto, or numbers of devices such as '0,2'")
_DETERMINISTIC = Values("true, false or warn")
_TRIED = Values("true, false, or a number of batches")

# Arguments of `pl.Trainer` that are no keys of the group, and what is there instead.
ELSEWHERE = {
    "logger": "loggers are chosen with logger=csv, tensorboard, wandb or mlflow, several with logger=[csv,wandb]",
    "callbacks": "callbacks are chosen with callbacks=NAME, several with callbacks=[early_stopping,lr_monitor]",
    "default_root_dir": "everything of a run is in its run directory; name=NAME or hydra.run.dir=FOLDER chooses it",
    "enable_progress_bar": "trainer.progress_bar=false hides the bar; callbacks=rich_progress shows Lightning's",
    "enable_model_summary": "callbacks=model_summary shows it",
    "enable_checkpointing": "a run always writes checkpoints; checkpoint.every_minutes says how often",
    "plugins": "it takes objects; from Python, pass them to a Trainer of your own (docs/lightning.md)",
    "barebones": "a run keeps its record; from Python, pass it to a Trainer of your own (docs/lightning.md)",
    "use_distributed_sampler": "the batches are shared among processes by their position in the training",
    "model_registry": "checkpoints are in the run directory",
    "enable_autolog_hparams": "loggers get all keys that influence the weights",
    "gradient_clip_val": "optimizer.gradient_clip_norm=1 clips the norm of the gradient",
}


@dataclass(kw_only=True, slots=True)
class TrainerConfig(Group):
    """Group `trainer`: how long and on what machine."""

    prefix: ClassVar[str] = "trainer."

    max_epochs: Annotated[int, COUNT]
    """Epochs of the training; the article's 200."""
    accelerator: str
    """Kind of device: `cpu`, `gpu`, `auto` and others that Lightning knows; `trainer=gpu` sets it."""
    devices: Annotated[Any, _DEVICES]
    """A number of devices, `auto`, or a text of their numbers, such as `'0,2'`."""
    strategy: str
    """How several processes train together: `auto`, `ddp` and others that Lightning knows; `trainer=ddp` sets it."""
    precision: str
    """Precision of the computation, such as `32`, `16-mixed`, `bf16-mixed` and others that Lightning knows."""
    deterministic: Annotated[Any, _DETERMINISTIC]
    """Use deterministic algorithms, as exact resume needs; `warn` where there are such."""
    threads: Annotated[int | None, COUNT]
    """Threads of torch on the CPU; null leaves torch's choice (one per core)."""
    early_stopping_patience: Annotated[int | None, COUNT]
    """Stop after this many epochs without a lower `loss/val`; null trains `max_epochs`."""
    progress_bar: bool
    """Show a bar on a terminal, and some lines elsewhere."""
    num_nodes: Annotated[int, COUNT]
    """Machines, each with `devices`."""
    min_epochs: Annotated[int | None, COUNT]
    """Epochs before early stopping may end the training; null is none."""
    max_steps: Annotated[int, at_least(-1)]
    """Steps of the optimiser after which the run ends, with the epoch it is in; -1 leaves `max_epochs` alone."""
    min_steps: Annotated[int | None, COUNT]
    """Steps of the optimiser before early stopping may end the training; null is none."""
    max_time: Annotated[str | None, _TIME]
    """Time after which the run ends, as `DAYS:HOURS:MINUTES:SECONDS`."""
    accumulate_grad_batches: Annotated[int, COUNT]
    """Batches whose gradients are averaged for one step of the optimiser."""
    gradient_clip_algorithm: Annotated[str, OneOf(("norm", "value"))]
    """`norm`: `optimizer.gradient_clip_norm` limits the norm of the gradient; `value`: each of its elements."""
    limit_train_batches: Annotated[Any, _TRAINED]
    """Batches of an epoch: a number, or a share of them where it is written with a point."""
    limit_val_batches: Annotated[Any, _BATCHES]
    """Batches of a validation: a number, or a share where it is written with a point; null is all."""
    limit_test_batches: Annotated[Any, _BATCHES]
    """Batches of the test: a number, or a share where it is written with a point; null is all."""
    limit_predict_batches: Annotated[Any, _BATCHES]
    """Batches of Lightning's `predict`: a number, or a share where it is written with a point; null is all."""
    overfit_batches: Annotated[Any, Amount("a whole number of batches, or a share from 0.0 to 1.0", null=False)]
    """Train and validate on this many batches, or this share of them; 0 uses all."""
    fast_dev_run: Annotated[Any, _TRIED]
    """Train and validate one batch, or this many, to see that everything runs; the run is marked as no result."""
    val_check_interval: Annotated[Any, _TRAINED]
    """Validate after this many batches, or this share of an epoch; null validates at the end of an epoch."""
    check_val_every_n_epoch: Annotated[int, COUNT]
    """Epochs between two validations."""
    num_sanity_val_steps: Annotated[int, at_least(-1)]
    """Batches that are validated before the training; -1 is all."""
    log_every_n_steps: Annotated[int, COUNT]
    """Steps between what Lightning's callbacks, such as the learning rate monitor, write to the loggers."""
    profiler: Annotated[str | None, _PROFILER]
    """Measures the steps of the training, into the run directory."""
    detect_anomaly: bool
    """Stop at the operation whose gradient is NaN; slow."""
    benchmark: bool | None
    """Let cuDNN choose its algorithms by measuring them; null is false."""
    inference_mode: bool
    """Validate in torch's inference mode, else without gradients only."""
    sync_batchnorm: bool
    """Share the statistics of batch normalisation among processes; only for networks of your own that have it."""
    reload_dataloaders_every_n_epochs: Annotated[int, at_least(0)]
    """Epochs between two rebuilds of the data loaders; 0 builds them once."""

    def check(self) -> None:
        """Check values of more than one type, and keys that exclude each other; raises a `ComposerError`."""
        devices = self.devices
        several = isinstance(devices, str) and bool(re.fullmatch(r"auto|-1|\d+(,\d+)*,?", devices))
        number = isinstance(devices, int) and not isinstance(devices, bool) and (devices >= 1 or devices == -1)
        self.require(number or several, "devices", _DEVICES.words)
        known = isinstance(self.deterministic, bool) or self.deterministic == "warn"
        self.require(known, "deterministic", _DETERMINISTIC.words)
        tried = isinstance(self.fast_dev_run, int) and self.fast_dev_run >= 0
        self.require(tried, "fast_dev_run", _TRIED.words)
