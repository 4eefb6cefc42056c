"""Configs of the jobs of a sweep: the user's folders, the frozen copies, and values checked before the first job."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Glob
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from composer.config.commands import SCHEMAS
from composer.config.compose import plugin_package, readable, typed
from composer.config.keys import parse_overrides
from composer.config.paths import CONF_DIR
from composer.errors import ComposerError
from composer.files import user_path
from composer.plugins import CONF


def compose_from(conf: Path, search: Sequence[Path], extensions: Path | None = None) -> None:
    """Make Hydra read the configs of jobs from a frozen copy, in this process and in those of a launcher.

    Args:
        conf: the frozen configs of this package.
        search: the frozen copies of the user's config folders.
        extensions: the folder of the frozen packages of plugins.
    """
    loader = GlobalHydra.instance().config_loader()
    copies = iter(search)
    for config_source in loader.get_sources():
        if config_source.provider == "main":
            config_source.path = str(conf.absolute())
        elif _of_user(config_source.provider):
            config_source.path = str(next(copies).absolute())
        elif (package := plugin_package(config_source.provider)) and extensions is not None:
            config_source.path = str((extensions / package / CONF).absolute())
    # From this Hydra makes its sources again where `hydra.searchpath` adds a folder.
    copies = iter(search)
    for element in loader.get_search_path().get_path():
        if element.provider == "main":
            element.path = f"file://{conf.absolute()}"
        elif _of_user(element.provider):
            element.path = f"file://{next(copies).absolute()}"
        elif (package := plugin_package(element.provider)) and extensions is not None:
            element.path = f"file://{(extensions / package / CONF).absolute()}"


@contextmanager
def unchecked_keys() -> Iterator[None]:
    """Compose jobs of frozen configs of another version, which may have other keys: the frozen code checks them."""
    store = ConfigStore.instance()
    schema = store.repo["train_schema.yaml"]
    store.store(name="train_schema", node={})
    try:
        yield
    finally:
        store.repo["train_schema.yaml"] = schema


def _of_user(provider: str) -> bool:
    """Return whether an entry of Hydra's search path is of `--config-dir` or `hydra.searchpath`."""
    return provider == "command-line" or provider.startswith("hydra.searchpath")


def user_folders(config: DictConfig) -> list[Path]:
    """Return the folders of the user's configs in the order of Hydra's search path.

    Raises:
        ComposerError: one is no folder, so that it cannot be frozen with the sweep.
    """
    folders = []
    for entry in config.hydra.runtime.config_sources:
        if entry.provider == "main" and Path(entry.path) != CONF_DIR:
            raise ComposerError(f"--config-path={entry.path}: a sweep takes own configs by --config-dir=FOLDER")
        if _of_user(entry.provider):
            if entry.schema != "file":
                raise ComposerError(
                    f"hydra.searchpath={entry.schema}://{entry.path}: a sweep copies folders of configs; "
                    "give the folder: file:///FOLDER"
                )
            folders.append(Path(entry.path))
    return folders


# Of Hydra's own keys, those that decide how a sweep runs and not what a job does.
_OF_SWEEP = re.compile(r"[+~]*hydra[./](sweep|sweeper|launcher|run|mode|searchpath)\b")


def arguments_for_jobs(config: DictConfig) -> list[str]:
    """Return the arguments about Hydra itself that jobs get too: the primary config, callbacks, logging."""
    name = config.hydra.job.config_name
    named = [] if name == "train" else [f"--config-name={name}"]
    return [*named, *(text for text in texts(config.hydra.overrides.hydra) if not _OF_SWEEP.match(text))]


def texts(overrides: Any) -> list[str]:
    """Return overrides as they were typed, interpolations such as `${hydra:job.num}` too."""
    found = OmegaConf.to_container(overrides, resolve=False)
    assert isinstance(found, list)
    return [str(text) for text in found]


def check_values(config: DictConfig) -> int | None:
    """Compose a job for each swept value, the other keys at their first, before the first job starts.

    Returns:
        The number of jobs; None where the sweeper does not say it.

    Raises:
        ComposerError: an option or value that no job could use.
    """
    if config.hydra.runtime.choices["hydra/sweeper"] != "basic":
        trials = config.hydra.sweeper.get("n_trials")
        return trials if isinstance(trials, int) else None  # the values are drawn
    from composer.music.midi import find_files  # slow to import, and only a sweep needs it

    task = texts(config.hydra.overrides.task)
    parameters = [f"{key}={value}" for key, value in (config.hydra.sweeper.get("params") or {}).items()]
    loader = GlobalHydra.instance().config_loader()
    values = {}
    for override in parse_overrides([*parameters, *task]):
        key = override.get_key_element()
        if override.is_sweep_override():
            swept = override.value()
            options = swept.filter(loader.get_group_options(key)) if isinstance(swept, Glob) else None
            values[key] = [f"{key}={value}" for value in options or override.sweep_string_iterator()]
        else:
            values[key] = [str(override.input_line)]
    first = {key: found[0] for key, found in values.items() if found}
    others = [first | {key: text} for key, found in values.items() for text in found[1:]]
    for chosen in [first, *others] if others else []:
        try:
            job = loader.load_sweep_config(config, list(chosen.values()))
            with open_dict(job):
                del job["hydra"]
            data = typed(job, SCHEMAS["train"]).data
            if data.source == "midi" and data.path:
                find_files(user_path(data.path))
        except (HydraException, OmegaConfBaseException) as error:
            raise readable(error) from error
    return math.prod(len(found) for found in values.values())
