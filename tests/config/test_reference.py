"""The description of every key: complete, the same in the help, in `explain` and in docs/keys.md."""

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest

from composer.config.commands import SCHEMAS
from composer.config.compose import register
from composer.config.help import option_summary
from composer.config.keys import KeyField, fields_of, groups_of, options_of_group
from composer.config.limits import COUNT, Group, Since
from composer.config.reference import describe, is_node, keys, paragraph, type_words, value_text

ROOT = Path(__file__).resolve().parents[2]
register()


@pytest.mark.parametrize("command", SCHEMAS)
def test_keys_of_command_all_have_type_and_meaning(command: str) -> None:
    for key in keys(command):
        assert key.meaning, f"{key.name}: write what it does below its field"
        assert key.meaning[-1] in ".`", key.name
        assert key.values, key.name


@pytest.mark.parametrize("command", SCHEMAS)
def test_keys_of_command_are_all_fields(command: str) -> None:
    leaves = {f.key for f in fields_of(SCHEMAS[command]) if f.name and not is_node(f.annotation)}
    several = {"loss_terms", "metrics", "logger", "callbacks", "rules", "sampling.rules"}
    assert {key.name for key in keys(command)} == leaves - several


@pytest.mark.parametrize("group", groups_of("train"))
def test_options_of_group_have_a_description(group: str) -> None:
    for option in options_of_group(group):
        assert option == "none" or option_summary(group, option), f"conf/{group}/{option}.yaml: begin it with a comment"


def test_nodes_of_training_have_a_description() -> None:
    for field in fields_of(SCHEMAS["train"]):
        if isinstance(field.annotation, type) and is_node(field.annotation):
            assert paragraph(field.annotation), field.key


@dataclass(kw_only=True)
class Example(Group):
    """Keys of a part of somebody else's."""

    kernel: Annotated[int | None, COUNT, Since("0.3.0")]
    """Events that a filter covers; null is all."""


def test_describe_field_gives_limits_since_and_meaning() -> None:
    found = describe(next(iter(fields_of(Example, "model."))))
    assert (found.name, found.values, found.since) == ("model.kernel", "integer, at least 1, or null", "0.3.0")
    assert found.summary == "Events that a filter covers"
    assert Example(kernel=3).kernel == 3  # `Since` is no limit


def test_describe_without_source_has_no_meaning() -> None:
    made = type("Made", (Example,), {"__doc__": "Typed into a prompt."})
    field = KeyField("model.kernel", made, "kernel", int)
    assert describe(field).kind == "integer"


def test_type_words_name_types() -> None:
    assert type_words(float | None) == "number or null"
    assert type_words(list[str]) == "list of texts"


def test_value_text_is_as_typed() -> None:
    assert [value_text(v) for v in (None, True, 1.0, 1e-5, [0.7, 1.0])] == ["null", "true", "1.0", "1e-05", "[0.7,1.0]"]


@pytest.mark.slow
def test_keys_page_is_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "keys_page.py", "--check"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    page = (ROOT / "docs" / "keys.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z_.0-9]+)` \|", page, flags=re.MULTILINE)
    assert {"model.hidden_size", "sampling.temperature", "run", "scheduler.peak_at"} <= set(rows)
