"""What a key, a group of configs or an option is, in words: for `composer explain` and docs/keys.md."""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Iterable, Sequence

from omegaconf import DictConfig, OmegaConf

from composer import registry, terminal
from composer.config.commands import SCHEMAS
from composer.config.compose import compose_node
from composer.config.help import option_file, option_summary, value_in
from composer.config.keys import OTHER_NAMES, groups_of, options_of_group
from composer.config.reference import Key, keys, plain
from composer.errors import UsageError


def explain(names: Sequence[str]) -> str:
    """Return the description of keys, groups or options.

    Args:
        names: such as `model.dropout`, `model`, or `model=lstm`.

    Raises:
        UsageError: there is no such key, group or option.
    """
    width = terminal.text_width()
    return "\n\n".join(_explained(name.lstrip("+~"), width) for name in names)


def _explained(name: str, width: int) -> str:
    group, equals, option = name.partition("=")
    if group in groups_of("train"):
        if not equals:
            return _group(group, width)
        if option not in options_of_group(group):
            raise UsageError(f"{name}: {group} is one of {', '.join(options_of_group(group))}")
        return _option(group, option, width)
    found = matching(group)
    if not found:
        near = nearest(group)
        hint = f"did you mean {' or '.join(near)}?" if near else "composer COMMAND --help lists the keys"
        raise UsageError(f"{group}: there is no such key or group; {hint}")
    return "\n\n".join(_key(key, commands, width) for key, commands in found)


def matching(name: str) -> list[tuple[Key, list[str]]]:
    """Return the keys of a name with the commands that have them; where there is none, those that end in it."""
    found: dict[Key, list[str]] = {}
    for command in SCHEMAS:
        for key in keys(command):
            found.setdefault(key, []).append(command)
    exact = [(key, commands) for key, commands in found.items() if key.name == name]
    return exact or [(key, commands) for key, commands in found.items() if key.name.endswith(f".{name}")]


def nearest(name: str) -> list[str]:
    """Return names of keys and groups that are like a name."""
    known = {key.name for command in SCHEMAS for key in keys(command)} | set(groups_of("train"))
    leaves = {full.rpartition(".")[2]: full for full in sorted(known)} | OTHER_NAMES
    options = [f"{group}={name}" for group in groups_of("train") if name in options_of_group(group)]
    leaf = name.rpartition(".")[2]
    near = options + [leaves[one] for one in difflib.get_close_matches(leaf, leaves, n=2, cutoff=0.75)]
    near += difflib.get_close_matches(name, known, n=2, cutoff=0.6)
    return list(dict.fromkeys(near))[:3]


def _labelled(lines: Iterable[tuple[str, str]], width: int) -> str:
    return terminal.wrap("\n".join(f"{label:<10}  {text}" for label, text in lines if text), width)


def _key(key: Key, commands: Sequence[str], width: int) -> str:
    return _labelled(
        [
            ("key", key.name),
            ("values", plain(key.values)),
            ("default", "; ".join(defaults(key, commands[0]))),
            ("meaning", plain(key.meaning)),
            ("only with", ", ".join(key.options)),
            ("commands", ", ".join(f"composer {command}" for command in commands)),
            ("since", key.since),
        ],
        width,
    )


def defaults(key: Key, command: str) -> list[str]:
    """Return the values of a key in `conf/`: one, or where the options of its group differ, each with its option."""
    group = key.name.partition(".")[0]
    several = group in registry.SEVERAL
    if command != "train" or group not in groups_of("train") or (not several and "." not in key.name):
        return [_at(_composed(command), key.name)]
    by_value: dict[str, list[str]] = {}
    options = [option.partition("=")[2] for option in key.options] or options_of_group(group)
    for option in options:
        node = _composed(command, f"{group}={option}")
        by_value.setdefault(_at(node, key.name), []).append(option)
    if len(by_value) == 1:
        return list(by_value)
    if all(names == [value] for value, names in by_value.items()):
        return ["name of the chosen option"]
    usual = max(by_value, key=lambda value: len(by_value[value]))
    return [
        value if value == usual and len(by_value[value]) > 2 else f"{value} ({group}={', '.join(names)})"
        for value, names in by_value.items()
    ]


@functools.cache
def _composed(command: str, *overrides: str) -> DictConfig:
    return compose_node(overrides, command)


def _at(node: DictConfig, name: str) -> str:
    parent, _, leaf = name.rpartition(".")
    holder = OmegaConf.select(node, parent) if parent else node
    return value_in(holder, leaf)


def _group(group: str, width: int) -> str:
    found = [key for key in keys("train") if key.name.startswith(f"{group}.")]
    lines = [f"group {group}, chosen with {group}=OPTION:"]
    options = options_of_group(group)
    indent = max(map(len, options), default=0)
    for option in options:
        lines.append(terminal.wrap(f"  {option:<{indent}}  {option_summary(group, option)}".rstrip(), width))
    if found:
        lines += ["", "keys (composer explain KEY says more):"]
        own = max(len(key.name) for key in found)
        for key in found:
            only = f" ({', '.join(option.partition('=')[2] for option in key.options)})" if key.options else ""
            text = terminal.one_line(key.summary, max(terminal.MIN_WIDTH // 2, width - own - len(only) - 4))
            lines.append(f"  {key.name:<{own}}  {text}{only}")
    return "\n".join(lines)


def _option(group: str, option: str, width: int) -> str:
    path = option_file(group, option)
    lines = [f"{group}={option}", terminal.wrap(f"  {option_summary(group, option)}", width)]
    if path is not None:
        text = re.sub(r"(?m)\A(#.*\n)+", "", path.read_text(encoding="utf-8")).strip()
        lines += ["", *(f"  {line}" for line in text.split("\n"))]
    return "\n".join(lines)
