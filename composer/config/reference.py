"""Every key in words, read from the typed configs: for `--help`, for `composer explain`, and for docs/keys.md.

The meaning of a key is the text below its field. Type and limits come from its annotation, its default from `conf/`.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import re
import textwrap
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

from composer import registry
from composer.config.commands import SCHEMAS
from composer.config.keys import KeyField, fields_of
from composer.config.limits import Since, as_typed

FIRST_VERSION = "0.1.0"
REQUIRED = "required"
_TYPES = {int: "integer", float: "number", str: "text", bool: "true or false"}


@dataclass(frozen=True, slots=True)
class Key:
    """A key in words.

    Attributes:
        name: dotted, as it is typed.
        group: the node that it is in, `""` for the root.
        options: the options of the group that have the key, such as `optimizer=sgd`; empty where all have it.
        kind: its type.
        limits: what its value must be; empty where the type says it.
        meaning: what it does.
        since: the version that has it first.
    """

    name: str
    group: str
    options: tuple[str, ...]
    kind: str
    limits: str
    meaning: str
    since: str = FIRST_VERSION

    @property
    def values(self) -> str:
        """Type and limits together."""
        kind, _, null = self.kind.partition(" or null")
        nullable = "" if kind == self.kind else ", or null"
        if not self.limits:
            return self.kind
        if kind in ("", "text") or self.limits.startswith(("one of ", "a ", "null")):
            return self.limits + ("" if self.limits.startswith("null") else nullable)
        return f"{kind}, {self.limits}{nullable}"

    @property
    def summary(self) -> str:
        """The first sentence of the meaning, without markup."""
        return plain(re.split(r"(?<=[a-z\d`)])[.;](?: |$)", self.meaning, maxsplit=1)[0])


def plain(text: str) -> str:
    """Return text of a docstring without its backquotes."""
    return text.replace("`", "")


def keys(command: str) -> list[Key]:
    """Return every key of a command that holds a value, in the order of the typed configs."""
    # A key of several options is one key where its description is the same in all of them.
    found: dict[Key, list[str]] = {}
    for field in fields_of(SCHEMAS[command]):
        if field.name == "" or is_node(field.annotation) or _is_several(field):
            continue
        options = found.setdefault(describe(field), [])
        if field.option is not None:
            options.append(field.option)
    return [dataclasses.replace(key, options=_some(options)) for key, options in found.items()]


def _some(options: list[str]) -> tuple[str, ...]:
    """Return options of a group; none if they are all that the group has."""
    group = options[0].partition("=")[0] if options else ""
    return () if len(options) == len(registry.names(group)) else tuple(options)


def describe(field: KeyField) -> Key:
    """Return a key in words, without the options that have it."""
    annotation, extras = field.annotation, []
    if typing.get_origin(annotation) is typing.Annotated:
        annotation, *extras = typing.get_args(annotation)
    limits = [extra for extra in extras if not isinstance(extra, Since)]
    since = next((extra.version for extra in extras if isinstance(extra, Since)), FIRST_VERSION)
    return Key(
        name=field.key,
        group=field.key.rpartition(".")[0],
        options=(),
        kind=type_words(annotation),
        limits="; ".join(limit.words.partition(": ")[0] for limit in limits),
        # mypy takes the hash of a class for that of its instances.
        meaning=meanings(field.owner).get(field.name, ""),  # type: ignore[arg-type]
        since=since,
    )


def type_words(annotation: Any) -> str:
    """Return a type in words: `integer or null`; the empty text for any type."""
    if annotation is Any:
        return ""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        members = typing.get_args(annotation)
        words = [type_words(member) for member in members if member is not types.NoneType]
        return ", ".join(words) + (" or null" if types.NoneType in members else "")
    if typing.get_origin(annotation) is typing.Annotated:
        return type_words(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) is list:
        return f"list of {type_words(typing.get_args(annotation)[0])}s"
    if typing.get_origin(annotation) is dict:
        return "values by name"
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return f"one of {', '.join(annotation.__members__)}"
    return _TYPES.get(annotation, getattr(annotation, "__name__", ""))


def is_node(annotation: Any) -> bool:
    """Return whether a field holds other keys."""
    return dataclasses.is_dataclass(annotation)


def _is_several(field: KeyField) -> bool:
    """Return whether a field holds options by name, each with its keys."""
    if typing.get_origin(field.annotation) is not dict:
        return False
    return dataclasses.is_dataclass(typing.get_args(field.annotation)[1])


def value_text(value: Any) -> str:
    """Return a value as it is typed on the command line."""
    if isinstance(value, list | tuple):
        return f"[{','.join(map(value_text, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{name}:{value_text(inner)}' for name, inner in value.items())}}}"
    if isinstance(value, float):
        return f"{value:g}" if value != int(value) or abs(value) >= 1e6 else str(value)
    return str(as_typed(value))


@functools.cache
def meanings(schema: type[Any]) -> dict[str, str]:
    """Return the text below each field of a dataclass of keys and of its bases, as one paragraph.

    Empty where the source cannot be read, as of a class that was typed into a Python prompt.
    """
    found: dict[str, str] = {}
    for owner in reversed(schema.__mro__):
        if dataclasses.is_dataclass(owner):
            found |= dict(_field_docstrings(owner))
    return found


def _field_docstrings(owner: type[Any]) -> Iterator[tuple[str, str]]:
    try:
        parsed = ast.parse(textwrap.dedent(inspect.getsource(owner))).body[0]
    except (OSError, TypeError, SyntaxError):
        return
    assert isinstance(parsed, ast.ClassDef)
    for statement, below in zip(parsed.body, parsed.body[1:], strict=False):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            if (
                isinstance(below, ast.Expr)
                and isinstance(below.value, ast.Constant)
                and isinstance(below.value.value, str)
            ):
                yield statement.target.id, " ".join(below.value.value.split())


def paragraph(schema: type[Any]) -> str:
    """Return the first paragraph of a dataclass's docstring, as the description of its group or option."""
    return " ".join((inspect.getdoc(schema) or "").split("\n\n")[0].split())
