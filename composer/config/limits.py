"""Limits of config values as data, the loop that checks them, and constants that several groups of keys share.

A field's limit is in its annotation, `window_size: Annotated[int, at_least(1)]`. A relation between keys is a `require`
in the `check` of its group.
"""

from __future__ import annotations

import functools
import math
import numbers
import re
import types
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, ClassVar, Protocol, get_args, get_origin, get_type_hints

from composer import registry
from composer.errors import ComposerError

SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

# The channels of an event, everywhere in this order.
CHANNELS = ("note", "velocity", "time")
# How the classes of a channel are cut before one is drawn, each a key of its own.
CUTS = ("temperature", "top_k", "top_p", "min_p")


class Limit(Protocol):
    """What a value must be."""

    @property
    def words(self) -> str:
        """The limit as a message gives it, after "must be"."""

    def faults(self, value: Any) -> Iterator[object]:
        """Yield each part of `value` that is outside the limit: the value itself, or elements of a list."""


@dataclass(frozen=True, slots=True)
class Range:
    """Bounds of a number; NaN is outside all of them.

    Attributes:
        words: the bounds in words.
        least: lowest number inside.
        most: highest number inside.
        above: highest number outside, below the range.
        below: lowest number outside, above the range.
        for_zero: what to write in place of 0; empty where there is nothing.
    """

    words: str
    least: float = -math.inf
    most: float = math.inf
    above: float | None = None
    below: float | None = None
    for_zero: str = ""

    def faults(self, value: Any) -> Iterator[object]:
        """Yield `value` if it is outside the bounds."""
        number = float(value) if isinstance(value, numbers.Real) else math.nan
        inside = self.least <= number <= self.most
        inside = inside and (self.above is None or number > self.above)
        if not (inside and (self.below is None or number < self.below)):
            yield value


@dataclass(frozen=True, slots=True)
class Amount:
    """A whole number, or a share where it is written with a point, which no type of OmegaConf says in a group.

    Attributes:
        words: the limit in words.
        least: the lowest whole number.
        null: whether the value may be null.
    """

    words: str
    least: int = 0
    null: bool = True

    def faults(self, value: Any) -> Iterator[object]:
        """Yield `value` if it is neither."""
        if value is None and self.null:
            return
        whole = isinstance(value, int) and not isinstance(value, bool) and value >= self.least
        if not whole and not (isinstance(value, float) and (0 < value <= 1 or value == self.least == 0)):
            yield value


@dataclass(frozen=True, slots=True)
class Registered:
    """The name of a registered part.

    Attributes:
        kind: of the part.
    """

    kind: str

    @property
    def words(self) -> str:
        """The names, in words."""
        return f"one of {', '.join(registry.names(self.kind))}"

    def faults(self, value: Any) -> Iterator[object]:
        """Yield `value` if nothing has registered it."""
        if value not in registry.names(self.kind):
            yield value


@dataclass(frozen=True, slots=True)
class OneOf:
    """A text out of several."""

    options: tuple[str, ...]

    @property
    def words(self) -> str:
        """The options in words."""
        return f"one of {', '.join(self.options)}" if len(self.options) > 2 else " or ".join(self.options)

    def faults(self, value: Any) -> Iterator[object]:
        """Yield `value` if it is no option."""
        if value not in self.options:
            yield value


@dataclass(frozen=True, slots=True)
class Matching:
    """A text that a pattern matches as a whole."""

    words: str
    pattern: re.Pattern[str]

    def faults(self, value: Any) -> Iterator[object]:
        """Yield `value` if the pattern does not match it."""
        if not isinstance(value, str) or self.pattern.fullmatch(value) is None:
            yield value


@dataclass(frozen=True, slots=True)
class NotEmpty:
    """A list with at least one number."""

    words: str = "a list of at least one number"

    def faults(self, value: Any) -> Iterator[object]:
        """Yield an empty list."""
        if not value:
            yield value


@dataclass(frozen=True, slots=True)
class Each:
    """A list each of whose elements is within a limit; `suffix` follows the words of that limit."""

    limit: Limit
    suffix: str = ""

    @property
    def words(self) -> str:
        """The limit of an element."""
        return self.limit.words + self.suffix

    def faults(self, value: Any) -> Iterator[object]:
        """Yield the elements outside the limit."""
        for element in value:
            yield from self.limit.faults(element)


