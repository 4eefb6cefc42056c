"""Lightning's Trainer for a run, and the settings of torch and Lightning around it."""

from __future__ import annotations

import dataclasses
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import Logger
from pytorch_lightning.profilers import AdvancedProfiler, Profiler, PyTorchProfiler, SimpleProfiler

from composer.config.training import TrainConfig
from composer.errors import ComposerError
from composer.runs.checkpoint import AtomicCheckpointIO


def set_up_torch(config: TrainConfig) -> None:
    """Set the number of threads, and what deterministic mode needs on a GPU."""
    if config.trainer.threads is not None:
        torch.set_num_threads(config.trainer.threads)
    if config.trainer.deterministic:
        # cuBLAS needs this before its first use; without it deterministic mode refuses to run on a GPU.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


# Keys of the group `trainer` that are ours; all others are arguments of Lightning's Trainer. `profiler` is made here.
_OURS = ("threads", "early_stopping_patience", "progress_bar", "profiler")
_PROFILERS = {"simple": SimpleProfiler, "advanced": AdvancedProfiler, "pytorch": PyTorchProfiler}


def make_trainer(
    config: TrainConfig,
    folder: Path,
    callbacks: Sequence[Callback],
    values: dict[str, Any],
    loggers: Sequence[Logger] = (),
) -> pl.Trainer:
    """Return the Trainer of a run.

    Args:
        config: of the run.
        folder: the run directory.
        callbacks: of the run, in their order.
        values: what every checkpoint holds besides the weights (`checkpoint.composer_values`).
        loggers: Lightning's, in addition to the run's own record.

    Raises:
        ComposerError: this machine does not have what `trainer` asks for.
    """
    arguments = {key: value for key, value in dataclasses.asdict(config.trainer).items() if key not in _OURS}
    try:
        return pl.Trainer(
            **arguments,
            gradient_clip_val=config.optimizer.gradient_clip_norm,
            default_root_dir=folder,
            profiler=_profiler(config, folder),
            callbacks=list(callbacks),
            plugins=[AtomicCheckpointIO(values)],
            logger=list(loggers) or False,
            # The bar and the batches' shares are ours (callbacks.py, data/windows.py).
            enable_progress_bar="rich_progress" in config.callbacks,
            enable_model_summary="model_summary" in config.callbacks,
            use_distributed_sampler=False,
        )
    except (MisconfigurationException, ValueError) as error:
        reason = str(error).split("\n")[0]
        raise ComposerError(f"trainer={config.trainer.accelerator}: cannot be used here ({reason})") from error


def _profiler(config: TrainConfig, folder: Path) -> Profiler | None:
    """Return the profiler, whose report goes into the run directory."""
    if config.trainer.profiler is None:
        return None
    profiler: Profiler = _PROFILERS[config.trainer.profiler](dirpath=folder, filename="profile")
    return profiler


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Hide Lightning's hints about choices that are made here on purpose."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning_fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # Batches are gathered at once: worker processes would only slow a small piece down.
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            # On a cluster's login node; hydra/launcher=slurm is the way to its nodes.
            warnings.filterwarnings("ignore", message=".*`srun` command is available.*")
            # The metrics of an epoch do not depend on it.
            warnings.filterwarnings("ignore", message=".*smaller than the logging interval.*")
            # The batch order is a function of the position, so a loader need not remember where it was.
            warnings.filterwarnings("ignore", message=".*your dataloader is not resumable.*")
            # Lightning 2.6 asks torch's pytree for a class by isinstance, which torch 2.13 deprecates.
            warnings.filterwarnings("ignore", message=".*isinstance\\(treespec, LeafSpec\\).*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
