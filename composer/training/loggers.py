"""Lightning's loggers, which a config chooses by name in addition to the run's own record.

They get the metrics of each epoch and what callbacks log. They cannot change a checkpoint, and go on where a run is
resumed: what they wrote between the checkpoint and the interruption may stand twice. The run's own record has nothing
twice.
"""

from __future__ import annotations

import os
import secrets
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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
        own = registry.owners()["logger", name].startswith("composer.")
        remedy = f"a package: pip install 'lstm-composer[{name}]'" if own else f"the package {error.name}"
        raise ComposerError(f"logger={name}: needs {remedy}") from error
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
    identity = _identity(files) or {"id": secrets.token_hex(8)}
    _keep_identity(files, identity)
    # The package prints where it writes; the run's own messages are ours.
    os.environ.setdefault("WANDB_SILENT", "true")
    logger = WandbLogger(
        name=_run_name(folder),
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
    identity = _identity(files)
    uri = config.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or Path("mlruns").absolute().as_uri()
    if uri.startswith("file:"):
        # MLflow 3 refuses a folder as its store without this variable.
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    logger = MLFlowLogger(
        experiment_name=config.experiment_name,
        run_name=_run_name(folder),
        tracking_uri=identity.get("tracking_uri", uri),
        tags=dict(config.tags),
        run_id=identity.get("id"),
    )
    if not identity and main_process():
        _keep_identity(files, {"id": logger.run_id, "tracking_uri": uri})
    return logger


def _identity(files: Path) -> dict[str, Any]:
    """Return what identifies a run to its logger; empty at its first start."""
    return read_json(files / _IDENTITY) if (files / _IDENTITY).exists() else {}


def _keep_identity(files: Path, identity: dict[str, Any]) -> None:
    """Keep what identifies a run to its logger, for the time when it is resumed."""
    if main_process():
        files.mkdir(parents=True, exist_ok=True)
        write_json(files / _IDENTITY, identity)


def _run_name(folder: Path) -> str:
    """Return the name of a run on the logger's pages: the last two folders."""
    path = folder.absolute()
    return f"{path.parent.name}/{path.name}"
