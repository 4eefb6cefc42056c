"""Config groups as plain values, for the hyperparameters of checkpoints, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from composer import registry
from composer.errors import ComposerError, one_line

GroupType = TypeVar("GroupType")


def to_plain(group: Any) -> dict[str, Any]:
    """Return the values of a config dataclass as nested dicts, lists, texts and numbers; enums by name."""
    plain = OmegaConf.to_container(OmegaConf.structured(group), enum_to_str=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def from_plain(schema: type[GroupType], values: GroupType | Mapping[str, Any]) -> GroupType:
    """Return a config dataclass from what `to_plain` returned, its limits checked; a dataclass is returned as it is.

    Raises:
        ComposerError: a key is unknown or missing, or a value is of the wrong type or outside its limits.
    """
    if isinstance(values, schema):
        return values
    assert isinstance(values, Mapping)
    kind = getattr(schema, "prefix", "").removesuffix(".")
    key = registry.KINDS[kind].named_by if kind in registry.KINDS else ""
    if key in values:
        schema = registry.keys(kind, str(values[key]))
    try:
        config: GroupType = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), dict(values)))  # type: ignore[assignment]
    except OmegaConfBaseException as error:
        raise ComposerError(one_line(error)) from error
    return config


def several_from_plain(kind: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the dataclasses of parts of which several are chosen, by name; see `from_plain`.

    Args:
        kind: such as `metrics`.
        values: keys of each part by its name, in plain values or as its dataclass.

    Raises:
        ComposerError: nothing has registered a name, or as for `from_plain`.
    """
    return {name: from_plain(registry.keys(kind, name), keys) for name, keys in values.items()}
