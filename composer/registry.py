"""The parts that a config chooses by name, such as the optimiser `adam`: the keys of each, and what implements it.

A config, a run directory and a checkpoint hold the name, as data. Looking a name up imports nothing: a part is
registered by the module that holds it, and a name that nothing has registered is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from composer.errors import ComposerError, unknown_option

ClassType = TypeVar("ClassType", bound=type)
PartType = TypeVar("PartType", bound=Callable[..., Any])
EntryType = TypeVar("EntryType")

# By kind and name, the dataclass of the part's keys.
_KEYS: dict[str, dict[str, type[Any]]] = {}
# By kind and name, what makes the part from its config.
_PARTS: dict[str, dict[str, Callable[..., Any]]] = {}


def keys_of(kind: str, *names: str) -> Callable[[ClassType], ClassType]:
    """Register the decorated dataclass as the keys of the parts of some names.

    Args:
        kind: the group of configs, such as `optimizer`.
        names: the options of the group that have these keys.
    """

    def decorate(keys: ClassType) -> ClassType:
        for name in names:
            known = _KEYS.setdefault(kind, {}).setdefault(name, keys)
            # A module that is reloaded, as in a notebook, registers its parts again.
            if (known.__module__, known.__qualname__) != (keys.__module__, keys.__qualname__):
                other = f"{keys.__module__} must take another name"
                raise ComposerError(f"{kind}={name}: is registered by {known.__module__} already; {other}")
            _KEYS[kind][name] = keys
        return keys

    return decorate


def implements(kind: str, *names: str) -> Callable[[PartType], PartType]:
    """Register the decorated class or function as what makes the parts of some names."""

    def decorate(part: PartType) -> PartType:
        for name in names:
            _PARTS.setdefault(kind, {})[name] = part
        return part

    return decorate


def kinds() -> list[str]:
    """Return the kinds that have registered parts."""
    return list(_KEYS)


def names(kind: str) -> list[str]:
    """Return the names of the registered parts of a kind, in alphabetical order."""
    return sorted(_KEYS.get(kind, ()))


def keys(kind: str, name: str) -> type[Any]:
    """Return the dataclass of the keys of a part.

    Raises:
        ComposerError: nothing has registered the name.
    """
    return _found(_KEYS, kind, name)


def part(kind: str, name: str) -> Callable[..., Any]:
    """Return what makes a part from its config.

    Raises:
        ComposerError: nothing has registered the name.
    """
    return _found(_PARTS, kind, name)


def _found(table: Mapping[str, Mapping[str, EntryType]], kind: str, name: str) -> EntryType:
    try:
        return table[kind][name]
    except KeyError:
        raise unknown_option(kind, name, names(kind)) from None
