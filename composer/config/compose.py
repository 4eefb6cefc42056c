"""Compose configs with Hydra and convert them to the typed dataclasses of the schema."""

from __future__ import annotations

import dataclasses
import re
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import hydra
import yaml
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.errors import HydraException, MissingConfigException
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from composer import plugins, registry
from composer.config.commands import SCHEMAS, GenerateConfig
from composer.config.help import command_help
from composer.config.keys import (
    as_hydra_names,
    as_typed,
    check_conflicts,
    check_keys,
    options_of_group,
    options_with,
    own_folders,
    parse_overrides,
)
from composer.config.paths import CONF_DIR
from composer.config.texts import escaped_tree, quoted
from composer.config.training import TrainConfig
from composer.errors import ComposerError, UsageError, one_line, unknown_option
from composer.files import safe_name

ConfigType = TypeVar("ConfigType")


def run_id() -> str:
    """Return a unique folder name for a run: the time, and random letters for runs of the same second."""
    return f"{datetime.now():%Y-%m-%d_%H-%M-%S}_{secrets.token_hex(3)}"


class _PluginConfigs(SearchPathPlugin):
    """Adds the `conf/` of enabled plugins to Hydra's search path, after our own."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append the folders."""
        for plugin in plugins.packages():
            if plugin.conf is not None:
                search_path.append(f"{_PLUGIN} {plugin.package}", f"file://{plugin.conf.absolute()}")


# Begins the provider of a plugin's configs on Hydra's search path.
_PLUGIN = "plugin"


def plugin_package(provider: str) -> str | None:
    """Return the package of an entry of Hydra's search path that is of a plugin; None for any other."""
    kind, _, package = provider.partition(" ")
    return package if kind == _PLUGIN and package else None


def enable_plugins(arguments: Sequence[str], command: str) -> list[str]:
    """Enable the plugins that a command line names, itself or by an experiment or ablation that it chooses.

    Args:
        arguments: as typed, flags first.
        command: the command; only `train` has the key `plugins`, which is taken out for others.

    Returns:
        The arguments for Hydra.

    Raises:
        ComposerError: a plugin cannot be imported.
    """
    changed = plugins.enable_named(arguments, record=command == "train")
    if command == "train":
        plugins.enable(module for path in _chosen_files(changed) for module in _plugins_of(path))
    return changed


def _chosen_files(arguments: Sequence[str]) -> Iterator[Path]:
    """Yield the files of the experiments and ablations that arguments choose."""
    folders = [CONF_DIR, *(plugin.conf for plugin in plugins.packages() if plugin.conf is not None)]
    folders += own_folders(arguments)
    for text in arguments:
        group, _, options = text.lstrip("+").partition("=")
        if group in ("experiment", "ablation"):
            for option in options.strip("[]").split(","):
                yield from (path for folder in folders if (path := folder / group / f"{option}.yaml").is_file())


