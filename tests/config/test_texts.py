"""Paths, labels and titles on the command line are taken as typed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from composer import cli
from composer.config import run_file
from composer.config.compose import apply_overrides, compose
from composer.config.keys import as_typed, parse_overrides, text_keys
from composer.config.texts import escaped, interpolates, quoted, unescaped

TEXTS = st.text(st.sampled_from("\\\\${}'\",= a:/[]()♪\n"), max_size=12)
HOSTILE = [
    "a'b\",c=d${oc.env:HOME}.mid",
    "${oc.env:HOME}",
    "\\${x}",
    "\\\\${x}\\",
    "'${x}",
    "a${b",
    "x,y",
    "[1]",
    "{a:b}",
]


@given(TEXTS)
def test_hydra_and_omegaconf_give_back_a_quoted_text(text: str) -> None:
    value = parse_overrides([f"key={quoted(text)}"])[0].value()
    assert OmegaConf.create({"key": value}).key == text
    assert unescaped(escaped(text)) == text
    assert not interpolates(escaped(text))


@pytest.mark.parametrize("text", HOSTILE)
def test_a_text_is_taken_as_typed_by_every_command(text: str) -> None:
    assert compose("run=r", f"continue_from={text}", command="generate").continue_from == text
    assert compose("file=f", f"title={text}", command="render").title == text
    assert compose(*cli.file_first([f"x{text}"], "render"), command="render").file == f"x{text}"
    assert compose("sweep=s", f"baseline={text}", command="compare").baseline == text
    assert compose(f"folder={text}", command="report").folder == text


@pytest.mark.parametrize("text", [text for text in HOSTILE if text != "x,y"])
def test_config_yaml_keeps_a_text_as_typed(text: str, tmp_path: Path) -> None:
    config = compose("data=midi", f"data.path={text}")
    assert config.data.path == text
    assert apply_overrides(config, parse_overrides(["trainer.max_epochs=3"])).data.path == text
    (tmp_path / "config.yaml").write_text(run_file.to_yaml(config))
    assert run_file.read_config(tmp_path / "config.yaml") == config
    assert run_file.read_values(tmp_path / "config.yaml")["data.path"] == text


def test_quotes_that_were_typed_are_taken_off() -> None:
    assert compose("data=midi", "data.path='a b,${x}.mid'").data.path == "a b,${x}.mid"
    # What a sweep passes to its jobs is escaped already.
    assert compose("data=midi", f"data.path={quoted('${x}')}").data.path == "${x}"


def test_paths_are_swept_with_the_flag_alone() -> None:
    typed = as_typed(["-m", "data.path=a ${x}.mid,b.mid", "seed=0,1"], "train")
    assert typed == ["-m", "data.path='a \\${x}.mid','b.mid'", "seed=0,1"]
    assert as_typed(["-m", "data.path=a(1).mid,b.mid"], "train")[1] == "data.path='a(1).mid','b.mid'"
    assert as_typed(["data.path=a.mid,b.mid"], "train") == ["data.path=a.mid,b.mid"]
    assert as_typed(["-m", "data.path=glob(*)"], "train")[1] == "data.path=glob(*)"


def test_a_file_with_a_comma_is_one_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a,b.mid").touch()
    assert as_typed(["-m", "data.path=a,b.mid"], "train")[1] == "data.path='a,b.mid'"


def test_the_keys_that_hold_text() -> None:
    assert {"data.path", "data.split_file", "name", "logger.wandb.notes"} <= text_keys("train")
    assert not {"data.split", "callbacks.early_stopping.mode", "seed", "model"} & text_keys("train")
    assert {"file", "title", "key", "output", "soundfont"} <= text_keys("render")
