"""Keys on the command line: parse overrides, reject unknown keys and suggest the nearest one."""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import re
import typing
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Glob, Override, QuotedString
from hydra.errors import HydraException

from composer import registry
from composer.config import texts
from composer.config.commands import SCHEMAS
from composer.config.paths import CONF_DIR
from composer.config.texts import exists, is_text, quoted
from composer.config.trainer import ELSEWHERE
from composer.errors import ComposerError, UsageError, one_line
from composer.registry import SEVERAL

# By command, the groups whose keys stand in another node than that of the group's name, and what Hydra calls them.
_AT_ROOT = {"sampling": "sampling@_global_", "rules": "rules"}
HYDRA_NAMES = {"generate": _AT_ROOT, "live": _AT_ROOT, "train": {"rules": "rules@sampling.rules"}}
# What these keys are called elsewhere.
OTHER_NAMES = {
    "l1_lambda": "regularizer.weight",
    "lambda": "regularizer.weight",
    "l1": "regularizer.weight",
    "l2": "regularizer.weight",
    "learning_rate": "optimizer.lr",
    "epochs": "trainer.max_epochs",
    "layers": "model.num_layers",
    "hidden": "model.hidden_size",
    "schedule": "scheduler",
    "lr_scheduler": "scheduler",
}


def schema_keys(schema: type[Any], prefix: str = "") -> list[str]:
    """Return every dotted key of a schema, nodes and leaves; of a group with options of different keys, all of them."""
    return list(_annotations(schema, prefix))


def text_keys(command: str) -> frozenset[str]:
    """Return the dotted keys of a command that hold any text; see `texts.is_text`."""
    return frozenset(key for key, annotation in _annotations(SCHEMAS[command], "").items() if is_text(annotation))


def _annotations(schema: type[Any], prefix: str) -> dict[str, Any]:
    """Return the annotation of every dotted key of a schema."""
    return {field.key: field.annotation for field in fields_of(schema, prefix)}


@dataclass(frozen=True, slots=True)
class KeyField:
    """A dotted key of a command, and where it is declared.

    Attributes:
        key: such as `model.dropout`.
        owner: the dataclass of the group that has the field; one that inherits it, not the one that declares it.
        name: of the field; empty for the node of an option of several, such as `logger.csv`.
        annotation: its type, with limits; None for such a node.
        option: the option of the group that has the key, such as `optimizer=sgd`; None where every option has it.
    """

    key: str
    owner: type[Any]
    name: str
    annotation: Any
    option: str | None = None


def fields_of(schema: type[Any], prefix: str = "", option: str | None = None) -> Iterator[KeyField]:
    """Yield every key of a schema, nodes and leaves; of a group whose options have different keys, those of each."""
    hints = typing.get_type_hints(schema)
    annotated = typing.get_type_hints(schema, include_extras=True)
    for field in dataclasses.fields(schema):
        key = prefix + field.name
        yield KeyField(key, schema, field.name, annotated[field.name], option)
        several = field.name in SEVERAL
        options = registry.names(field.name) if several or not prefix else []
        if several:
            for name in options:
                keys = registry.keys(field.name, name)
                yield KeyField(f"{key}.{name}", keys, "", None, f"{field.name}={name}")
                yield from fields_of(keys, f"{key}.{name}.", f"{field.name}={name}")
        elif dataclasses.is_dataclass(hints[field.name]):
            shared = {inner.name for inner in dataclasses.fields(hints[field.name])}
            yield from fields_of(hints[field.name], f"{key}.", option)
            # Other commands have nodes of the same name that are no group, such as `data` of composer evaluate.
            chosen = [name for name in options if issubclass(registry.keys(key, name), hints[field.name])]
            for name in chosen:
                own = fields_of(registry.keys(key, name), f"{key}.", f"{key}={name}")
                yield from (inner for inner in own if inner.key.removeprefix(f"{key}.") not in shared)


def options_of_group(group: str) -> list[str]:
    """Return the options of a group of configs: files of `conf/`, and registered parts."""
    names = registry.names(group) if group in registry.kinds() else []
    return sorted({*(path.stem for path in (CONF_DIR / group).glob("*.yaml")), *names})


def groups_of(command: str) -> list[str]:
    """Return the groups of configs that a command can choose from."""
    if command == "train":
        return [path.name for path in sorted(CONF_DIR.iterdir()) if path.is_dir() and path.name != "hydra"]
    return {"explore": ["data", "encoding"]}.get(command, list(HYDRA_NAMES.get(command, ())))


