"""`composer explain NAME ...`: what a key, a group or an option is; needs no torch."""

from __future__ import annotations

from collections.abc import Sequence

from composer import plugins, terminal
from composer.config.compose import register
from composer.config.explain import explain
from composer.config.keys import groups_of

USAGE = """\
composer explain: what a key, a group or an option is.

  composer explain model.dropout         its type, limits, default and meaning
  composer explain dropout               every key of this name
  composer explain model                 the options of a group, and its keys
  composer explain experiment=best       what an option sets
  composer explain plugins=[mylab] model  the same with the parts of a plugin"""


def run(arguments: Sequence[str]) -> str:
    """Return the descriptions of the names among the arguments.

    Raises:
        UsageError: there is no such key, group or option, or no name.
    """
    names = plugins.enable_named(list(arguments), record=False)
    register()
    if not names or set(names) & {"-h", "--help"}:
        listed = terminal.wrap(f"groups     {', '.join(groups_of('train'))}", terminal.text_width())
        return f"{USAGE}\n\n{listed}"
    return explain(names)
