"""From the command line to typed values: the only place, with the command mains, that knows Hydra and OmegaConf."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import importlib.util
import logging
import os
import re
import secrets
import shutil
import sys
import typing
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import hydra
import yaml
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository
from hydra._internal.utils import get_args_parser
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override, QuotedString
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from composer.config.schema import (
    CompareConfig,
    CopyingConfig,
    EvaluateConfig,
    ExploreConfig,
    ExportConfig,
    GenerateConfig,
    LiveConfig,
    RenderConfig,
    ReportConfig,
    TrainConfig,
)
from composer.errors import ComposerError, RunInterrupted, UsageError
from composer.runs import code as source
from composer.runs.code import CONF_DIR
from composer.runs.layout import SWEEP, read_json, safe_name, unwritable
from composer.sweeps import jobs as sweep

ConfigType = TypeVar("ConfigType")
log = logging.getLogger(__name__)

_SCHEMAS: dict[str, type[Any]] = {
    "train": TrainConfig,
    "generate": GenerateConfig,
    "evaluate": EvaluateConfig,
    "compare": CompareConfig,
    "export": ExportConfig,
    "explore": ExploreConfig,
    "render": RenderConfig,
    "copying": CopyingConfig,
    "report": ReportConfig,
    "live": LiveConfig,
}
# Of a run's config, what every version has written: without it the file is damaged, not old.
_ALWAYS = (
    *("name", "seed", "data", "data.source", "data.window_size", "encoding", "model", "model.hidden_size", "loss"),
    *("regularizer", "regularizer.name", "optimizer", "optimizer.name", "trainer", "checkpoint", "logging", "sampling"),
)
# The key that says which option of a group was chosen.
_NAMED_BY = {
    "data": "data.source",
    "model": "model.name",
    "regularizer": "regularizer.name",
    "optimizer": "optimizer.name",
}
# What was done before a key existed, where its default is something else.
_MEANT_BEFORE = {
    "data.group_similarity": None,
    "data.group_by": None,
    "sampling_grid.pieces": 0,
    "sampling.keep_grid": False,
}
# Commands that have the keys of a group at their root, and what Hydra calls the group there.
_AT_ROOT = {"generate": {"sampling": "sampling@_global_"}, "live": {"sampling": "sampling@_global_"}}
_MAX_CONFIG_BYTES = 1 << 20
_MAX_CONFIG_DEPTH = 8
# What lies in a run directory when no run has begun: Hydra's notes, and what a failed atomic write leaves.
_LITTER = re.compile(r"\.hydra|(train|generate)\.log|\..+\.tmp")
# What the launchers and sweepers of conf/hydra need; but for joblib's, an extra of the choice's name installs it.
_PLUGINS = {
    "joblib": "hydra-joblib-launcher",
    "slurm": "hydra-submitit-launcher",
    "ray": "hydra-ray-launcher",
    "optuna": "hydra-optuna-sweeper",
}
# What these keys are called elsewhere.
_OTHER_NAMES = {
    "l1_lambda": "regularizer.weight",
    "lambda": "regularizer.weight",
    "l1": "regularizer.weight",
    "l2": "regularizer.weight",
    "learning_rate": "optimizer.lr",
    "epochs": "trainer.max_epochs",
    "layers": "model.num_layers",
    "hidden": "model.hidden_size",
}


def run_id() -> str:
    """A folder name that no other run has: the time, and random letters for runs of the same second."""
    return f"{datetime.now():%Y-%m-%d_%H-%M-%S}_{secrets.token_hex(3)}"


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


def register() -> None:
    """Make the schemas and resolvers known to Hydra; calling it again changes nothing."""
    store = ConfigStore.instance()
    for name, schema in _SCHEMAS.items():
        store.store(name=f"{name}_schema", node=schema)
    # A plugin's own values under a name that conf/hydra has too: Hydra would check ours against them, and complain.
    Plugins.instance()
    for path in CONF_DIR.glob("hydra/*/*.yaml"):
        store.repo.get("hydra", {}).get(path.parent.name, {}).pop(path.name, None)
    # Cached, so that every job of one sweep sees the same value.
    OmegaConf.register_new_resolver("run_id", run_id, use_cache=True, replace=True)
    OmegaConf.register_new_resolver("sweep_id", sweep_id, use_cache=True, replace=True)
    OmegaConf.register_new_resolver("job_folder", job_folder, replace=True)
    OmegaConf.register_new_resolver("safe_name", safe_name, replace=True)


def typed(config: DictConfig, schema: type[ConfigType]) -> ConfigType:
    """Resolve a composed config into its dataclass, with every limit checked.

    Raises:
        ComposerError: a value is missing, of the wrong type, or outside its limits.
    """
    try:
        missing = sorted(OmegaConf.missing_keys(config))
        if missing:
            raise UsageError(f"{missing[0]} is missing: add {missing[0]}=VALUE")
        value = OmegaConf.to_object(config)
    except OmegaConfBaseException as error:
        raise ComposerError(_one_line(error)) from error
    assert isinstance(value, schema)
    return value


def to_yaml(config: TrainConfig) -> str:
    """The resolved config as YAML text."""
    return OmegaConf.to_yaml(OmegaConf.structured(config))


def read_config(path: Path) -> TrainConfig:
    """Read a run's `config.yaml` into the typed config.

    Only the keys of the schema are accepted and they are data: nothing in the file is imported, called or interpolated.
    Keys that are younger than the file take the defaults of `conf/`, with a warning.

    Raises:
        ComposerError: the file is missing, damaged, too large, or does not fit the schema.
    """
    return parse_config(_config_text(path), str(path))


def read_values(path: Path) -> dict[str, Any]:
    """The dotted keys of a run's `config.yaml` with their values, also of a run of another version.

    Raises:
        ComposerError: the file is missing, damaged or too large.
    """
    text = _config_text(path)
    try:
        _check_plain(text)
        tree = yaml.safe_load(text)
    except (ComposerError, yaml.YAMLError) as error:
        raise ComposerError(f"{path}: damaged ({_one_line(error)})") from error
    if not isinstance(tree, dict):
        raise ComposerError(f"{path}: damaged (no keys)")
    return flatten(tree)


def _config_text(path: Path) -> str:
    try:
        if path.stat().st_size > _MAX_CONFIG_BYTES:
            raise ComposerError(f"{path}: larger than {_MAX_CONFIG_BYTES} bytes, which no run's config is")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ComposerError(f"{path}: not found, so this is not a run directory of composer") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ComposerError(f"{path}: cannot be read ({error})") from error


def parse_config(text: str, name: str) -> TrainConfig:
    """The typed config of YAML text that stands in the file `name`; see `read_config`."""
    try:
        _check_plain(text)
        loaded = OmegaConf.create(text)
        merged = OmegaConf.merge(OmegaConf.structured(TrainConfig), loaded)
        assert isinstance(merged, DictConfig)
        missing = sorted(OmegaConf.missing_keys(merged))
        vital = [key for key in _ALWAYS if key in missing]
        if vital:
            raise ComposerError(f"{vital[0]} is missing, which every run's config has: damaged; train the run again")
        if missing:
            merged = _completed(merged)
        config = typed(merged, TrainConfig)
    except ComposerError as error:
        raise ComposerError(f"{name}: {error}") from error
    except Exception as error:  # YAML and OmegaConf raise many kinds for a damaged file
        raise ComposerError(f"{name}: does not fit this version of composer ({_one_line(error)})") from error
    if missing:
        keys = missing[0] if len(missing) == 1 else f"{missing[0]} and {len(missing) - 1} more"
        # The same words at the same place for every file of the run, so that a command says it once.
        warnings.warn(f"the run is of an older version of composer, without {keys}; defaults are taken", stacklevel=1)
    return config


def _completed(config: DictConfig) -> DictConfig:
    """A config of an older version with the keys that it lacks: the defaults of `conf/` for its own groups."""
    register()
    choices = []
    for group, key in _NAMED_BY.items():
        value = OmegaConf.select(config, key, throw_on_missing=False)
        choices += [f"{group}={value.name}"] if value is not None else []
    with ExitStack() as stack:
        if not GlobalHydra.instance().is_initialized():
            stack.enter_context(hydra.initialize_config_dir(str(CONF_DIR.absolute()), version_base="1.3"))
        defaults = hydra.compose("train", choices)
    for key, value in _MEANT_BEFORE.items():
        OmegaConf.update(defaults, key, value)
    given = OmegaConf.to_container(config, throw_on_missing=False)
    merged = OmegaConf.merge(defaults, _without_missing(given))
    assert isinstance(merged, DictConfig)
    return merged


def _without_missing(tree: Any) -> Any:
    """A nested dict without the keys that have no value."""
    if not isinstance(tree, dict):
        return tree
    return {key: _without_missing(value) for key, value in tree.items() if value != MISSING}


def _check_plain(text: str) -> None:
    """Refuse what must not reach a builder: an alias can stand for gigabytes, an escape can hide an interpolation."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent) or depth > _MAX_CONFIG_DEPTH:
            raise ComposerError("holds a YAML alias or too many levels, which a run's config never does")
        if isinstance(event, yaml.ScalarEvent) and "${" in event.value:
            raise ComposerError("holds an interpolation, which a run's resolved config never does")


