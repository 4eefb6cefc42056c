"""Hydra's entry point for every command, and sweeps of training runs through Hydra's launchers.

Longer than other files, because all that depends on how Hydra calls back is kept together.
"""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import logging
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from composer import plugins
from composer.config.commands import SCHEMAS
from composer.config.compose import enable_plugins, help_text, readable, register, typed
from composer.config.keys import (
    as_hydra_names,
    as_typed,
    check_conflicts,
    check_keys,
    flag_given,
    flags_first,
    overrides_of,
    parse_overrides,
)
from composer.config.paths import CONF_DIR
from composer.errors import ComposerError, RunInterrupted, UsageError, one_line
from composer.files import display_path, read_json, safe_name, unwritable
from composer.progress import working
from composer.runs import code as source
from composer.runs.layout import SWEEP
from composer.sweeps import jobs as sweep
from composer.sweeps import processes
from composer.sweeps.job_configs import (
    arguments_for_jobs,
    check_values,
    compose_from,
    texts,
    unchecked_keys,
    user_folders,
)
from composer.sweeps.watch import watching

log = logging.getLogger(__name__)

_OF_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO)

# Imports what a sweep ends with, and returns it: a function of the sweep's folder.
LoadSummary = Callable[[], Callable[[Path], None]]

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
    """Return a folder name for a sweep: a function of its command and of the code and configs that run.

    The same command goes on where it stopped; with other code or configs it begins another sweep.
    """
    overrides, search = ([], []) if _current is None else (_current.overrides, _current.search)
    text = "\n".join([source.digest(search, with_plugins=True), *sorted(overrides)])
    return f"sweep-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def job_folder(cwd: str, sweep_dir: str, _root_: DictConfig) -> str:
    """Return the folder of a job of a sweep, named by the overrides in which the jobs differ.

    Absolute, because Ray's processes may work in another folder.
    """
    folder = Path(cwd) / sweep_dir
    keys = read_json(folder / SWEEP)["swept"]
    swept = _swept(_root_.hydra.overrides.task, keys)
    return str(folder / safe_name(",".join(f"{key}={value}" for key, value in swept.items())))


def _swept(overrides: Iterable[str], keys: Sequence[str]) -> dict[str, str]:
    """Return the values of these keys among `key=value` overrides, in the order of the keys."""
    values = dict(override.split("=", 1) for override in overrides if "=" in override)
    values = {key.lstrip("+~"): value for key, value in values.items()}
    return {key: values[key] for key in keys if key in values}


class _Stop(BaseException):
    """Carries an error through Hydra, which after an `Exception` would go on with the next job of a sweep."""

    def __init__(self, error: ComposerError) -> None:
        super().__init__(error)
        self.error = error


class _Stopped:
    """Result of a stopped job in another process: after an exception the launcher would end the other jobs."""

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
        needed = package if choice == "joblib" else f"'lstm-composer[{choice}]'"
        raise ComposerError(f"{group}={choice}: needs {package}; pip install {needed}")


def _no_summary() -> Callable[[Path], None]:
    return lambda folder: None


@dataclass
class _Sweep:
    """The sweep that a command starts in this process, if any.

    Attributes:
        load_summary: imports what the sweep ends with; called at its beginning, since the code may have changed by its
            end.
        arguments: the command with its arguments, as typed.
        overrides: those of the command that decide what its jobs are.
        search: folders of the user's configs.
        folder: of the sweep; None until it has begun.
        summarise: what `load_summary` returned.
        listening: restores the signal handlers.
    """

    load_summary: LoadSummary
    arguments: list[str] = field(default_factory=list)
    overrides: list[str] = field(default_factory=list)
    search: list[Path] = field(default_factory=list)
    folder: Path | None = None
    summarise: Callable[[Path], None] = field(default_factory=_no_summary)
    listening: ExitStack = field(default_factory=ExitStack)

    def begin(self, config: DictConfig) -> None:
        """Name the folder of the sweep and freeze what its jobs are made from.

        Raises:
            ComposerError: a launcher or sweeper is not installed, or the folder cannot be used.
        """
        for group in ("hydra/sweeper", "hydra/launcher"):
            _check_plugin(group, config.hydra.runtime.choices[group])
        given = config.hydra.overrides
        for_jobs = arguments_for_jobs(config)
        self.search = user_folders(config)
        task = texts(given.task)
        self.overrides = [*task, *(text for text in texts(given.hydra) if re.match(r"\+*hydra[./]sweeper", text))]
        self.overrides += [text for text in for_jobs if not re.match(r"[+~]*hydra[./](verbose|.*logging)", text)]
        swept = [key.lstrip("+~") for key in config.hydra.sweeper.get("params") or {}]
        swept += [o.get_key_element() for o in parse_overrides(task) if o.is_sweep_override()]
        # The name of the folder comes from the overrides (`sweep_id`).
        folder = Path(config.hydra.sweep.dir)
        with working("checking each swept value"):
            total = check_values(config)
        plugins.check_all_named()
        with working("copying the code and configs"):
            other = sweep.begin(
                folder, config.name, self.overrides, list(dict.fromkeys(swept)), for_jobs, self.search, self.arguments
            )
        self.folder = folder
        print(f"{sweep.FOLDER_LINE}{display_path(folder)}", flush=True)
        if other:
            source.add_former_name(folder)
            self.listening.enter_context(unchecked_keys())
        compose_from(source.frozen_conf(folder), source.frozen_search(folder), source.frozen_plugins(folder))
        self.listening.enter_context(processes.stopping(folder))
        with working("loading the comparison"):
            self.summarise = self.load_summary()
        many = "" if total is None else f"{total}; "
        print(f"jobs       {many}the log of each: <job>/{sweep.LOG} in that folder", flush=True)
        self.listening.enter_context(watching(folder, total))


