"""Lightning's Trainer for a run, and the settings of torch and Lightning around it."""

from __future__ import annotations

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


def make_trainer(
    config: TrainConfig, folder: Path, callbacks: Sequence[Callback], values: dict[str, Any]
) -> pl.Trainer:
    """Return the Trainer of a run.

    Args:
        config: of the run.
        folder: the run directory.
        callbacks: of the run, in their order.
        values: what every checkpoint holds besides the weights (`checkpoint.composer_values`).

    Raises:
        ComposerError: this machine does not have what `trainer` asks for.
    """
    try:
        return pl.Trainer(
            accelerator=config.trainer.accelerator,
            devices=config.trainer.devices,
            strategy=config.trainer.strategy,
            precision=config.trainer.precision,  # type: ignore[arg-type]
            max_epochs=config.trainer.max_epochs,
            gradient_clip_val=config.optimizer.gradient_clip_norm,
            deterministic=config.trainer.deterministic,
            default_root_dir=folder,
            callbacks=list(callbacks),
            plugins=[AtomicCheckpointIO(values)],
            # The record, the bar and the batches' shares are ours (callbacks.py, data/windows.py).
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
        )
    except (MisconfigurationException, ValueError) as error:
        reason = str(error).split("\n")[0]
        raise ComposerError(f"trainer={config.trainer.accelerator}: cannot be used here ({reason})") from error


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
            # The batch order is a function of the position, so a loader need not remember where it was.
            warnings.filterwarnings("ignore", message=".*your dataloader is not resumable.*")
            # Lightning 2.6 asks torch's pytree for a class by isinstance, which torch 2.13 deprecates.
            warnings.filterwarnings("ignore", message=".*isinstance\\(treespec, LeafSpec\\).*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
