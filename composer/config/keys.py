"""Keys on the command line: parse overrides, reject unknown keys and suggest the nearest one."""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import re
import typing
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Glob, Override, QuotedString
from hydra.errors import HydraException

from composer import registry
from composer.config.commands import SCHEMAS
from composer.config.paths import CONF_DIR
from composer.config.trainer import ELSEWHERE
from composer.errors import ComposerError, UsageError, one_line
from composer.registry import SEVERAL

# By command, the groups whose keys stand in another node than that of the group's name, and what Hydra calls them.
_AT_ROOT = {"sampling": "sampling@_global_", "rules": "rules"}
HYDRA_NAMES = {"generate": _AT_ROOT, "live": _AT_ROOT, "train": {"rules": "rules@sampling.rules"}}
# What these keys are called elsewhere.
_OTHER_NAMES = {
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
    keys: dict[str, None] = {}
    hints = typing.get_type_hints(schema)
    for field in dataclasses.fields(schema):
        name = prefix + field.name
        keys[name] = None
        several = field.name in SEVERAL
        options = registry.names(field.name) if several or not prefix else []
        if several:
            for option in options:
                below = schema_keys(registry.keys(field.name, option), f"{name}.{option}.")
                keys |= dict.fromkeys([f"{name}.{option}", *below])
        elif dataclasses.is_dataclass(hints[field.name]):
            for shape in (hints[field.name], *(registry.keys(name, option) for option in options)):
                keys |= dict.fromkeys(schema_keys(shape, f"{name}."))
    return list(keys)


def options_of_group(group: str) -> list[str]:
    """Return the options of a group of configs: files of `conf/`, and registered parts."""
    names = registry.names(group) if group in registry.kinds() else []
    return sorted({*(path.stem for path in (CONF_DIR / group).glob("*.yaml")), *names})


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
            f"{flag}: there is no such flag; keys are written key=value: {_OTHER_NAMES.get(key, key)}={value}"
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


def folder_first(arguments: Sequence[str], key: str, texts: Iterable[str]) -> list[str]:
    """Add the key to a folder that was typed without it, and quote the values of keys that hold text.

    Args:
        arguments: as typed; an argument without `=` that no flag takes is the folder.
        key: the folder's key.
        texts: keys of paths and labels, which Hydra's grammar would take apart at `=`, commas and blanks.

    Raises:
        UsageError: more than one folder.
    """
    folders = [a for a in overrides_of(arguments) if "=" not in a]
    if len(folders) > 1:
        raise UsageError(f"{folders[1]}: one folder at a time; a key is written key=value")
    changed = list(arguments)
    if folders:
        changed[changed.index(folders[0])] = f"{key}={folders[0]}"
    return [_as_text(argument, (key, *texts)) for argument in changed]


def _as_text(argument: str, keys: Iterable[str]) -> str:
    key, equals, value = argument.partition("=")
    if not equals or key not in keys or value in ("", "null", "???") or value[0] in "'\"":
        return argument
    return f"{key}={quoted(value)}"


def check_keys(overrides: Iterable[Override], command: str) -> None:
    """Refuse keys that the command does not have, also after `+`, and suggest the nearest one.

    Hydra would take `+model.l1_lamda=1` into an untyped config and train the baseline; with ours it fails, but late and
    in several lines.

    Raises:
        ComposerError: names the key and the nearest known ones.
    """
    schema = SCHEMAS[command]
    keys = schema_keys(schema)
    folders = [path.name for path in sorted(CONF_DIR.iterdir()) if path.is_dir() and path.name != "hydra"]
    groups = {"train": folders, "explore": ["data", "encoding"]}.get(command, list(HYDRA_NAMES.get(command, ())))
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
    leaves |= {alias: name for alias, name in _OTHER_NAMES.items() if name in known}
    # A group before a key of a group: `modle=gru`.
    groups = [] if "." in key else [name for name in known if "." not in name]
    near = difflib.get_close_matches(key, groups, n=1, cutoff=0.75)
    near += [leaves[name] for name in difflib.get_close_matches(leaf, leaves, n=2, cutoff=0.75)]
    near += difflib.get_close_matches(key, known, n=2, cutoff=0.6)
    near = list(dict.fromkeys(near))[:2]
    return f"; did you mean {' or '.join(near)}?" if near else f"; composer {command} --cfg job lists the keys"


def quoted(text: str) -> str:
    """Return a text in Hydra's quotes; a backslash is literal unless it precedes a quote."""
    escaped = re.sub(r"(\\*)('|$)", lambda m: m[1] * 2 + ("\\'" if m[2] else ""), text)
    return f"'{escaped}'"
