"""Keyword arguments of `Composer.generate`: the keys of `SamplingConfig`, whose values are those of `conf/`."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from dataclasses import fields
from enum import Enum
from typing import Any, ClassVar, TypeVar, get_type_hints

from composer.config.compose import generate_defaults
from composer.config.sampling import SamplingConfig
from composer.errors import ComposerError

# One call composes one piece.
KEYS = [field.name for field in fields(SamplingConfig) if field.name != "n"]

Function = TypeVar("Function", bound=Callable[..., Any])


class _Settings(SamplingConfig):
    """Sampling settings whose limits name an argument, not a key of a config."""

    prefix: ClassVar[str] = ""


class _OfConfig:
    """Stands in a signature for a value of `conf/`."""

    def __repr__(self) -> str:
        return "<conf>"


def sampling_from(arguments: dict[str, Any]) -> SamplingConfig:
    """Return the sampling settings of `composer generate` for one piece, with `arguments` in place of its own.

    Raises:
        ComposerError: there is no such key, or a value is outside its limits.
    """
    for key in arguments.keys() - set(KEYS):
        near = difflib.get_close_matches(key, KEYS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(KEYS)}"
        raise ComposerError(f"{key}: no argument of generate; {hint}")
    values = {key: getattr(generate_defaults(), key) for key in KEYS}
    values |= {key: _member(type(values[key]), key, value) for key, value in arguments.items()}
    return _Settings(**values, n=1)


def _member(kind: type[Any], key: str, value: Any) -> Any:
    """Return the member of an enumeration that a text names; any other value as it is."""
    if not issubclass(kind, Enum) or isinstance(value, kind):
        return value
    if value not in kind.__members__:
        raise ComposerError(f"{key}={value}: must be one of {', '.join(kind.__members__)}")
    return kind[value]


def shows_sampling_keys(function: Function) -> Function:
    """Return decorate a function that takes `**sampling`: its signature, for help and completion, names every key."""
    own, hints = inspect.signature(function), get_type_hints(SamplingConfig)
    named = [p for p in own.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    for key in KEYS:
        # A name out of an enumeration is given as text.
        hint = str if inspect.isclass(hints[key]) and issubclass(hints[key], Enum) else hints[key]
        named.append(inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=_OfConfig(), annotation=hint))
    function.__signature__ = own.replace(parameters=named)  # type: ignore[attr-defined]
    return function
