"""Hydra's entry point for every command, and sweeps of training runs through Hydra's launchers."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar

import hydra
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from composer.config.commands import SCHEMAS
from composer.config.compose import register, typed
from composer.config.keys import as_hydra_names, check_keys, overrides_of, parse_overrides
from composer.config.paths import CONF_DIR
from composer.errors import ComposerError, RunInterrupted, one_line
from composer.files import read_json, safe_name, unwritable
from composer.runs import code as source
from composer.runs.layout import SWEEP
from composer.sweeps import jobs as sweep

log = logging.getLogger(__name__)

# What lies in a run directory when no run has begun: Hydra's notes, and what a failed atomic write leaves.
_LITTER = re.compile(r"\.hydra|(train|generate)\.log|\..+\.tmp")
# What the launchers and sweepers of conf/hydra need; but for joblib's, an extra of the choice's name installs it.
_PLUGINS = {
    "joblib": "hydra-joblib-launcher",
    "slurm": "hydra-submitit-launcher",
    "ray": "hydra-ray-launcher",
    "optuna": "hydra-optuna-sweeper",
}


def sweep_id() -> str:
    """A folder name for a sweep: a function of its command and of the code and configs that run.

    The same command goes on where it stopped; with other code or configs it begins anew.
    """
    text = "\n".join([source.digest(), *sorted(SweepCallback.overrides)])
    return f"sweep-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def job_folder(cwd: str, sweep_dir: str, _root_: DictConfig) -> str:
    """The folder of a job of a sweep: named by those of its overrides in which the jobs differ.

    Absolute, because Ray's processes may work in another folder.
    """
    folder = Path(cwd) / sweep_dir
    keys = read_json(folder / SWEEP)["swept"]
    swept = _swept(_root_.hydra.overrides.task, keys)
    return str(folder / safe_name(",".join(f"{key}={value}" for key, value in swept.items())))


def _swept(overrides: Iterable[str], keys: Sequence[str]) -> dict[str, str]:
    """The values of those keys among `key=value` overrides, in the order of the keys."""
    values = dict(override.split("=", 1) for override in overrides if "=" in override)
    values = {key.lstrip("+~"): value for key, value in values.items()}
    return {key: values[key] for key in keys if key in values}


class _Stop(BaseException):
    """Carries an error through Hydra, which after an `Exception` would go on with the next job of a sweep."""

    def __init__(self, error: ComposerError) -> None:
        super().__init__(error)
        self.error = error


class _Stopped:
    """What a job that was stopped returns from another process: an exception would have the launcher end the others."""

    def __init__(self, error: ComposerError) -> None:
        self.error = error

    def __float__(self) -> float:
        # A sweeper that searches asks for the figure, and must not go on.
        raise _Stop(self.error)


def _check_plugin(group: str, choice: str) -> None:
    """Refuse a launcher or sweeper that is not installed, before anything is written.

    Raises:
        ComposerError: names the package and how to install it.
    """
    package = _PLUGINS.get(choice)
    if package is None:
        return  # Hydra's own, or the user's
    try:
        found = importlib.util.find_spec(f"hydra_plugins.{package.replace('-', '_')}") is not None
    except ModuleNotFoundError:
        found = False
    if not found:
        extra = "" if choice == "joblib" else f", or in a checkout pip install '.[{choice}]'"
        raise ComposerError(f"{group}={choice}: needs {package}; pip install {package}{extra}")


def _compose_from(conf: Path) -> None:
    """Let Hydra read the jobs' configs from a frozen copy, in this process and in a launcher's."""
    loader = GlobalHydra.instance().config_loader()
    assert isinstance(loader, ConfigLoaderImpl)
    for element in loader.config_search_path.get_path():
        if element.provider == "main":
            element.path = f"file://{conf.absolute()}"
    loader.repository = ConfigRepository(loader.config_search_path)


def _no_summary(folder: Path) -> None:
    """Nothing at a sweep's end."""


