"""The parts that a config chooses by name, such as the optimiser `adam`: the keys of each, and what implements it.

A config, a run directory and a checkpoint hold the name, as data. Looking a name up imports nothing: a part is
registered by the module that holds it, and a name that nothing has registered is refused. Our own parts are registered
by `keys_of` and `implements`, because their keys are read without torch; a package of the user's by `register`, which
does both and checks the part against the contract of its kind.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from composer.errors import ComposerError, unknown_option

ClassType = TypeVar("ClassType", bound=type)
PartType = TypeVar("PartType", bound=Callable[..., Any])
EntryType = TypeVar("EntryType")

# By kind and name, the dataclass of the part's keys.
_KEYS: dict[str, dict[str, type[Any]]] = {}
# Kind and name of our own parts.
_RESERVED: set[tuple[str, str]] = set()
# By kind and name, what makes the part from its config.
_PARTS: dict[str, dict[str, Callable[..., Any]]] = {}


@dataclass(frozen=True, slots=True)
class Contract:
    """What a part of a kind must be.

    Attributes:
        base: the class that it is derived from.
        required: names of methods of which it must define at least one; with none, the base suffices.
        capabilities: names of class attributes that its keys get too, for checks of a config that need no torch.
    """

    base: type[Any]
    required: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()

    def check(self, part: Any, label: str) -> None:
        """Check a part.

        Raises:
            ComposerError: names the part and what it lacks.
        """
        if not (inspect.isclass(part) and issubclass(part, self.base)):
            raise ComposerError(f"{label}: must be a class derived from composer.{self.base.__name__}")
        if self.required and all(getattr(part, name) is getattr(self.base, name) for name in self.required):
            wanted = " or ".join(f"{name}({', '.join(_arguments(self.base, name))})" for name in self.required)
            raise ComposerError(f"{label}: must define {wanted}; see composer.{self.base.__name__}")
        # A method of the base that is defined anew is called with the base's arguments.
        for name, method in vars(self.base).items():
            if name.startswith("__") and name not in ("__init__", "__call__") or not inspect.isfunction(method):
                continue
            own = inspect.getattr_static(part, name)
            if inspect.isfunction(own) and own is not method:
                self._check_arguments(own, name, label)

    def _check_arguments(self, own: Callable[..., Any], name: str, label: str) -> None:
        theirs = inspect.signature(getattr(self.base, name)).parameters.values()
        positional = [p for p in theirs if p.kind is not inspect.Parameter.KEYWORD_ONLY]
        named = {p.name: None for p in theirs if p.kind is inspect.Parameter.KEYWORD_ONLY}
        try:
            inspect.signature(own).bind(*positional, **named)
        except TypeError:
            wanted = ", ".join(["self", *_arguments(self.base, name)])
            raise ComposerError(f"{label}.{name}: must take ({wanted})") from None


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of part, named as the group of configs that chooses it.

    Attributes:
        keys: where the dataclass is that the keys of its parts are derived from, as `module:name`; None where a part
            has no keys of its own.
        contract: where its `Contract` is, likewise; None where a part is a function of its config.
        several: whether several parts are chosen at once, each with its keys below the group and its name.
        defaults: the file of `conf/` in the group with values of keys that a part does not set.
        named_by: the key of the group that holds the name of the part.
        place: where its node is in the config of a training; None where the group is.
    """

    keys: str | None
    contract: str | None = None
    several: bool = False
    defaults: str | None = None
    named_by: str = "name"
    place: str | None = None


KINDS = {
    "model": Kind("composer.config.model:ModelConfig", "composer.nets.network:CONTRACT", defaults="base/network"),
    "regularizer": Kind(
        "composer.config.training:RegularizerConfig", "composer.training.regularizers:CONTRACT", defaults="base/penalty"
    ),
    "loss_terms": Kind("composer.config.training:LossTermConfig", "composer.training.terms:TERMS", several=True),
    "metrics": Kind("composer.config.training:MetricConfig", "composer.training.terms:METRICS", several=True),
    "data": Kind(
        "composer.config.data:DataConfig",
        "composer.corpus.corpus:CONTRACT",
        defaults="base/windows",
        named_by="source",
    ),
    "split": Kind(None, "composer.data.splits:CONTRACT"),
    "augmentation": Kind("composer.config.data:AugmentationConfig", "composer.data.augmentation:CONTRACT"),
    "rules": Kind(
        "composer.config.sampling:RuleConfig",
        "composer.composing.named_rules:CONTRACT",
        several=True,
        place="sampling.rules",
    ),
    "method": Kind(None, "composer.composing.sampling:CONTRACT"),
    "optimizer": Kind("composer.config.optimizers:OptimizerConfig", defaults="base/optimizer"),
    "scheduler": Kind("composer.config.optimizers:SchedulerConfig"),
    "logger": Kind("composer.config.loggers:LoggerConfig", several=True),
    "callbacks": Kind("composer.config.callbacks:CallbackConfig", several=True),
}
# Groups of which several options are chosen at once: below the group each option has a node of its name.
SEVERAL = tuple(name for name, kind in KINDS.items() if kind.several)