def differing_keys(left: TrainConfig, right: TrainConfig) -> list[str]:
    """The dotted keys in which two configs differ, in order."""
    one, two = flatten(dataclasses.asdict(left)), flatten(dataclasses.asdict(right))
    return [key for key in one if one[key] != two[key]]


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"a": {"b": 1}}` as `{"a.b": 1}`, with enums as their names."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value.name if hasattr(value, "name") else value
    return flat


def schema_keys(schema: type[Any], prefix: str = "") -> list[str]:
    """Every dotted key that a schema has, nodes and leaves."""
    keys = []
    hints = typing.get_type_hints(schema)
    for field in dataclasses.fields(schema):
        keys.append(prefix + field.name)
        if dataclasses.is_dataclass(hints[field.name]):
            keys += schema_keys(hints[field.name], f"{prefix}{field.name}.")
    return keys


def parse_overrides(arguments: Iterable[str]) -> list[Override]:
    """Parse `key=value` arguments by Hydra's grammar.

    Raises:
        UsageError: an argument is not of the form `key=value`.
    """
    overrides = []
    for argument in arguments:
        try:
            overrides.append(OverridesParser.create().parse_override(argument))
        except HydraException as error:
            raise UsageError(f"{argument}: not understood; write key=value ({_one_line(error)})") from error
    return overrides


def folder_first(arguments: Sequence[str], key: str, texts: Iterable[str]) -> list[str]:
    """Let a command's folder stand without its key, and take the values of keys that hold text as they are typed.

    Args:
        arguments: as typed; an argument without `=` that no flag takes is the folder.
        key: the folder's key.
        texts: keys of paths and labels, which Hydra's grammar would take apart at `=`, commas and blanks.

    Raises:
        UsageError: more than one folder.
    """
    folders = [a for a in get_args_parser().parse_args(list(arguments)).overrides if "=" not in a]
    if len(folders) > 1:
        raise UsageError(f"{folders[1]}: one folder at a time; a key is written key=value")
    changed = list(arguments)
    if folders:
        changed[changed.index(folders[0])] = f"{key}={folders[0]}"
    return [_as_text(argument, (key, *texts)) for argument in changed]


def _as_text(argument: str, keys: Iterable[str]) -> str:
    key, equals, value = argument.partition("=")
    if not equals or key not in keys or value in ("", "null", "???") or value[0] in "'\"":
        return argument
    return f"{key}={sweep.quoted(value)}"


def check_keys(overrides: Iterable[Override], command: str) -> None:
    """Refuse a key that the command does not have, also behind `+`, and suggest the nearest one.

    Hydra would take `+model.l1_lamda=1` into an untyped config and train the baseline; with ours it fails, but late and
    in several lines.

    Raises:
        ComposerError: names the key and the nearest known ones.
    """
    schema = _SCHEMAS[command]
    keys = schema_keys(schema)
    folders = [path.name for path in sorted(CONF_DIR.iterdir()) if path.is_dir() and path.name != "hydra"]
    groups = {"train": folders, "explore": ["data", "encoding"]}.get(command, list(_AT_ROOT.get(command, ())))
    known = set(keys) | set(groups)
    for override in overrides:
        key = override.key_or_group
        value = override.value()
        values = value.list if isinstance(value, ChoiceSweep) else [value]
        choosable = override.is_delete() or all(isinstance(v, str | list | dict | QuotedString) for v in values)
        if key in groups and not choosable:
            options = ", ".join(path.stem for path in sorted((CONF_DIR / key).glob("*.yaml")))
            raise ComposerError(f"{override.input_line}: {key} is one of {options}")
        if key == "sampling" and key in groups:
            _check_preset(override.input_line, values)
        if key in known or key.split(".")[0] == "hydra" or key.split("/")[0] == "hydra":
            continue
        raise ComposerError(f"{override.input_line}: there is no key {key}{_suggestion(key, sorted(known), command)}")


def _check_preset(typed_as: str | None, values: Iterable[Any]) -> None:
    """Refuse a preset of `conf/sampling` that does not exist, and suggest the nearest one."""
    options = sorted(path.stem for path in (CONF_DIR / "sampling").glob("*.yaml"))
    for value in (value for value in values if isinstance(value, str) and value not in options):
        near = difflib.get_close_matches(value, options, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ComposerError(f"{typed_as}: sampling is one of {', '.join(options)}{hint}")


def _as_hydra_names(arguments: Iterable[str], command: str) -> list[str]:
    """Write the choice of a group whose keys stand at a command's root, such as `sampling=bold`, as Hydra names it."""
    names = _AT_ROOT.get(command, {})
    changed = []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        changed.append(f"{names.get(key, key)}={value}" if equals else argument)
    return changed


def _suggestion(key: str, known: list[str], command: str) -> str:
    # `hidden_size` alone is a common slip for `model.hidden_size`, and other projects have other names.
    leaf = key.rsplit(".", 1)[-1]
    leaves = {name.rsplit(".", 1)[-1]: name for name in known}
    leaves |= {alias: name for alias, name in _OTHER_NAMES.items() if name in known}
    near = [leaves[name] for name in difflib.get_close_matches(leaf, leaves, n=2, cutoff=0.75)]
    near += difflib.get_close_matches(key, known, n=2, cutoff=0.6)
    near = list(dict.fromkeys(near))[:2]
    return f"; did you mean {' or '.join(near)}?" if near else f"; composer {command} --cfg job lists the keys"


def _one_line(error: BaseException) -> str:
    """An error of Hydra or OmegaConf, often of several lines and with a cause, as one line."""
    parts: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(parts) < 2:
        text = re.split(r"\n\s*(?:full_key|reference_type|object_type|Config search path)", str(cause))[0]
        text = re.sub(r"\s+", " ", text).strip()
        if text and not any(text in part for part in parts):
            parts.append(text)
        cause = cause.__cause__
    return ": ".join(parts) or type(error).__name__


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
    check_keys(parse_overrides(get_args_parser().parse_args(list(arguments)).overrides), command)
    arguments = _as_hydra_names(arguments, command)
    schema = _SCHEMAS[command]

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
        problem = ComposerError(_one_line(error))
        problem.__cause__ = error
    except _Stop as stop:
        problem = stop.error
    except Exception as error:
        if SweepCallback.begun() is not None:
            # A launcher's or sweeper's: a worker that was killed, a cluster that cannot be reached.
            problem = ComposerError(f"the sweep failed ({_one_line(error)})")
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


def apply_overrides(config: TrainConfig, overrides: Iterable[Override]) -> TrainConfig:
    """The config with plain `key=value` overrides applied and its limits checked again."""
    node = OmegaConf.structured(config)
    for override in overrides:
        if override.is_sweep_override() or override.is_delete() or override.is_add():
            raise ComposerError(f"{override.input_line}: only key=value can be given here")
        try:
            OmegaConf.update(node, override.key_or_group, override.value())
        except OmegaConfBaseException as error:
            raise ComposerError(f"{override.input_line}: {_one_line(error)}") from error
    return typed(node, TrainConfig)


def compose(*overrides: str, command: str = "train", conf: Path = CONF_DIR) -> Any:
    """Compose a typed config in a notebook or a test, as the command line would.

    Example: `compose("experiment=article", "seed=1")` gives a `TrainConfig`.
    """
    register()
    check_keys(parse_overrides(overrides), command)
    with hydra.initialize_config_dir(str(conf.absolute()), version_base="1.3"):
        return typed(hydra.compose(command, _as_hydra_names(overrides, command)), _SCHEMAS[command])