# Hydra itself makes the callback, by its name in `conf/train.yaml`, and passes it nothing: it finds the sweep here.
# None in the processes that a launcher starts.
_current: _Sweep | None = None


@contextmanager
def _sweep_session(load_summary: LoadSummary, arguments: Sequence[str]) -> Iterator[_Sweep]:
    """Make a sweep that the callback may begin; its signal handlers are removed at the end."""
    global _current
    before, _current = _current, _Sweep(load_summary, list(arguments))
    try:
        with _current.listening:
            yield _current
    finally:
        _current = before


class SweepCallback(Callback):
    """Begins a sweep before its first job; Hydra makes it from `conf/train.yaml`."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Begin the sweep."""
        assert _current is not None, "only a command begins a sweep"
        try:
            _current.begin(config)
        except ComposerError as error:
            raise _Stop(error) from error
        except Exception as error:  # of which Hydra would warn, and go on
            raise _Stop(ComposerError(f"the sweep cannot begin ({one_line(error)})")) from error


def _sweep_job(config: DictConfig) -> float | _Stopped:
    """Run one job of a sweep of training runs; a launcher calls it, in this process or in another."""
    hydra_config = HydraConfig.get()
    cwd = Path(hydra_config.runtime.cwd)
    folder = cwd / hydra_config.sweep.dir
    overrides = texts(hydra_config.overrides.task)
    job = sweep.Job(
        number=hydra_config.job.num,
        overrides=overrides,
        swept=_swept(overrides, read_json(folder / SWEEP)["swept"]),
        folder=Path(hydra_config.runtime.output_dir),
    )
    try:
        return processes.run_job(folder, job, cwd)
    except RunInterrupted as error:
        remove_unused(job.folder)  # where it had not begun
        if _current is None:
            return _Stopped(error)
        raise _Stop(error) from error
    except ComposerError as error:
        if hydra_config.runtime.choices["hydra/sweeper"] == "basic":
            # This sweeper would end the sweep at an exception; `job.json` has the error.
            return float("nan")
        # A sweeper that searches must hear that there is no figure; without this frame's objects.
        raise ComposerError(str(error)) from None


class _Jobs:
    """The jobs of one command; Hydra calls the object with the config of each.

    Attributes:
        count: of jobs that were begun.
        failures: name and error of each job that failed.
    """

    def __init__(self, command: str, run: Callable[[Any, Path], Any], program: Sequence[str]) -> None:
        self.command, self.run, self.program = command, run, list(program)
        self.count = 0
        self.failures: list[tuple[str, ComposerError]] = []

    def __call__(self, config: DictConfig) -> Any:
        """Run a job; its result is the figure that a sweeper minimises."""
        hydra_config = HydraConfig.get()
        if self.command == "train" and hydra_config.mode is RunMode.MULTIRUN:
            return _sweep_job(config)
        self.count += 1
        folder = Path(hydra_config.runtime.output_dir)
        try:
            # A strategy of several processes starts the others by this command line.
            with _command_line([*self.program, *hydra_config.overrides.task, "hydra.mode=RUN"]):
                return self.run(typed(config, SCHEMAS[self.command]), folder)
        except RunInterrupted as error:
            raise _Stop(error) from error
        except Exception as raised:
            fault = raised if isinstance(raised, ComposerError) else _disk_fault(raised) or plugins.fault(raised)
            if fault is None:
                raise
            if fault is not raised:
                fault.__cause__ = raised
            # Kept for `raise_failures`: the other jobs go on, and Hydra adds no lines of its own.
            # `composer generate` works in the current folder, whose name says nothing about the job.
            name = hydra_config.job.override_dirname if folder == Path.cwd() else folder.name
            self.failures.append((name, fault))
            if hydra_config.mode is RunMode.MULTIRUN:
                log.error("%s", fault)
            return float("nan")
        finally:
            remove_unused(folder)

    def raise_failures(self) -> None:
        """Raise a `ComposerError` if a job failed: its own for a single job, else one that lists all."""
        if len(self.failures) == 1 == self.count:
            raise self.failures[0][1]
        if self.failures:
            lines = [f"  {name}: {error}" for name, error in self.failures]
            raise ComposerError("\n".join([f"{len(lines)} of {self.count} jobs failed", *lines]))