def register(kind: str, name: str, keys: type[Any] | None = None) -> Callable[[PartType], PartType]:
    """Register the decorated class, or function of a config, as a part that configs choose by `KIND=NAME`.

    >>> @composer.register("model", "conv", ConvConfig)             # doctest: +SKIP
    ... class ConvNet(composer.Network): ...

    Args:
        kind: `model`, `regularizer`, `loss_terms`, `metrics`, `data`, `split`, `augmentation`, `rules`, `method`,
            `optimizer`, `scheduler`, `logger` or `callbacks`.
        name: of lower-case letters, digits and underscores.
        keys: dataclass of its keys, with types and limits, derived from that of the kind such as
            `composer.ModelConfig`; None has the keys of the kind alone.

    Raises:
        ComposerError: the kind is unknown, the name is taken, or the part or its keys do not fit the kind; one line
            that names the class and the method or field.
    """
    if kind not in KINDS:
        raise unknown_option("kind", kind, KINDS)
    if not name.isidentifier() or name != name.lower():
        raise ComposerError(f"{kind}={name}: a name has lower-case letters, digits and underscores")
    about = KINDS[kind]

    def decorate(part: PartType) -> PartType:
        label = f"{kind}={name}: {getattr(part, '__qualname__', part)}"
        contract: Contract | None = None if about.contract is None else _load(about.contract)
        if contract is not None:
            contract.check(part, label)
        elif not callable(part):
            raise ComposerError(f"{label}: must be a function of its config")
        if (kind, name) in _RESERVED:
            # Also where our own part is not imported yet.
            other = f"{part.__module__} must take another name"
            raise ComposerError(f"{kind}={name}: is registered by composer already; {other}")
        _check_owner(_PARTS, kind, name, part)
        if about.keys is not None:
            _register_keys(kind, name, keys, _load(about.keys))
            for capability in () if contract is None else contract.capabilities:
                setattr(_KEYS[kind][name], capability, getattr(part, capability))
        elif keys is not None:
            raise ComposerError(f"{kind}={name}: {keys.__name__}: a part of this kind has no keys of its own")
        else:
            _KEYS.setdefault(kind, {})[name] = NoKeys
        return implements(kind, name)(part)

    return decorate


@dataclass(frozen=True, slots=True)
class NoKeys:
    """Keys of a part of a kind whose parts have none of their own."""


def _register_keys(kind: str, name: str, keys: type[Any] | None, base: type[Any]) -> None:
    if keys is None:
        keys = type(f"{base.__name__}Of{name.title()}", (base,), {"__slots__": (), "__module__": base.__module__})
        _KEYS.setdefault(kind, {})[name] = keys
    else:
        if not (inspect.isclass(keys) and issubclass(keys, base) and dataclasses.is_dataclass(keys)):
            named = getattr(keys, "__name__", keys)
            raise ComposerError(f"{kind}={name}: {named}: must be a dataclass derived from composer.{base.__name__}")
        if keys is not base and "__dataclass_fields__" not in vars(keys):
            raise ComposerError(f"{kind}={name}: {keys.__name__}: lacks @dataclass(kw_only=True)")
        _check_owner(_KEYS, kind, name, keys)
        _KEYS.setdefault(kind, {})[name] = keys
    if KINDS[kind].several:
        keys.prefix = f"{kind}.{name}."


def _arguments(base: type[Any], name: str) -> list[str]:
    return list(inspect.signature(getattr(base, name)).parameters)[1:]


def _load(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


def keys_of(kind: str, *names: str) -> Callable[[ClassType], ClassType]:
    """Register the decorated dataclass as the keys of the parts of some names.

    Args:
        kind: the group of configs, such as `optimizer`.
        names: the options of the group that have these keys.
    """

    def decorate(keys: ClassType) -> ClassType:
        for name in names:
            _check_owner(_KEYS, kind, name, keys)
            _KEYS.setdefault(kind, {})[name] = keys
            _RESERVED.add((kind, name))
        return keys

    return decorate


def _check_owner(table: Mapping[str, Mapping[str, Any]], kind: str, name: str, part: Any) -> None:
    """Refuse a name that another module has registered."""
    known = table.get(kind, {}).get(name)
    # A module that is reloaded, as in a notebook, registers its parts again.
    if known is not None and known.__module__ != part.__module__:
        other = f"{part.__module__} must take another name"
        raise ComposerError(f"{kind}={name}: is registered by {known.__module__} already; {other}")


def implements(kind: str, *names: str) -> Callable[[PartType], PartType]:
    """Register the decorated class or function as what makes the parts of some names."""

    def decorate(part: PartType) -> PartType:
        for name in names:
            _PARTS.setdefault(kind, {})[name] = part
        return part

    return decorate


def kinds() -> list[str]:
    """Return the kinds whose parts have keys of their own."""
    return [kind for kind, about in KINDS.items() if about.keys is not None]


def names(kind: str) -> list[str]:
    """Return the names of the registered parts of a kind, in alphabetical order."""
    return sorted(_KEYS.get(kind, ()))


def name_of(kind: str, implementation: Any) -> str:
    """Return the name that a class or function is registered under.

    Raises:
        ComposerError: it is not registered.
    """
    for name, part in _PARTS.get(kind, {}).items():
        if part is implementation:
            return name
    label = getattr(implementation, "__qualname__", implementation)
    raise ComposerError(f"{label}: is not registered as {kind}; decorate it with @composer.register({kind!r}, NAME)")


def owners() -> dict[tuple[str, str], str]:
    """Return the module of each part, by kind and name; of a part whose implementation is not imported, of its keys."""
    return {
        (kind, name): part.__module__
        for table in (_KEYS, _PARTS)
        for kind, parts in table.items()
        for name, part in parts.items()
    }


def keys(kind: str, name: str) -> type[Any]:
    """Return the dataclass of the keys of a part.

    Raises:
        ComposerError: nothing has registered the name.
    """
    return _found(_KEYS, kind, name)


def is_implemented(kind: str, name: str) -> bool:
    """Return whether what makes a part is imported."""
    return name in _PARTS.get(kind, {})


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
