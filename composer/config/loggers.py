"""Group `logger`: Lightning's loggers by name, several at once, each with its own keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from composer.config.limits import COUNT, Group
from composer.registry import keys_of


@dataclass(kw_only=True, slots=True)
class LoggerConfig(Group):
    """A Lightning logger, in addition to the run's own record."""


@keys_of("logger", "csv")
@dataclass(kw_only=True, slots=True)
class CSVLoggerConfig(LoggerConfig):
    """`csv`: a table of the run, and one more each time it is resumed."""

    prefix: ClassVar[str] = "logger.csv."

    flush_every_n_steps: Annotated[int, COUNT]
    """Steps between two writes to disk."""


@keys_of("logger", "tensorboard")
@dataclass(kw_only=True, slots=True)
class TensorBoardLoggerConfig(LoggerConfig):
    """`tensorboard`: what callbacks log, which the run's own event files do not hold."""

    prefix: ClassVar[str] = "logger.tensorboard."

    flush_secs: Annotated[int, COUNT]
    """Longest time in seconds before points are written to disk."""


@keys_of("logger", "wandb")
@dataclass(kw_only=True, slots=True)
class WandbLoggerConfig(LoggerConfig):
    """`wandb`: Weights & Biases (extra wandb)."""

    prefix: ClassVar[str] = "logger.wandb."

    project: str
    """The project that the run is filed under."""
    entity: str | None
    """The user or team; null is the default of `wandb login`."""
    group: str | None
    """Name that groups several runs; null groups none."""
    tags: list[str]
    """Tags of the run."""
    notes: str | None
    """A longer description of the run."""
    offline: bool
    """Write into the run directory only; `wandb sync` uploads later."""


@keys_of("logger", "mlflow")
@dataclass(kw_only=True, slots=True)
class MLflowLoggerConfig(LoggerConfig):
    """`mlflow`: MLflow (extra mlflow)."""

    prefix: ClassVar[str] = "logger.mlflow."

    tracking_uri: str | None
    """Null is `MLFLOW_TRACKING_URI` where it is set, else the folder `mlruns` of the working directory."""
    experiment_name: str
    """The experiment that the run is filed under."""
    tags: dict[str, str]
    """Tags of the run, by name."""
