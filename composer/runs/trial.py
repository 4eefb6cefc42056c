"""What TensorBoard's *HParams* shows of a run: its name as a trial, and the keys in which it differs."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from composer.config import compose as configs
from composer.config import run_file
from composer.config.training import TrainConfig
from composer.errors import ComposerError
from composer.files import read_json
from composer.runs.layout import JOB

# TensorBoard's column of trials shows this many characters, and cuts longer names.
MAX_NAME = 16
# Keys that no trained weight depends on.
IGNORED = (
    *("name", "resume", "checkpoint", "logging", "sampling", "sampling_grid", "trainer.progress_bar", "logger"),
    *("data.store", "data.cache", "data.readers", "plugins"),
)
# The id that ends the name of a run's folder, or of a sweep's.
_RUN_ID, _SWEEP_ID = re.compile(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d_([0-9a-f]{6})"), re.compile(r"sweep-([0-9a-f]{8})")


@dataclass(frozen=True, slots=True)
class Trial:
    """A row of *HParams*.

    Attributes:
        name: of at most `MAX_NAME` characters; empty where the name of TensorBoard's run is short enough.
        values: by key.
    """

    name: str
    values: dict[str, Any]


def hyperparameters(config: TrainConfig) -> dict[str, Any]:
    """Return the values by dotted key of all keys that influence the trained weights."""
    flat = run_file.flatten(dataclasses.asdict(config))
    return {key: value for key, value in flat.items() if not any(f"{key}.".startswith(f"{s}.") for s in IGNORED)}


def trial(folder: Path, config: TrainConfig) -> Trial:
    """Return how *HParams* shows a run.

    Of a sweep's job it shows what was swept, as typed; of a single run what differs from the defaults of
    `composer train`, and the seed.
    """
    swept = _swept(folder)
    if swept is not None:
        number, values = swept
        return Trial(_name_of_job(folder, number, values), {key: _typed(key, value) for key, value in values.items()})
    defaults = _defaults()
    differing = {key: value for key, value in hyperparameters(config).items() if value != defaults.get(key)}
    # Named as on the command line: `model=gru`.
    values = {key.removesuffix(".name"): value for key, value in differing.items() if key != "seed"}
    return Trial(_name_of_run(folder, config.name), {**values, "seed": str(config.seed)})


@cache
def _defaults() -> dict[str, Any]:
    return hyperparameters(configs.typed(configs.compose_node([], "train"), TrainConfig))


def _swept(folder: Path) -> tuple[int, dict[str, str]] | None:
    """Return number and swept values of a sweep's job; None of a single run."""
    if not (folder / JOB).exists():
        return None
    try:
        job = read_json(folder / JOB)
    except ComposerError:
        return None  # reported where the sweep reads it
    number, swept = job.get("number"), job.get("swept")
    return (number, swept) if isinstance(number, int) and isinstance(swept, dict) and swept else None


def _typed(key: str, value: str) -> Any:
    """Return a number of a swept value, for TensorBoard's axes; a seed is no quantity."""
    if key == "seed":
        return value
    try:
        return float(value)
    except ValueError:
        return value


def _name_of_job(folder: Path, number: int, swept: dict[str, str]) -> str:
    """Return the swept values and the first digits of the sweep's id.

    TensorBoard takes trials of one name for one, so that two sweeps in one folder need different ones.
    """
    sweep = folder.absolute().parent
    found = _SWEEP_ID.fullmatch(sweep.name)
    digest = found[1] if found else hashlib.sha256(str(sweep).encode("utf-8", "surrogateescape")).hexdigest()
    values = [f"s{value}" if key == "seed" else value for key, value in swept.items()]
    name = f"{' '.join(values)} {digest[:4]}"
    return name if len(name) <= MAX_NAME else f"job {number + 1} {digest[:4]}"


def _name_of_run(folder: Path, name: str) -> str:
    found = _RUN_ID.fullmatch(folder.name)
    if found is None:
        return ""
    return f"{name} {found[1]}" if len(f"{name} {found[1]}") <= MAX_NAME else found[1]
