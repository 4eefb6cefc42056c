"""Keyword arguments of the Python API as overrides of a config, `max_epochs=20` as `trainer.max_epochs=20`."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from composer.config.texts import quoted
from composer.errors import ComposerError, UsageError


def listed(overrides: Iterable[str]) -> list[str]:
    """Return overrides as a list; a single text is one override.

    Raises:
        UsageError: one is a flag of the command line, such as `-m`.
    """
    found = [overrides] if isinstance(overrides, str) else [str(override) for override in overrides]
    for override in found:
        if override.startswith("-"):
            raise UsageError(f"{override}: flags are for the command line; only key=value can be given here")
    return found


def from_keywords(keywords: Mapping[str, Any], keys: Sequence[str], function: str) -> list[str]:
    """Return `key=value` overrides of keyword arguments.

    Args:
        keywords: value by name. A name is a key with two underscores for each dot, or the last part of a key that no
            other key has.
        keys: the dotted keys that can be given.
        function: its name, for messages.

    Raises:
        ComposerError: there is no such key, several end in the name, or a value cannot be written as an override.
    """
    return [f"{_key(name, keys, function)}={_text(name, value)}" for name, value in keywords.items()]


def _key(name: str, keys: Sequence[str], function: str) -> str:
    dotted = name.replace("__", ".")
    if dotted in keys:
        return dotted
    ending = [key for key in keys if key.rpartition(".")[2] == name]
    if len(ending) == 1:
        return ending[0]
    if ending:
        several = " or ".join(key.replace(".", "__") for key in ending)
        raise ComposerError(f"{name}: several keys of {function} end so; write {several}")
    leaves = {key.rpartition(".")[2]: key for key in keys}
    near = difflib.get_close_matches(name.rpartition("__")[2], leaves, n=1)
    known = f"; did you mean {leaves[near[0]].replace('.', '__')}?" if near else ""
    raise ComposerError(f"{name}: no argument of {function}{known}")


def _text(name: str, value: Any) -> str:
    """Return a value by Hydra's grammar."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str | Path):
        return str(value) if re.fullmatch(r"[\w./]+", str(value)) else quoted(str(value))
    if isinstance(value, list | tuple):
        return f"[{','.join(_text(name, item) for item in value)}]"
    raise ComposerError(
        f"{name}: must be a number, a text, a bool, None or a list of these, not {type(value).__name__}"
    )
