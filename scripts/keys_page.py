"""Write docs/keys.md, the reference of every config key, from the typed configs and conf/.

python scripts/keys_page.py            # writes it
python scripts/keys_page.py --check    # exit status 1 if it is out of date
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from composer.compare.table_formats import markdown_text
from composer.config.commands import SCHEMAS
from composer.config.compose import register
from composer.config.explain import defaults
from composer.config.help import option_summary
from composer.config.keys import groups_of, options_of_group
from composer.config.reference import Key, keys

PAGE = Path(__file__).resolve().parents[1] / "docs" / "keys.md"
_HEAD = """\
# Every key

<!-- Made by `python scripts/keys_page.py` from the typed configs; do not edit it by hand. -->

Every key of every command, by group. In a terminal `composer COMMAND --help` lists them, and `composer explain KEY` has
the whole text of one. How keys, groups and sweeps are written: [hydra.md](hydra.md).

A value outside its limits, an unknown key and a key of an option that is not chosen are refused before anything is
written. `required`: the key has no default. *Since* is the version that had the key first.
"""


def page() -> str:
    """Return the page."""
    register()
    listed: set[Key] = set()
    return "\n".join([_HEAD, *_commands(listed)]).rstrip() + "\n"


def _commands(listed: set[Key]) -> Iterator[str]:
    """Yield the lines of each command; a key that an earlier command has too is left out, with a remark."""
    for command in SCHEMAS:
        found = keys(command)
        yield f"## composer {command}\n"
        if command == "train":
            for group in dict.fromkeys(key.name.partition(".")[0] if "." in key.name else "" for key in found):
                own = [key for key in found if (key.name.partition(".")[0] if "." in key.name else "") == group]
                yield from _group(group, own)
            listed.update(found)
            continue
        if command in ("generate", "live"):
            yield "Every key of [`sampling`](#sampling), without `sampling.` before it, and:\n"
            sampled = {key.name.removeprefix("sampling.") for key in keys("train") if key.group == "sampling"}
            found = [key for key in found if key.name not in sampled]
        if command == "explore":
            yield "Every key of [`data`](#data) and [`encoding`](#encoding), and:\n"
            found = [key for key in found if key not in listed]
        yield from _table(found, command)


def _group(group: str, found: Sequence[Key]) -> Iterator[str]:
    yield f"### {group or 'Keys of no group'}\n"
    if group in groups_of("train"):
        for option in options_of_group(group):
            summary = option_summary(group, option)
            yield f"- `{group}={option}`: {markdown_text(summary)}" if summary else f"- `{group}={option}`"
        yield ""
    yield from _table(found, "train")


def _table(found: Sequence[Key], command: str) -> Iterator[str]:
    yield "| key | value | default | meaning | since |"
    yield "|---|---|---|---|---|"
    for key in found:
        default = "; ".join(defaults(key, command))
        only = f" Only with {', '.join(f'`{option}`' for option in key.options)}." if key.options else ""
        value, meaning = (text.replace("|", "\\|").replace("<", "&lt;") for text in (key.values, key.meaning))
        yield f"| `{key.name}` | {value} | `{default}` | {meaning}{only} | {key.since} |"
    yield ""


def main() -> None:
    """Write the page, or compare it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 if the page is out of date")
    made = page()
    if not parser.parse_args().check:
        PAGE.write_text(made, encoding="utf-8")
        print(f"written to {PAGE}")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != made:
        sys.exit(f"{PAGE} is out of date: python scripts/keys_page.py writes it")


if __name__ == "__main__":
    main()
