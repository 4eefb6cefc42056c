"""Texts on the command line: a path, label or title is taken as typed, without Hydra's grammar and interpolations."""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override, Quote, QuotedString
from hydra.errors import HydraException

from composer.config.limits import OneOf, Registered
from composer.files import user_path

# Backslashes before an interpolation; an odd number makes it literal.
_INTERPOLATION = re.compile(r"(\\*)\$\{")


def escaped(text: str) -> str:
    """Return the text that OmegaConf resolves to `text`, whose `${...}` it would interpolate else."""
    return _INTERPOLATION.sub(lambda found: found[1] * 2 + r"\${", text)


def unescaped(text: str) -> str:
    """Return the text that `escaped` was given."""
    return _INTERPOLATION.sub(lambda found: found[1][: len(found[1]) // 2] + "${", text)


def interpolates(text: str) -> bool:
    """Return whether OmegaConf would interpolate the text."""
    return any(len(found[1]) % 2 == 0 for found in _INTERPOLATION.finditer(text))


def escaped_tree(tree: Any) -> Any:
    """Return a nested dataclass, dict or list with every text in it `escaped`."""
    return _changed(tree, escaped)


def unescaped_tree(tree: Any) -> Any:
    """Return a nested dict or list with every text in it `unescaped`."""
    return _changed(tree, unescaped)


def _changed(tree: Any, change: Callable[[str], str]) -> Any:
    if isinstance(tree, str):
        return change(tree)
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        fields = {field.name: getattr(tree, field.name) for field in dataclasses.fields(tree)}
        return dataclasses.replace(tree, **_changed(fields, change))
    if isinstance(tree, Mapping):
        return {key: _changed(value, change) for key, value in tree.items()}
    return [_changed(value, change) for value in tree] if isinstance(tree, list | tuple) else tree


def quoted(text: str) -> str:
    """Return a text as an override's value by Hydra's grammar: in quotes, its interpolations escaped."""
    return _in_quotes(escaped(text))


def _in_quotes(text: str) -> str:
    # A backslash is literal unless it precedes a quote.
    inside = re.sub(r"(\\*)('|$)", lambda found: found[1] * 2 + ("\\'" if found[2] else ""), text)
    return f"'{inside}'"


def is_text(annotation: Any) -> bool:
    """Return whether a config key of this annotation holds any text: a path, a label or a title."""
    limits: tuple[object, ...] = ()
    if typing.get_origin(annotation) is Annotated:
        annotation, *limits = typing.get_args(annotation)  # type: ignore[assignment]
    union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    kinds = set(typing.get_args(annotation)) if union else {annotation}
    return kinds - {type(None)} == {str} and not any(isinstance(limit, OneOf | Registered) for limit in limits)


def as_typed(arguments: Sequence[str], keys: frozenset[str], *, lists: bool, sweeping: bool) -> list[str]:
    """Quote the values of keys that hold text, so that Hydra takes them as they were typed.

    Args:
        arguments: the command line.
        keys: that hold text.
        lists: whether the command takes several values, `data.path=A,B`; a label of `composer compare` has commas.
        sweeping: whether they are swept (`-m`); else Hydra says that `-m` is missing.
    """
    return [_as_typed(argument, keys, lists, sweeping) for argument in arguments]


def _as_typed(argument: str, keys: frozenset[str], lists: bool, sweeping: bool) -> str:
    found = re.fullmatch(r"(\+{0,2}([\w.]+)=)(.*)", argument, re.DOTALL)
    if found is None or found[2] not in keys or found[3] in ("", "null", "???"):
        return argument
    begin, value = found[1], found[3]
    override = _parsed(f"{begin}{value}")
    choice = override.value() if override is not None and override.is_sweep_override() else None
    if choice is not None and (sweeping or lists) and not exists(value):
        if not sweeping or not isinstance(choice, ChoiceSweep) or "${" not in value:
            return argument
        return begin + ",".join(_element(element) for element in choice.list)
    if sweeping and override is None and "," in value and not exists(value):
        return begin + ",".join(quoted(part) for part in value.split(","))
    if override is not None and choice is None and value[0] in "'\"":
        return begin + _element(QuotedString(str(override.value()), Quote.single))
    return begin + quoted(value)


def _parsed(argument: str) -> Override | None:
    try:
        return OverridesParser.create().parse_override(argument)
    except HydraException:
        return None


def _element(element: Any) -> str:
    """Return one value by Hydra's grammar; what was typed in its quotes may be escaped already."""
    if isinstance(element, QuotedString):
        text = _INTERPOLATION.sub(lambda m: m[0] if len(m[1]) % 2 else m[1] + r"\${", element.text)
        return _in_quotes(text)
    if element is None:
        return "null"
    return quoted(element) if isinstance(element, str) else str(element).lower()


def exists(path: str) -> bool:
    """Return whether a text is the path of a file or folder."""
    try:
        return user_path(path).exists()
    except (OSError, ValueError, RuntimeError):
        return False