def own_folders(arguments: Sequence[str]) -> list[Path]:
    """Return the folders of the user's configs that arguments name, by `--config-dir` or `hydra.searchpath`."""
    folders: list[Path] = []
    for before, text in zip(["", *arguments], arguments, strict=False):
        flag, _, value = text.partition("=")
        if flag in ("--config-dir", "-cd") and value:
            folders.append(Path(value))
        elif before in ("--config-dir", "-cd"):
            folders.append(Path(text))
        elif flag.lstrip("+") == "hydra.searchpath":
            entries = value.strip("[]").split(",")
            folders += [Path(entry.strip(" '\"").removeprefix("file://")) for entry in entries]
    return folders


def options_with(key: str) -> list[str]:
    """Return the options of the group of a dotted key, such as `optimizer=sgd`, that have the key."""
    group, _, rest = key.partition(".")
    if group in SEVERAL:
        option = rest.split(".")[0]
        return [f"{group}={option}"] if option in registry.names(group) else []
    options = registry.names(group)
    return [f"{group}={option}" for option in options if key in schema_keys(registry.keys(group, option), f"{group}.")]


# Hydra's own flags, as `--hydra-help` lists them: alone, with a value, and with a value that may be left out. (Hydra's
# parser is not public.)
FLAGS = (
    *(("--help", "-h"), ("--hydra-help",), ("--version",), ("--resolve",), ("--run", "-r"), ("--multirun", "-m")),
    ("--shell-completion", "-sc"),
)
FLAGS_WITH_VALUE = (
    *(("--cfg", "-c"), ("--package", "-p"), ("--config-path", "-cp"), ("--config-name", "-cn")),
    *(("--config-dir", "-cd"), ("--experimental-rerun",)),
)
FLAGS_WITH_OPTION = (("--info", "-i"),)


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line with the way out."""

    arguments: Sequence[str] = ()

    def error(self, message: str) -> NoReturn:
        unknown = re.match(r"unrecognized arguments: (--?[\w.-]+)(?:=(\S+))?", message)
        if unknown is None:
            raise UsageError(f"{message}; flags are those of --hydra-help, keys are written key=value")
        flag, value = unknown.groups()
        after = self.arguments[self.arguments.index(flag) + 1 :] if flag in self.arguments else []
        value = value or next((text for text in after[:1] if "=" not in text and not text.startswith("-")), "VALUE")
        key = flag.lstrip("-").replace("-", "_")
        raise UsageError(
            f"{flag}: there is no such flag; keys are written key=value: {OTHER_NAMES.get(key, key)}={value}"
        )


def overrides_of(arguments: Sequence[str]) -> list[str]:
    """Return the arguments that are no flags of Hydra such as `-m`, nor values of flags."""
    return _parsed(arguments).overrides  # type: ignore[no-any-return]


def flags_first(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with Hydra's flags and their values first: Hydra takes no flag between overrides."""
    rest = overrides_of(arguments)
    first = list(arguments)
    for override in reversed(rest):
        del first[len(first) - 1 - first[::-1].index(override)]
    return [*first, *rest]


def flag_given(arguments: Sequence[str], name: str) -> bool:
    """Return whether a flag of Hydra, by its long name without dashes, is among the arguments."""
    return bool(getattr(_parsed(arguments), name.replace("-", "_")))


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    parser = _Parser(add_help=False, allow_abbrev=False)
    parser.arguments = list(arguments)
    for names in FLAGS:
        parser.add_argument(*names, action="store_true")
    for names in FLAGS_WITH_VALUE:
        parser.add_argument(*names)
    for names in FLAGS_WITH_OPTION:
        parser.add_argument(*names, nargs="?")
    parser.add_argument("overrides", nargs="*")
    return parser.parse_intermixed_args(list(arguments))


def parse_overrides(arguments: Iterable[str]) -> list[Override]:
    """Parse `key=value` arguments by Hydra's grammar.

    Raises:
        UsageError: an argument is not of the form `key=value`.
    """
    overrides = []
    for argument in arguments:
        try:
            overrides.append(OverridesParser.create().parse_override(argument))
        except HydraException as error:
            raise UsageError(f"{argument}: not understood; write key=value ({one_line(error)})") from error
    return overrides


def as_typed(arguments: Sequence[str], command: str) -> list[str]:
    """Quote the values of a command's keys that hold text; see `texts.as_typed`.

    Args:
        arguments: the command line, or overrides alone.
        command: whose keys they are.
    """
    sweeping = flag_given(arguments, "multirun")
    return texts.as_typed(arguments, text_keys(command), lists=command == "train", sweeping=sweeping)