def _disk_fault(error: Exception) -> ComposerError | None:
    """Return the line for a disk that is full or cannot be written; None for any other error."""
    if isinstance(error, OSError) and error.errno in _OF_DISK:
        return unwritable(Path(str(error.filename or "outputs")), error)
    return None


@contextmanager
def _command_line(arguments: Sequence[str]) -> Iterator[None]:
    """Set `sys.argv`, the only place that Hydra and Lightning read a command line from."""
    before, sys.argv = sys.argv, list(arguments)
    try:
        yield
    finally:
        sys.argv = before


@contextmanager
def _errors_raised() -> Iterator[bool]:
    """Make Hydra raise errors, where it would print several lines and exit; yields whether the user asked for that."""
    asked = os.environ.get("HYDRA_FULL_ERROR") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield asked
    finally:
        if not asked:
            del os.environ["HYDRA_FULL_ERROR"]


def _mistake(error: Exception, sweeping: bool, jobs: int) -> ComposerError | None:
    """Return the one-line error for what Hydra raised outside the jobs; None if the program itself is wrong."""
    if isinstance(error, HydraException | OmegaConfBaseException):
        return readable(error)
    if isinstance(error, ValueError) and str(error).startswith("Only one of --run"):
        return UsageError(f"{one_line(error)}; --cfg, --info and --shell-completion stand alone, without -m")
    if sweeping:
        # A launcher's or sweeper's: a worker that was killed, a cluster that cannot be reached.
        return ComposerError(f"the sweep failed ({one_line(error)})")
    if isinstance(error, OSError) and not jobs:
        # Before the first job folders are made, and nothing else.
        return unwritable(Path(str(error.filename or "outputs")), error)
    return None


def _run_hydra(arguments: Sequence[str], jobs: _Jobs, began: _Sweep) -> ComposerError | None:
    """Make Hydra compose the configs and call the jobs; returns the mistake of the user that ended it."""
    entry = hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name=jobs.command)(jobs)
    with _errors_raised() as asked, _command_line([f"composer {jobs.command}", *arguments]):
        try:
            entry()
        except _Stop as stop:
            return stop.error
        except Exception as error:
            problem = _mistake(error, began.folder is not None, jobs.count)
            if problem is None or (asked and isinstance(error, HydraException | OmegaConfBaseException)):
                raise
            problem.__cause__ = error
            return problem
    return None


def hydra_command(
    command: str,
    arguments: Sequence[str],
    run: Callable[[Any, Path], Any],
    load_summary: LoadSummary = _no_summary,
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
    # Cached: every job of a sweep gets the same value.
    OmegaConf.register_new_resolver("sweep_id", sweep_id, use_cache=True, replace=True)
    OmegaConf.register_new_resolver("job_folder", job_folder, replace=True)
    if flag_given(arguments, "experimental-rerun"):
        raise UsageError(
            "--experimental-rerun: not supported, because the file that it reads can hold code; "
            "composer train resume=RUN_DIR continues a run, and its config.yaml has every key to repeat it"
        )
    if flag_given(arguments, "shell-completion"):
        raise UsageError('--shell-completion: eval "$(composer completion bash)" turns it on; also zsh, fish')
    as_given = [command, *arguments]
    arguments = as_typed(enable_plugins(flags_first(arguments), command), command)
    register()
    overrides = parse_overrides(overrides_of(arguments))
    check_keys(overrides, command)
    check_conflicts(overrides, command)
    if flag_given(arguments, "help"):
        print(help_text(arguments, as_hydra_names(overrides_of(arguments), command), command))
        return
    # `composer train` or `scripts/train.py`, without what follows.
    jobs = _Jobs(command, run, sys.argv[: len(sys.argv) - len(arguments)])
    with _sweep_session(load_summary, as_given) as began:
        problem = _run_hydra(as_hydra_names(arguments, command), jobs, began)
    if began.folder is not None:
        sweep.finish(began.folder, problem, began.summarise)
    elif problem is not None:
        raise problem
    jobs.raise_failures()


def remove_unused(folder: Path) -> None:
    """Remove a run directory that holds only notes of Hydra, and empty folders above it, so that a mistake leaves none.

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
