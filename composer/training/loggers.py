"""Loggers of Lightning beside the run's own record, by the name in the config.

They get the metrics of each epoch and what callbacks log. They cannot change a checkpoint, and go on where a run is
resumed: what they wrote between the checkpoint and the interruption may stand twice. The run's own record has nothing
twice.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger, WandbLogger

from composer import registry
from composer.config.loggers import (
    CSVLoggerConfig,
    LoggerConfig,
    MLflowLoggerConfig,
    TensorBoardLoggerConfig,
    WandbLoggerConfig,
)
from composer.errors import ComposerError
from composer.files import main_process, read_json, write_json
from composer.registry import implements

# Folder of a run directory with the files of loggers.
LOGGERS = "loggers"
# What a logger must know again when the run is resumed.
_IDENTITY = "run.json"


def make_loggers(
    configs: Mapping[str, LoggerConfig], folder: Path, hyperparameters: dict[str, Any], *, new: bool
) -> list[Logger]:
    """Return the loggers of a run, in the order of their names.

    Args:
        configs: the keys of each, by name.
        folder: the run directory.
        hyperparameters: plain values by dotted key.
        new: whether the run is new, so that the loggers get its hyperparameters.

    Raises:
        ComposerError: a logger's package is missing, or its server cannot be reached.
    """
    made = []
    for name in sorted(configs):
        with _one_line(name):
            logger: Logger = registry.part("logger", name)(configs[name], folder)
            if new:
                logger.log_hyperparams(dict(hyperparameters))
        made.append(logger)
    return made


@contextmanager
def _one_line(name: str) -> Iterator[None]:
    """Turn what a logger raises into one line: its servers and packages raise errors of their own kinds."""
    try:
        with warnings.catch_warnings():
            # A folder that a resumed run goes on in.
            warnings.filterwarnings("ignore", message=".*Experiment logs directory .* exists.*")
            yield
    except ModuleNotFoundError as error:
        raise ComposerError(f"logger={name}: needs a package: pip install 'lstm-composer[{name}]'") from error
    except ComposerError:
        raise
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ComposerError(f"logger={name}: could not be started ({reason}); logger=none trains without") from error


@implements("logger", "csv")
def _csv(config: CSVLoggerConfig, folder: Path) -> Logger:
    # Lightning empties the folder of a version that exists: each time the run is resumed is a version of its own.
    return CSVLogger(folder / LOGGERS, name="csv", flush_logs_every_n_steps=config.flush_every_n_steps)


@implements("logger", "tensorboard")
def _tensorboard(config: TensorBoardLoggerConfig, folder: Path) -> Logger:
    return TensorBoardLogger(
        folder / LOGGERS, name="tensorboard", version="", default_hp_metric=False, flush_secs=config.flush_secs
    )


@implements("logger", "wandb")
def _wandb(config: WandbLoggerConfig, folder: Path) -> Logger:
    files = folder / LOGGERS / "wandb"
    files.mkdir(parents=True, exist_ok=True)
    identity = _identity(files, lambda: {"id": _run_name(folder)[1]})
    # The package prints where it writes; the run's own messages are ours.
    os.environ.setdefault("WANDB_SILENT", "true")
    logger = WandbLogger(
        name=_run_name(folder)[0],
        save_dir=files,
        id=identity["id"],
        resume="allow",
        offline=config.offline,
        project=config.project,
        entity=config.entity,
        group=config.group,
        tags=list(config.tags),
        notes=config.notes,
    )
    _ = logger.experiment  # starts the run here, where a failure is one line
    return logger


@implements("logger", "mlflow")
def _mlflow(config: MLflowLoggerConfig, folder: Path) -> Logger:
    files = folder / LOGGERS / "mlflow"
    identity = read_json(files / _IDENTITY) if (files / _IDENTITY).exists() else {}
    uri = config.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or Path("mlruns").absolute().as_uri()
    if uri.startswith("file:"):
        # MLflow wants to be told that a folder, and no database, is meant.
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    logger = MLFlowLogger(
        experiment_name=config.experiment_name,
        run_name=_run_name(folder)[0],
        tracking_uri=identity.get("tracking_uri", uri),
        tags=dict(config.tags),
        run_id=identity.get("id"),
    )
    if not identity and main_process():
        _identity(files, lambda: {"id": logger.run_id, "tracking_uri": uri})
    return logger


def _identity(files: Path, new: Any) -> dict[str, Any]:
    """Return what identifies a run to its logger, kept in the run directory from the first start on."""
    path = files / _IDENTITY
    if not main_process():
        return {"id": None}
    if not path.exists():
        files.mkdir(parents=True, exist_ok=True)
        write_json(path, new())
    return read_json(path)


def _run_name(folder: Path) -> tuple[str, str]:
    """Return the name of a run for people, the last two folders, and one that no other run has."""
    path = folder.absolute()
    unique = hashlib.sha256(f"{path}{datetime.now().isoformat()}{os.getpid()}".encode()).hexdigest()[:16]
    return f"{path.parent.name}/{path.name}", unique