def path_first(arguments: Sequence[str], key: str, command: str) -> list[str]:
    """Add the key to a path that was typed without it: `RUN_DIR n=4` as `run='RUN_DIR' n=4`.

    Args:
        arguments: as typed. The path is the argument without `=` that no flag takes, or whose key there is not.
        key: of the path.
        command: whose arguments they are.

    Raises:
        UsageError: more than one path.
    """
    known = set(schema_keys(SCHEMAS[command]))
    paths = [a for a in overrides_of(arguments) if "=" not in a or (_key_of(a) not in known and exists(a))]
    if len(paths) > 1:
        raise UsageError(f"{paths[1]}: one {key} at a time; a key is written key=value")
    changed = list(arguments)
    if paths:
        changed[changed.index(paths[0])] = f"{key}={quoted(paths[0])}"
    return changed


def _key_of(argument: str) -> str:
    return argument.partition("=")[0].lstrip("+~")


def check_keys(overrides: Iterable[Override], command: str) -> None:
    """Refuse keys that the command does not have, also after `+`, and suggest the nearest one.

    Hydra would take `+model.l1_lamda=1` into an untyped config and train the baseline; with ours it fails, but late and
    in several lines.

    Raises:
        ComposerError: names the key and the nearest known ones.
    """
    schema = SCHEMAS[command]
    keys = schema_keys(schema)
    groups = groups_of(command)
    known = set(keys) | set(groups)
    for override in overrides:
        key = override.key_or_group
        value = override.value()
        values = value.list if isinstance(value, ChoiceSweep) else [value]
        choosable = override.is_delete() or all(isinstance(v, str | list | dict | QuotedString | Glob) for v in values)
        if key in groups and not choosable:
            options = ", ".join(options_of_group(key))
            raise ComposerError(f"{override.input_line}: {key} is one of {options}")
        if key in known or key.split(".")[0] == "hydra" or key.split("/")[0] == "hydra":
            continue
        if key == "optimizer.schedule":
            option = str(override.input_line).partition("=")[2].replace("constant", "none")
            raise ComposerError(f"{override.input_line}: is the group scheduler now: scheduler={option}")
        group, _, argument = key.partition(".")
        if command == "train" and group == "trainer" and argument in ELSEWHERE:
            raise ComposerError(f"{override.input_line}: {ELSEWHERE[argument]}")
        raise ComposerError(f"{override.input_line}: there is no key {key}{_suggestion(key, sorted(known), command)}")


# Keys of which one makes the other useless, by command; of several lengths one holds.
_EITHER = {"generate": [("seconds", "events")], "live": [("seconds", "events")]}
_EITHER |= {"train": [("sampling.seconds", "sampling.events")]}


def check_conflicts(overrides: Iterable[Override], command: str) -> None:
    """Refuse two overrides of which the command would ignore one.

    Raises:
        UsageError: names both.
    """
    given = {o.key_or_group: o for o in overrides if o.is_sweep_override() or o.value() is not None}
    for first, second in _EITHER.get(command, ()):
        if first in given and second in given:
            raise UsageError(
                f"{given[first].input_line} {given[second].input_line}: {first} sets the length and {second} would be "
                "ignored; give one of them"
            )


def as_hydra_names(arguments: Iterable[str], command: str) -> list[str]:
    """Write the choice of a group as Hydra names it where its keys stand in another node, such as `sampling=bold`."""
    names = HYDRA_NAMES.get(command, {})
    changed = []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        changed.append(f"{names.get(key, key)}={value}" if equals else argument)
    return changed


def _suggestion(key: str, known: list[str], command: str) -> str:
    # `hidden_size` alone is a common slip for `model.hidden_size`, and other projects have other names.
    leaf = key.rsplit(".", 1)[-1]
    leaves = {name.rsplit(".", 1)[-1]: name for name in known}
    leaves |= {alias: name for alias, name in OTHER_NAMES.items() if name in known}
    # A group before a key of a group: `modle=gru`.
    groups = [] if "." in key else [name for name in known if "." not in name]
    near = difflib.get_close_matches(key, groups, n=1, cutoff=0.75)
    siblings = {name.rpartition(".")[2]: name for name in known if name.startswith(f"{key.partition('.')[0]}.")}
    near += [siblings[name] for name in difflib.get_close_matches(leaf, siblings, n=1, cutoff=0.8)]
    near += [leaves[name] for name in difflib.get_close_matches(leaf, leaves, n=2, cutoff=0.75)]
    near += difflib.get_close_matches(key, known, n=2, cutoff=0.6)
    near = list(dict.fromkeys(near))[:2]
    return f"; did you mean {' or '.join(near)}?" if near else f"; composer {command} --help lists the keys"