@dataclass(frozen=True, slots=True)
class Since:
    """Marks a key that came after the first version: `Annotated[int, COUNT, Since("0.2.0")]`."""

    version: str


@dataclass(frozen=True, slots=True)
class Values:
    """The values of a key in words, where no type of OmegaConf says them and the `check` of its group compares them."""

    words: str


def at_least(least: float) -> Range:
    """Return the limit of numbers from `least` on."""
    return Range(f"at least {least}", least=least)


def between(least: float, most: float) -> Range:
    """Return the limit of numbers from `least` to `most`, both included."""
    return Range(f"from {least} to {most}", least=least, most=most)


ABOVE_0 = Range("above 0", above=0)
POSITIVE = Range("finite and above 0", above=0, below=math.inf)
NOT_NEGATIVE = Range("a finite number >= 0", least=0, below=math.inf)
BELOW_1 = Range("at least 0 and less than 1", least=0, below=1)
UP_TO_1 = Range("above 0 up to 1", above=0, most=1)
COUNT = at_least(1)
PITCH = between(0, 127)

Seed = Annotated[int, between(0, 2**32 - 1)]


class Group:
    """Base of the dataclasses of keys: on construction every field is compared with its limits.

    A subclass defines `check` for relations between its keys. (`super()` without arguments does not work in them: a
    dataclass with slots is a new class.)
    """

    __slots__ = ()
    # What stands before the name of a field in its key.
    prefix: ClassVar[str] = ""

    def __post_init__(self) -> None:
        # mypy takes the hash of a class for that of its instances.
        for name, (limits, nullable) in limits_of(type(self)).items():  # type: ignore[arg-type]
            value = getattr(self, name)
            if value is None and nullable:
                continue
            for limit in limits:
                for fault in limit.faults(value):
                    hint = getattr(limit, "for_zero", "") if fault == 0 else ""
                    words = (_or_null(limit.words) if nullable else limit.words) + (f"; {hint}" if hint else "")
                    require(False, self.prefix + name, fault, words)
        self.check()

    def check(self) -> None:
        """Check relations between keys; raises a `ComposerError`."""

    def require(self, holds: bool, name: str, limit: str) -> None:
        """Raise a `ComposerError` that names the key of a field, its value and the limit unless `holds`."""
        require(holds, self.prefix + name, getattr(self, name), limit)


def require(holds: bool, key: str, value: object, limit: str) -> None:
    """Raise a `ComposerError` that names `key`, its `value` and the `limit` unless `holds`."""
    if not holds:
        raise ComposerError(f"{key}={as_typed(value)}: must be {limit}")


def check_name(kind: str, config: Any, key: str = "name") -> None:
    """Check that the keys of a config are those of the registered part that it names.

    Args:
        kind: of the part.
        config: the keys.
        key: the field with the name.

    Raises:
        ComposerError: the name is unknown, or the part has other keys.
    """
    name = getattr(config, key)
    if registry.keys(kind, name) is not type(config):
        raise ComposerError(f"{kind}.{key}={name}: has other keys; choose it as {kind}={name}")


@functools.cache
def limits_of(schema: type[Any]) -> dict[str, tuple[list[Limit], bool]]:
    """Return the limits of each field of a dataclass that has some, and whether the field may be null."""
    found = {}
    for name, hint in get_type_hints(schema, include_extras=True).items():
        if get_origin(hint) is Annotated:
            kind, *limits = get_args(hint)
            limits = [limit for limit in limits if not isinstance(limit, Since | Values)]
            if limits:
                found[name] = limits, types.NoneType in get_args(kind)
    return found


def _or_null(words: str) -> str:
    one_bound = re.fullmatch(r"(at least|above) \S+", words)
    return f"null or {words}" if one_bound else f"null, or {words}"


def as_typed(value: object) -> object:
    """Return a value as it is typed on the command line."""
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, bool):
        return "true" if value else "false"
    return "null" if value is None else value
