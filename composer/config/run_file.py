"""The `config.yaml` of a run: writing, and reading, also files of an older version."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from omegaconf import MISSING, DictConfig, OmegaConf

from composer import plugins, registry
from composer.config.compose import compose_node, to_node, typed
from composer.config.texts import interpolates, unescaped_tree
from composer.config.training import TrainConfig
from composer.errors import ComposerError, one_line
from composer.files import read_text
from composer.registry import KINDS

# Of a run's config, what every version has written: without it the file is damaged, not old.
_ALWAYS = (
    *("name", "seed", "data", "data.source", "data.window_size", "encoding", "model", "model.hidden_size", "loss"),
    *("regularizer", "regularizer.name", "optimizer", "optimizer.name", "trainer", "checkpoint", "logging", "sampling"),
)
# What was done before a key existed, where its default is something else.
_MEANT_BEFORE = {
    "data.group_similarity": None,
    "data.group_by": None,
    "sampling_grid.pieces": 0,
    "sampling.keep_grid": False,
}
# Keys of all networks, and all penalties, in files of earlier versions.
_SHARED_BEFORE = ("attention_heads", "weight_dropout", "variational_dropout", "l1_ratio")
# The part of a file that is older than the key which names it.
_NAMED_BEFORE = {"model": "lstm"}
# `augmentation` without an effect.
_NOT_VARIED = {"transpose": 0, "stretch": 1, "velocity": 1}
_MAX_CONFIG_BYTES = 1 << 20
_MAX_CONFIG_DEPTH = 8


def to_yaml(config: TrainConfig) -> str:
    """Return the resolved config as YAML text."""
    return OmegaConf.to_yaml(to_node(config))


def read_config(path: Path) -> TrainConfig:
    """Read a run's `config.yaml` into the typed config.

    Only the keys of the schema are accepted and they are data: nothing in the file is imported, called or interpolated.
    Keys that are younger than the file take the defaults of `conf/`, with a warning.

    Raises:
        ComposerError: the file is missing, damaged, too large, or does not fit the schema.
    """
    return parse_config(_config_text(path), str(path))


def read_values(path: Path) -> dict[str, Any]:
    """Return the value of each dotted key of a run's `config.yaml`, also of another version.

    Raises:
        ComposerError: the file is missing, damaged or too large.
    """
    text = _config_text(path)
    try:
        _check_plain(text)
        tree = yaml.safe_load(text)
    except (ComposerError, yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a number too long
        raise ComposerError(f"{path}: damaged ({one_line(error)})") from error
    if not isinstance(tree, dict):
        raise ComposerError(f"{path}: damaged (no keys)")
    return flatten(unescaped_tree(tree))


def _config_text(path: Path) -> str:
    try:
        return read_text(path, _MAX_CONFIG_BYTES)
    except ComposerError as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
        raise ComposerError(f"{path}: not found, so this is not a run directory of composer") from error


def parse_config(text: str, name: str) -> TrainConfig:
    """Return the typed config of YAML text from the file `name`; see `read_config`."""
    try:
        _check_plain(text)
        loaded = OmegaConf.create(text)
        assert isinstance(loaded, DictConfig)
        plugins.enable_installed()
        _check_enabled(loaded)
        _rename(loaded)
        merged = OmegaConf.merge(OmegaConf.structured(TrainConfig), options_of(loaded), loaded)
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
        raise ComposerError(f"{name}: does not fit this version of composer ({one_line(error)})") from error
    if missing:
        keys = missing[0] if len(missing) == 1 else f"{missing[0]} and {len(missing) - 1} more"
        # The same words at the same place for every file of the run, so that a command says it once.
        warnings.warn(f"the run is of an older version of composer, without {keys}; defaults are taken", stacklevel=1)
    return config


def options_of(values: Any) -> dict[str, Any]:
    """Return the dataclasses of the options that a config's values name, for `OmegaConf.merge` before the values.

    Raises:
        ComposerError: nothing has registered a name.
    """
    chosen: dict[str, Any] = {}
    for kind in registry.kinds():
        about = KINDS[kind]
        group = _at(values, about.place or kind)
        if not isinstance(group, Mapping | DictConfig):
            continue
        if about.several:
            found: Any = {str(name): registry.keys(kind, str(name)) for name in group}
        elif about.named_by in group or kind in _NAMED_BEFORE:
            found = registry.keys(kind, str(group.get(about.named_by, _NAMED_BEFORE.get(kind))))
        else:
            continue
        for part in reversed((about.place or kind).split(".")):
            found = {part: found}
        chosen |= found
    return chosen


def parts_of(values: Any) -> list[tuple[str, str]]:
    """Return kind and name of each part that a config, or its values, choose."""
    found = []
    for kind, about in KINDS.items():
        if about.several:
            found += [(kind, str(name)) for name in _at(values, about.place or kind) or ()]
        elif about.keys is not None:
            found.append((kind, _at(values, f"{kind}.{about.named_by}")))
    found += [("split", _at(values, "data.split")), ("method", _at(values, "sampling.method"))]
    return [(kind, str(name)) for kind, name in found if name is not None]


def with_plugins(config: TrainConfig) -> TrainConfig:
    """Return a config whose `plugins` name all that its parts need, also those that are enabled in another way."""
    needed = plugins.of_parts(parts_of(config))
    return dataclasses.replace(config, plugins=sorted({*config.plugins, *needed}))


def _at(values: Any, key: str) -> Any:
    if isinstance(values, DictConfig):
        return OmegaConf.select(values, key, throw_on_missing=False)
    for name in key.split("."):
        values = values.get(name) if isinstance(values, Mapping) else getattr(values, name, None)
    return values


def _check_enabled(values: DictConfig) -> None:
    """Refuse a part of a plugin that is not enabled, and name the plugin.

    Raises:
        ComposerError: see above.
    """
    named = values.get("plugins") or []
    for kind, name in parts_of(values):
        missing = [str(module) for module in named if str(module) not in {p.module for p in plugins.enabled()}]
        if missing and name not in registry.names(kind):
            if "__main__" in missing:
                raise ComposerError(
                    f"{kind}={name} was registered in a notebook or script: register it there again, or move it to a "
                    "module and add plugins=[MODULE]"
                )
            wanted = ",".join(missing)
            raise ComposerError(
                f"{kind}={name} is of a plugin that is not enabled: add plugins=[{wanted}], or set "
                f"{plugins.VARIABLE}={wanted}"
            )


def _rename(values: DictConfig) -> None:
    """Give the keys of a file of an older version their present names."""
    schedule = OmegaConf.select(values, "optimizer.schedule")
    if schedule is not None and "scheduler" not in values:
        del values.optimizer["schedule"]
        values["scheduler"] = {"name": "none" if schedule == "constant" else schedule}
    # Networks, and penalties, once had the same keys.
    for kind in ("model", "regularizer"):
        group, name = values.get(kind), str(OmegaConf.select(values, f"{kind}.name"))
        if isinstance(group, DictConfig) and name in registry.names(kind):
            for key in set(map(str, group)) - {field.name for field in dataclasses.fields(registry.keys(kind, name))}:
                if key in _SHARED_BEFORE:
                    del group[key]
    augmentation = values.get("augmentation")
    if isinstance(augmentation, DictConfig) and "name" not in augmentation:
        same = all(augmentation.get(key, same) == same for key, same in _NOT_VARIED.items())
        augmentation["name"] = "none" if same else "all"


def _completed(config: DictConfig) -> DictConfig:
    """Return a config of an older version with the keys it lacks: the defaults of `conf/` for its groups."""
    choices = []
    for group, about in KINDS.items():
        if about.keys is None or about.several or OmegaConf.is_missing(config, group):
            continue
        value = OmegaConf.select(config, f"{group}.{about.named_by}", throw_on_missing=False)
        choices += [f"{group}={value}"] if value not in (None, MISSING) else []
    defaults = compose_node(choices, "train")
    for key, value in _MEANT_BEFORE.items():
        OmegaConf.update(defaults, key, value)
    given = OmegaConf.to_container(config, resolve=False, throw_on_missing=False)
    merged = OmegaConf.merge(defaults, _without_missing(given))
    assert isinstance(merged, DictConfig)
    return merged


def _without_missing(tree: Any) -> Any:
    """Return a nested dict without the keys that have no value."""
    if not isinstance(tree, dict):
        return tree
    return {key: _without_missing(value) for key, value in tree.items() if value != MISSING}


def _check_plain(text: str) -> None:
    """Refuse YAML that must not be built: an alias can expand to gigabytes, an escape can hide an interpolation."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent) or depth > _MAX_CONFIG_DEPTH:
            raise ComposerError("holds a YAML alias or too many levels, which a run's config never does")
        if isinstance(event, yaml.ScalarEvent) and "${" in event.value and interpolates(event.value):
            raise ComposerError("holds an interpolation, which a run's resolved config never does")


def differing_keys(left: TrainConfig, right: TrainConfig) -> list[str]:
    """Return the dotted keys in which two configs differ, in order."""
    one, two = flatten(dataclasses.asdict(left)), flatten(dataclasses.asdict(right))
    return [key for key in {**one, **two} if key not in one or key not in two or one[key] != two[key]]


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return `{"a": {"b": 1}}` as `{"a.b": 1}`, with enums as their names."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value.name if hasattr(value, "name") else value
    return flat
