"""Keyword arguments as overrides."""

from pathlib import Path
from typing import Any

import pytest

from composer.api.overrides import from_keywords, listed
from composer.config.keys import parse_overrides
from composer.errors import ComposerError, UsageError

KEYS = ["name", "data", "data.path", "trainer", "trainer.max_epochs", "optimizer.weight", "regularizer.weight"]


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("name", "name"),
        ("max_epochs", "trainer.max_epochs"),
        ("trainer__max_epochs", "trainer.max_epochs"),
        ("regularizer__weight", "regularizer.weight"),
        ("path", "data.path"),
    ],
)
def test_a_name_is_a_key_or_the_only_one_that_ends_so(name: str, key: str) -> None:
    assert from_keywords({name: 1}, KEYS, "f") == [f"{key}=1"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("weight", "weight: several keys of f end so; write optimizer__weight or regularizer__weight"),
        ("max_epoch", "max_epoch: no argument of f; did you mean trainer__max_epochs?"),
        ("trainer__epochs", "trainer__epochs: no argument of f"),
    ],
)
def test_a_wrong_name_is_refused_with_the_right_one(name: str, message: str) -> None:
    with pytest.raises(ComposerError, match=f"^{message.replace('?', '[?]')}"):
        from_keywords({name: 1}, KEYS, "f")


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (3, 3),
        (1e-05, 1e-05),
        (True, True),
        (None, None),
        ("plain", "plain"),
        ("with blank, comma=1", "with blank, comma=1"),
        ("it's", "it's"),
        (Path("a b/c.mid"), "a b/c.mid"),
        ([1, 2.5], [1, 2.5]),
        (("a", "b"), ["a", "b"]),
    ],
)
def test_a_value_is_read_back_as_it_was_given(value: Any, read: Any) -> None:
    (override,) = parse_overrides(from_keywords({"name": value}, KEYS, "f"))
    assert override.value() == read
    assert not override.is_sweep_override()


def test_a_value_that_no_config_holds_is_refused() -> None:
    with pytest.raises(ComposerError, match="^name: must be a number, .*, not object$"):
        from_keywords({"name": object()}, KEYS, "f")


def test_a_text_is_one_override_and_a_flag_none() -> None:
    assert listed("seed=1") == ["seed=1"]
    assert listed(("seed=1", "name=x")) == ["seed=1", "name=x"]
    with pytest.raises(UsageError, match="^-m: flags are for the command line"):
        listed(["-m"])
