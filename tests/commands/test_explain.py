"""`composer explain` and the keys of `composer COMMAND --help`."""

from pathlib import Path

import pytest

from composer.cli import _main as main
from composer.config.compose import compose, register
from composer.config.explain import explain
from composer.config.keys import check_keys, parse_overrides
from composer.errors import ComposerError, UsageError

register()


def help_of(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Return what `--help` prints."""
    assert main([*arguments, "--help"]) == 0
    return capsys.readouterr().out


def test_explain_key_gives_default_of_each_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    lines = explain(["model.dropout"]).split("\n")
    assert lines[0] == "key         model.dropout"
    assert "values      number, at least 0 and less than 1" in lines
    assert "default     0.5; 0.1 (model=transformer)" in lines
    assert "since       0.1.0" in lines


def test_explain_leaf_finds_every_key_of_that_name() -> None:
    text = explain(["temperature"])
    assert "composer generate" in text
    assert "key         note_temperature" not in text


def test_explain_group_lists_options_and_keys() -> None:
    text = explain(["regularizer"])
    assert "proximal_l1" in text
    assert "regularizer.l1_ratio" in text


def test_explain_option_shows_what_it_sets() -> None:
    text = explain(["experiment=best"])
    assert "bar_position: true" in text
    assert "@package" not in text


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("model.droput", "did you mean model.dropout"),
        ("model=lstmm", "model is one of attentive_lstm, gru, lstm, transformer"),
        ("zzzzzz", "composer COMMAND --help lists the keys"),
    ],
)
def test_explain_unknown_name_is_refused(name: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        explain([name])


def test_explain_alone_prints_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain"]) == 0
    assert "composer explain model.dropout" in capsys.readouterr().out


@pytest.mark.parametrize("width", [80, 100, 140])
def test_help_lines_fit_the_terminal(
    width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    for command in ("train", "generate", "render"):
        lines = help_of([command], capsys).split("\n")
        assert max(map(len, lines)) <= width, max(lines, key=len)


def test_help_has_keys_of_the_chosen_option(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    text = help_of(["train", "optimizer=sgd"], capsys)
    assert "  optimizer.momentum=0.9 " in text
    assert "optimizer.beta1" not in text
    assert "Share of the previous step that is added to the next one" in text


def test_help_shows_required_keys(capsys: pytest.CaptureFixture[str]) -> None:
    assert "  output=... " in help_of(["export"], capsys)


def test_keys_of_data_group_are_no_keys_of_evaluate() -> None:
    with pytest.raises(ComposerError, match="there is no key data.split"):
        check_keys(parse_overrides(["data.split=blocked"]), "evaluate")


def test_option_in_own_conf_folder_names_the_flag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    (tmp_path / "conf" / "experiment" / "mine.yaml").write_text("name: mine\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ComposerError, match="add --config-dir conf"):
        compose("experiment=mine")
