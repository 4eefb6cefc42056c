"""Completion of the command line in bash, zsh and fish: commands, keys, options of groups, values of enumerations."""

from __future__ import annotations

import dataclasses
import shlex
import typing
from collections.abc import Sequence
from enum import Enum
from typing import Any

from composer.config.commands import SCHEMAS
from composer.config.keys import FLAGS, FLAGS_WITH_OPTION, FLAGS_WITH_VALUE, groups_of, own_folders, schema_keys
from composer.config.paths import CONF_DIR
from composer.errors import UsageError

_BASH = r"""_composer() {
  local IFS=$'\n'
  COMPREPLY=($(composer completion %(shell)s "${COMP_LINE:0:COMP_POINT}" 2>/dev/null))
  [[ ${COMPREPLY[0]} == *= ]] && compopt -o nospace 2>/dev/null
  return 0
}
complete -o default -F _composer composer"""
SCRIPTS = {
    "bash": _BASH % {"shell": "bash"},
    "zsh": "autoload -U +X bashcompinit && bashcompinit\n" + _BASH % {"shell": "zsh"},
    "fish": "complete -c composer -a '(composer completion fish (commandline -cp) 2>/dev/null)'",
}


def completion(arguments: Sequence[str], commands: Sequence[str]) -> str:
    """Return the script that a shell evaluates, or the candidates for a line, one per line.

    Args:
        arguments: the shell, and the line up to the cursor where candidates are asked for.
        commands: names of all commands.

    Raises:
        UsageError: another shell.
    """
    shell, *line = arguments or [""]
    if shell not in SCRIPTS:
        raise UsageError(f"completion {shell}: must be one of {', '.join(SCRIPTS)}")
    if not line:
        return SCRIPTS[shell]
    words = _words(line[0])
    found = candidates(words, commands) if words else []
    # bash takes a word to end at `=`.
    return "\n".join(text.rpartition("=")[2] or text if shell == "bash" else text for text in found)


def _words(line: str) -> list[str]:
    """Return the words of a line after the program, the last one unfinished."""
    try:
        words = shlex.split(line)
    except ValueError:  # inside quotes
        return []
    return words[1:] + ([""] if line[-1:].isspace() else [])


def candidates(words: Sequence[str], commands: Sequence[str]) -> list[str]:
    """Return what the last of these words may become.

    Args:
        words: those after `composer`.
        commands: names of all commands.
    """
    if len(words) < 2:
        return sorted(name for name in commands if name.startswith(words[-1] if words else ""))
    command, last = words[0], words[-1]
    if command not in SCHEMAS:
        return []
    key, equals, value = last.partition("=")
    if equals:
        before, comma, part = value.rpartition(",")
        found = _values(command, key.lstrip("+~"), words)
        return [f"{key}={before}{comma}{option}" for option in found if option.startswith(part)]
    if last.startswith("-"):
        flags = [name for names in (*FLAGS, *FLAGS_WITH_VALUE, *FLAGS_WITH_OPTION) for name in names]
        return sorted(flag for flag in flags if flag.startswith(last))
    schema = SCHEMAS[command]
    nodes = {name for name in schema_keys(schema) if any(key.startswith(f"{name}.") for key in schema_keys(schema))}
    names = {f"{name}=" for name in schema_keys(schema) if name not in nodes}
    names |= {f"{group}=" for group in groups_of(command)}
    return sorted(name for name in names if name.startswith(last))


def _values(command: str, key: str, words: Sequence[str]) -> list[str]:
    """Return the options of a group, also in the folder of `--config-dir`, or the values of a key with few of them."""
    if key in groups_of(command) or key.startswith("hydra/"):
        folders = [CONF_DIR, *own_folders(words[:-1])]
        return sorted({path.stem for folder in folders for path in (folder / key).glob("*.yaml")})
    kind = _kind(SCHEMAS[command], key.split("."))
    for one in typing.get_args(kind) or (kind,):
        if isinstance(one, type) and issubclass(one, Enum):
            return list(one.__members__)
        if one is bool:
            return ["true", "false"]
    return []


def _kind(schema: type[Any], names: Sequence[str]) -> Any:
    """Return the type of a dotted key; None where there is none."""
    for name in names:
        if not dataclasses.is_dataclass(schema):
            return None
        schema = typing.get_type_hints(schema).get(name, type(None))
    return schema