class SweepCallback(Callback):
    """Begins a sweep before its first job; Hydra makes it from `conf/train.yaml`."""

    # Of the sweep of this process: the overrides that decide what its jobs are, its folder, and what ends with it.
    overrides: ClassVar[list[str]] = []
    folder: ClassVar[Path | None] = None
    listening: ClassVar[ExitStack] = ExitStack()
    # What imports the code for the sweep's end, at its beginning: it may be another by then.
    load_summary: ClassVar[Callable[[], Callable[[Path], None]]] = lambda: _no_summary
    summarise: ClassVar[Callable[[Path], None]] = lambda folder: None

    @classmethod
    def begun(cls) -> Path | None:
        """Folder of the sweep that this process has begun."""
        return cls.folder

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Name the sweep's folder and freeze what its jobs are made from."""
        hydra_config = config.hydra
        task = list(hydra_config.overrides.task)
        about_jobs = [text for text in hydra_config.overrides.hydra if re.match(r"\+*hydra[./]sweeper", text)]
        params = dict(hydra_config.sweeper.get("params") or {})
        swept = [key.lstrip("+~") for key in params]
        swept += [o.get_key_element() for o in parse_overrides(task) if o.is_sweep_override()]
        SweepCallback.overrides = [*task, *about_jobs]
        try:
            for group in ("hydra/sweeper", "hydra/launcher"):
                _check_plugin(group, hydra_config.runtime.choices[group])
            folder = Path(hydra_config.sweep.dir)
            sweep.begin(folder, config.name, SweepCallback.overrides, list(dict.fromkeys(swept)))
            SweepCallback.folder = folder
            _compose_from(source.frozen_conf(SweepCallback.folder))
            SweepCallback.listening.enter_context(sweep.stopping(SweepCallback.folder))
            SweepCallback.summarise = SweepCallback.load_summary()
        except ComposerError as error:
            raise _Stop(error) from error


def _sweep_job(config: DictConfig) -> float | _Stopped:
    """What a launcher calls, in this process or another: one job of a sweep of training runs."""
    hydra_config = HydraConfig.get()
    cwd = Path(hydra_config.runtime.cwd)
    folder = cwd / hydra_config.sweep.dir
    overrides = list(hydra_config.overrides.task)
    job = sweep.Job(
        number=hydra_config.job.num,
        overrides=overrides,
        swept=_swept(overrides, read_json(folder / SWEEP)["swept"]),
        folder=Path(hydra_config.runtime.output_dir),
    )
    try:
        return sweep.run_job(folder, job, cwd)
    except RunInterrupted as error:
        remove_unused(job.folder)  # where it had not begun
        if SweepCallback.begun() is None:
            return _Stopped(error)
        raise _Stop(error) from error
    except ComposerError as error:
        if hydra_config.runtime.choices["hydra/sweeper"] == "basic":
            # It would take an exception for the end of the sweep; `job.json` says what happened.
            return float("nan")
        # A sweeper that searches must hear that there is no figure; without this frame's objects.
        raise ComposerError(str(error)) from None


