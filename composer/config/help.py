"""Text of `composer COMMAND --help`: examples, groups with their options, and keys, one line each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from composer import plugins, registry, terminal
from composer.config.keys import groups_of, options_of_group
from composer.config.paths import CONF_DIR
from composer.config.reference import REQUIRED, Key, keys, paragraph, plain, value_text

# Columns of `key=value` before its meaning; a longer one has its meaning cut shorter.
_KEY_WIDTH = 34
_GROUP_WIDTH = 14
# Commands whose groups are chosen as such; the others have presets.
_WITH_GROUPS = ("train", "explore")


def command_help(command: str, config: DictConfig, folders: Sequence[Path] = ()) -> str:
    """Return the help of a command: its examples, the groups with their options, and every key with its value.

    Args:
        command: the command.
        config: composed, with the node `hydra`; its options decide which keys are shown.
        folders: of the user's configs.
    """
    width = terminal.text_width()
    lines = [terminal.wrap(str(config.hydra.help.header).rstrip(), width), ""]
    if command in _WITH_GROUPS:
        lines += ["Groups, chosen with GROUP=OPTION (composer explain GROUP describes the options):"]
        lines += [*_group_lines(groups_of(command), folders, width), ""]
    lines += ["Keys and their values, set with KEY=VALUE (composer explain KEY says more):"]
    return "\n".join([*lines, *key_lines(_present(keys(command), config), width)])


def _group_lines(names: Sequence[str], folders: Sequence[Path], width: int) -> list[str]:
    """Return a line for each group with its options, the user's too."""
    lines = []
    for group in names:
        own = [path.stem for folder in folders for path in (folder / group).glob("*.yaml")]
        options = ", ".join(sorted({*options_of_group(group), *own}))
        lines.append(terminal.wrap(f"  {group:<{_GROUP_WIDTH}}  {options}", width))
    return lines


def _present(found: Iterable[Key], config: DictConfig) -> list[tuple[Key, str]]:
    """Return the keys that a composed config has, with their values; of a key described twice, the chosen option's."""
    present = []
    for key in found:
        node = config if not key.group else OmegaConf.select(config, key.group)
        name = key.name.rpartition(".")[2]
        if not isinstance(node, DictConfig) or not (name in node or OmegaConf.is_missing(node, name)):
            continue
        options = [option.partition("=") for option in key.options]
        chosen = {group: _chosen(config, group) for group, _, _ in options}
        if options and not any(chosen[group] in (None, option) for group, _, option in options):
            continue
        present.append((key, value_in(node, name)))
    return present


def value_in(node: DictConfig, name: str) -> str:
    """Return the text of a value of a composed config."""
    if OmegaConf.is_missing(node, name):
        return REQUIRED
    value = node[name]
    return value_text(OmegaConf.to_container(value) if OmegaConf.is_config(value) else value)


def _chosen(config: DictConfig, group: str) -> str | None:
    """Return the option of a group that a config names; None where several can be chosen."""
    about = registry.KINDS[group]
    return None if about.several else str(OmegaConf.select(config, f"{group}.{about.named_by}"))


def key_lines(found: Iterable[tuple[Key, str]], width: int) -> list[str]:
    """Return a line per key with its value and the first sentence of its meaning, a heading above each group.

    Args:
        found: keys with the text of their values.
        width: columns of a line at most.
    """
    lines: list[str] = []
    group = ""
    for key, value in found:
        if key.group != group:
            group = key.group
            lines.append(group)
        left = f"  {key.name}={value}" if value != REQUIRED else f"  {key.name}=..."
        space = width - max(_KEY_WIDTH, len(left)) - 2
        text = terminal.one_line(key.summary, space) if space >= terminal.MIN_WIDTH // 2 else ""
        lines.append(f"{left:<{_KEY_WIDTH}}  {text}".rstrip())
    return lines


def option_file(group: str, option: str) -> Path | None:
    """Return the file of an option, in `conf/` or in that of a plugin; None for a part that is registered in code."""
    folders = [CONF_DIR, *(plugin.conf for plugin in plugins.packages() if plugin.conf is not None)]
    return next((path for folder in folders if (path := folder / group / f"{option}.yaml").is_file()), None)


def option_summary(group: str, option: str) -> str:
    """Return what an option is: the comment at the head of its file, or the docstring of its keys."""
    path = option_file(group, option)
    comments = []
    for line in path.read_text(encoding="utf-8").split("\n") if path is not None else []:
        if not line.startswith("#"):
            break
        comments.append(line.lstrip("# "))
    text = " ".join(comment for comment in comments if not comment.startswith("@package"))
    if text or group not in registry.kinds() or option not in registry.names(group):
        return text
    part = registry.part(group, option) if registry.is_implemented(group, option) else None
    described = paragraph(part) if isinstance(part, type) else ""
    return plain(described or paragraph(registry.keys(group, option)))