def _plugins_of(path: Path) -> list[str]:
    """Return the plugins that a file of the user's configs names."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return []  # Hydra says what is wrong with it
    named = values.get("plugins") if isinstance(values, dict) else None
    return [str(module) for module in named] if isinstance(named, list) else []


def register() -> None:
    """Register the schemas and resolvers with Hydra; a second call changes nothing."""
    plugins.enable_installed()
    # mypy takes the hash of a class for that of its instances.
    for name, schema in SCHEMAS.items():
        _store(None, f"{name}_schema", None, schema)  # type: ignore[arg-type]
    for kind in registry.kinds():
        for name in registry.names(kind):
            _store_part(kind, name)
    Plugins.instance().register(_PluginConfigs)
    # A launcher's own values under a name that conf/hydra has too: Hydra would check ours against them, and complain.
    for path in CONF_DIR.glob("hydra/*/*.yaml"):
        ConfigStore.instance().repo.get("hydra", {}).get(path.parent.name, {}).pop(path.name, None)
    # Cached, so that every job of one sweep sees the same value.
    OmegaConf.register_new_resolver("run_id", run_id, use_cache=True, replace=True)
    OmegaConf.register_new_resolver("safe_name", safe_name, replace=True)


def _store_part(kind: str, name: str) -> None:
    """Register the keys of a part with Hydra, and an option of its name where no file of `conf/` is one.

    Raises:
        ComposerError: a key has a type that configs cannot have.
    """
    about, keys = registry.KINDS[kind], registry.keys(kind, name)
    # Without a package those of several stand where the option's list of defaults puts them.
    package = None if about.several else kind
    try:
        _store(f"{kind}/schema", name, package, keys)  # type: ignore[arg-type]
    except OmegaConfBaseException as error:
        raise ComposerError(f"{kind}={name}: {keys.__name__}: {one_line(error)}") from error
    if (CONF_DIR / kind / f"{name}.yaml").exists():
        return
    # The schema comes first: its defaults give way to those of the group only where it has none.
    shared = [] if about.defaults is None else [f"{about.defaults}@_here_"]
    schema = f"schema/{name}@{name}" if about.several else f"schema/{name}"
    node: dict[str, Any] = {"defaults": [schema, *shared, "_self_"]}
    own = {field.name: field.default for field in dataclasses.fields(keys) if field.default is not dataclasses.MISSING}
    own |= {
        field.name: field.default_factory()
        for field in dataclasses.fields(keys)
        if field.default_factory is not dataclasses.MISSING
    }
    own = OmegaConf.to_container(OmegaConf.create(own), enum_to_str=True)  # type: ignore[assignment]
    node |= {name: own} if about.several else {about.named_by: name, **own}
    ConfigStore.instance().store(group=kind, name=name, node=node)


@cache
def _store(group: str | None, name: str, package: str | None, node: type[Any]) -> None:
    """Register a schema with Hydra; only once, because Hydra makes a config of the dataclass each time."""
    ConfigStore.instance().store(group=group, name=name, package=package, node=node)


def typed(config: DictConfig, schema: type[ConfigType]) -> ConfigType:
    """Resolve a composed config into its dataclass, with every limit checked.

    Raises:
        ComposerError: a value is missing, of the wrong type, or outside its limits.
    """
    try:
        missing = sorted(OmegaConf.missing_keys(config))
        if missing:
            if missing[0] == "run":
                raise UsageError("run is missing: add run=RUN_DIR, or run=pretrained, the run that comes with composer")
            raise UsageError(f"{missing[0]} is missing: add {missing[0]}=VALUE")
        value = OmegaConf.to_object(config)
    except OmegaConfBaseException as error:
        raise ComposerError(one_line(error)) from error
    except AttributeError as error:  # a key that `+` has added to an option which lacks it
        name = str(error).rpartition(" ")[2].strip("'")
        raise ComposerError(f"{name}: is no key of the options that are chosen; write keys without +") from error
    assert isinstance(value, schema)
    return value


def readable(error: Exception) -> ComposerError:
    """Return what Hydra or OmegaConf raised for configs and overrides as one line with the way out."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options is not None:
        group, _, option = error.missing_cfg_file.rpartition("/")
        if Path("conf", group, f"{option}.yaml").is_file():
            return ComposerError(f"{group}={option}: is in the folder conf of yours: add --config-dir conf")
        return unknown_option(group, option, error.options)
    text = one_line(error)
    # A key that another option of the group has.
    absent = re.match(r"Could not override '(\S+)'\.", text)
    if absent is not None and (options := options_with(absent[1])):
        every = "not chosen here (in a sweep: not by every job; docs/extend.md has the way)"
        return ComposerError(f"{absent[1]}: is a key of {' and '.join(options)}, which is {every}")
    unknown = re.search(r"Could not load '(\w+)/(\S+)'", text)
    if unknown is not None and (CONF_DIR / unknown[1]).is_dir():
        return unknown_option(unknown[1], unknown[2], options_of_group(unknown[1]))
    twice = re.match(r"Multiple values for (\S+)\. To override", text)
    if twice is not None:
        return ComposerError(f"+{twice[1]}: has a value already; write {twice[1]}=OPTION, several as {twice[1]}=[A,B]")
    wrong = re.match(r"Error merging override (\S+): Value '.*' of type '.*' could not be converted to (\w+)", text)
    if wrong is not None:
        kind = _KINDS.get(wrong[2], wrong[2])
        return ComposerError(f"{wrong[1]}: must be {kind}")
    return ComposerError(text.removeprefix("Error merging override "))