def hydra_command(
    command: str,
    arguments: Sequence[str],
    run: Callable[[Any, Path], Any],
    load_summary: Callable[[], Callable[[Path], None]] = lambda: _no_summary,
) -> None:
    """Compose the config of `command` from `arguments` and call `run(config, output_dir)`, once or for each job.

    A sweep of training runs gives each job a process of its own instead (`composer.sweeps.jobs`).

    Args:
        command: name of the config file in `conf/` and of its schema.
        arguments: overrides and Hydra's own flags (`-m`, `--cfg job`, `--help` ...).
        run: gets the typed config and the directory that Hydra made for it.
        load_summary: imports, when a sweep of training runs begins, what gets its folder when some have completed.

    Raises:
        ComposerError: a user's mistake, as one line. With `HYDRA_FULL_ERROR=1` set by the user, the original error.
    """
    register()
    # Cached, so that every job of one sweep sees the same value.
    OmegaConf.register_new_resolver("sweep_id", sweep_id, use_cache=True, replace=True)
    OmegaConf.register_new_resolver("job_folder", job_folder, replace=True)
    check_keys(parse_overrides(overrides_of(arguments)), command)
    arguments = as_hydra_names(arguments, command)
    schema = SCHEMAS[command]

    failures: list[tuple[str, ComposerError]] = []
    jobs = 0

    def job(config: DictConfig) -> Any:
        nonlocal jobs
        jobs += 1
        hydra_config = HydraConfig.get()
        output_dir = Path(hydra_config.runtime.output_dir)
        # A strategy of several processes starts the others by this command line.
        sys.argv = [*program, *hydra_config.overrides.task, "hydra.mode=RUN"]
        try:
            return run(typed(config, schema), output_dir)
        except RunInterrupted as error:
            raise _Stop(error) from error
        except ComposerError as error:
            # Kept and raised below: the other jobs go on, and Hydra adds no lines of its own.
            # `composer generate` works in the current folder, whose name tells nothing.
            here = output_dir == Path.cwd()
            failures.append((hydra_config.job.override_dirname if here else output_dir.name, error))
            log.error("%s", error) if hydra_config.mode is RunMode.MULTIRUN else None
            return float("nan")
        finally:
            remove_unused(output_dir)

    def task(config: DictConfig) -> Any:
        sweeping = command == "train" and HydraConfig.get().mode is RunMode.MULTIRUN
        return _sweep_job(config) if sweeping else job(config)

    full_error = os.environ.get("HYDRA_FULL_ERROR") == "1"
    # Hydra prints several lines and exits by itself unless it is told to raise.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    saved = sys.argv
    # `composer train` or `scripts/train.py`, without what follows.
    program = saved[: len(saved) - len(arguments)]
    sys.argv = [f"composer {command}", *arguments]
    SweepCallback.overrides, SweepCallback.folder = [], None
    SweepCallback.load_summary = load_summary
    problem: ComposerError | None = None
    try:
        hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name=command)(task)()
    except (HydraException, OmegaConfBaseException) as error:
        if full_error:
            raise
        problem = ComposerError(one_line(error))
        problem.__cause__ = error
    except _Stop as stop:
        problem = stop.error
    except Exception as error:
        if SweepCallback.begun() is not None:
            # A launcher's or sweeper's: a worker that was killed, a cluster that cannot be reached.
            problem = ComposerError(f"the sweep failed ({one_line(error)})")
        elif isinstance(error, OSError) and not jobs:
            # Before the first job folders are made, and nothing else.
            problem = unwritable(Path(str(error.filename or "outputs")), error)
        else:
            raise
        problem.__cause__ = error
    finally:
        SweepCallback.listening.close()
        sys.argv = saved
        if not full_error:
            del os.environ["HYDRA_FULL_ERROR"]
    if (folder := SweepCallback.begun()) is not None:
        sweep.finish(folder, problem, SweepCallback.summarise)
    elif problem is not None:
        raise problem
    if len(failures) == 1 == jobs:
        raise failures[0][1]
    if failures:
        lines = [f"{len(failures)} of {jobs} jobs failed", *(f"  {name}: {error}" for name, error in failures)]
        raise ComposerError("\n".join(lines))


def remove_unused(folder: Path) -> None:
    """Remove a run directory that holds nothing but Hydra's own notes, and empty folders above it: no mistake litters.

    The current folder and those above it always stay.
    """
    here = Path.cwd()
    found = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if ".hydra" not in found or not all(_LITTER.fullmatch(name) for name in found) or here.is_relative_to(folder):
        return
    shutil.rmtree(folder)
    for parent in folder.parents:
        if here not in parent.parents:
            return
        try:
            parent.rmdir()
        except OSError:
            return  # not empty
