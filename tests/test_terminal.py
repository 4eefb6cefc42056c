"""Text and tables at the width of a terminal."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from composer import terminal

HEADER = ["", "split", "loss", "accuracy", "note"]
ROWS = [
    ["final weights", "train", "0.113", "0.994", "0.994"],
    ["", "test (held-out block)", "3.458", "0.741", "0.626"],
    ["majority", "train", "-", "0.322", "0.121"],
]
WORDS = st.text(alphabet="abcdef()/=,.", min_size=1, max_size=30)


def test_wrap_long_line_breaks_between_words() -> None:
    line = "copied       37% of its runs of 8 notes occur in the training music; longest 26 notes"
    assert terminal.wrap(line, 50).split("\n") == [
        "copied       37% of its runs of 8 notes occur in",
        "             the training music; longest 26 notes",
    ]


def test_wrap_without_terminal_changes_nothing() -> None:
    assert terminal.wrap("a " * 200, None) == "a " * 200


@given(st.lists(WORDS, min_size=1, max_size=40), st.integers(40, 140))
def test_wrap_any_words_stay_whole(words: list[str], width: int) -> None:
    lines = terminal.wrap(" ".join(words), width).split("\n")
    assert " ".join(lines).split() == words
    assert all(len(line) <= width for line in lines)


def test_wrap_path_longer_than_line_stays_whole() -> None:
    path = "outputs/" + "x" * 90
    assert path in terminal.wrap(f"page         {path}", 60)


def test_one_line_cuts_between_words() -> None:
    assert terminal.one_line("Events that the network reads", 20) == "Events that the..."
    assert terminal.one_line("short", 20) == "short"


def test_table_that_fits_has_columns_aligned() -> None:
    lines = terminal.table(HEADER, ROWS, labels=2, width=80)
    assert lines[0] == "               split                   loss  accuracy   note"
    assert lines[2] == "               test (held-out block)  3.458     0.741  0.626"


def test_table_too_wide_stacks_first_label() -> None:
    assert terminal.table(HEADER, ROWS, labels=2, width=50) == [
        "                          loss  accuracy   note",
        "final weights",
        "  train                  0.113     0.994  0.994",
        "  test (held-out block)  3.458     0.741  0.626",
        "majority",
        "  train                      -     0.322  0.121",
    ]


def test_table_still_too_wide_is_split() -> None:
    lines = terminal.table(HEADER, ROWS, labels=2, width=40)
    assert all(len(line) <= 40 for line in lines)
    blank = lines.index("")
    assert lines[0].split() == ["loss", "accuracy"]
    assert lines[blank + 1].split() == ["note"]
    assert lines[blank + 3].split() == ["train", "0.994"]


def test_table_with_long_labels_wraps_them() -> None:
    rows = [["times between onsets that are multiples of 1/12 beat (%)", "100", "99"]]
    lines = terminal.table(["quality", "composed", "training"], rows, width=60)
    assert lines[-1].split()[-2:] == ["100", "99"]
    assert all(len(line) <= 60 for line in lines)
    assert " ".join(" ".join(lines[1:]).split()) == "times between onsets that are multiples of 1/12 beat (%) 100 99"


@pytest.mark.parametrize("width", [40, 60, 80, 100, 140])
@given(rows=st.lists(st.lists(WORDS, min_size=6, max_size=6), min_size=1, max_size=5))
def test_table_any_width_loses_no_cell(rows: list[list[str]], width: int) -> None:
    header = ["name", "a", "b", "c", "d", "e"]
    text = " ".join(terminal.table(header, rows, width=width))
    for row in rows:
        assert all(cell in text for cell in row[1:])


def test_width_of_pipe_is_none() -> None:
    assert terminal.width_of(io.StringIO()) is None


def test_text_width_follows_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert terminal.text_width() == 80