# Types as OmegaConf names them.
_KINDS = {"Integer": "an integer", "Float": "a number", "Boolean": "true or false", "String": "a text"}


def apply_overrides(config: TrainConfig, overrides: Iterable[Override]) -> TrainConfig:
    """Return the config with plain `key=value` overrides applied, all limits checked again.

    Raises:
        ComposerError: an override is no plain `key=value`, or its value is of the wrong type or outside its limits.
    """
    node = to_node(config)
    for override in overrides:
        if override.is_sweep_override() or override.is_delete() or override.is_add():
            raise ComposerError(f"{override.input_line}: only key=value can be given here")
        try:
            OmegaConf.update(node, override.key_or_group, override.value())
        except OmegaConfBaseException as error:
            raise ComposerError(f"{override.input_line}: {one_line(error)}") from error
    return typed(node, TrainConfig)


def to_node(config: TrainConfig) -> DictConfig:
    """Return a typed config as OmegaConf's, in which no text is interpolated."""
    node = OmegaConf.structured(escaped_tree(config))
    assert isinstance(node, DictConfig)
    return node


def compose(*overrides: str, command: str = "train", conf: Path = CONF_DIR) -> Any:
    """Compose a typed config in a notebook or a test, as the command line would.

    Example: `compose("experiment=article", "seed=1")` gives a `TrainConfig`.

    Raises:
        ComposerError: a key, option or value is wrong.
    """
    overrides = tuple(as_typed(enable_plugins(overrides, command), command))
    parsed = parse_overrides(overrides)
    check_keys(parsed, command)
    check_conflicts(parsed, command)
    try:
        node = compose_node(as_hydra_names(overrides, command), command, conf)
    except (HydraException, OmegaConfBaseException) as error:
        raise readable(error) from error
    return typed(node, SCHEMAS[command])


def compose_node(overrides: Iterable[str], command: str, conf: Path = CONF_DIR) -> DictConfig:
    """Compose a config that may still lack values; `overrides` are named as Hydra names them."""
    register()
    with _own_hydra(conf):
        return hydra.compose(command, list(overrides))


def help_text(arguments: Sequence[str], overrides: Sequence[str], command: str) -> str:
    """Return what `--help` prints: that of Hydra lists the files of all groups first, which takes seconds.

    Args:
        arguments: the command line.
        overrides: those among them, named as Hydra names them.
        command: the command.

    Raises:
        ComposerError: a key, option or value is wrong.
    """
    folders = own_folders(arguments)
    given = [text for text in overrides if text.split("=")[0].lstrip("+") != "hydra.searchpath"]
    search = ",".join(quoted(f"file://{folder.absolute()}") for folder in folders)
    try:
        with _own_hydra(CONF_DIR):
            given += [f"hydra.searchpath=[{search}]"] if folders else []
            config = hydra.compose(command, given, return_hydra_config=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise readable(error) from error
    return command_help(command, config, folders)


@contextmanager
def _own_hydra(conf: Path) -> Iterator[None]:
    """Make Hydra read `conf`, also while a command, or a program that uses Hydra itself, runs with other configs."""
    outer = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with hydra.initialize_config_dir(str(conf.absolute()), version_base="1.3"):
            yield
    finally:
        if outer is not None:
            GlobalHydra.instance().initialize(outer)


@cache
def generate_defaults() -> GenerateConfig:
    """Return the values of `composer generate` where its command line gives none, `run` aside."""
    config = compose("run=RUN_DIR", command="generate")
    assert isinstance(config, GenerateConfig)
    return config
