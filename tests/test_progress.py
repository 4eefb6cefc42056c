"""Messages and progress: printed for a command, logged for a program, a bar where somebody watches."""

import io
import logging
import os
import sys
import time
from collections.abc import Iterator

import pytest

from composer import progress
from composer.progress import Counter, LiveLine, Progress, due, duration, in_notebook, messages_logged, say, working

METRICS = {f"{kind}/{split}": 0.5 for kind in ("loss", "accuracy") for split in ("train", "val")}


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The messages of the logger."""
    logger, heard = logging.Logger("composer"), list[str]()
    handler = logging.Handler()
    handler.emit = lambda record: heard.append(record.getMessage())  # type: ignore[method-assign]
    logger.addHandler(handler)
    monkeypatch.setattr(progress, "LOG", logger)
    return heard


def test_a_command_prints_and_a_program_logs(logged: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    say("printed")
    with messages_logged():
        say("logged: 100 %d")
    say("to a stream", sys.stderr)
    output = capsys.readouterr()
    assert (output.out, output.err, logged) == ("printed\n", "to a stream\n", ["logged: 100 %d"])


def test_an_error_ends_the_logging(logged: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="any"), messages_logged():
        raise ValueError("any")
    say("printed")
    assert (capsys.readouterr().out, logged) == ("printed\n", [])


def test_epochs_are_lines_where_nobody_watches(logged: list[str]) -> None:
    stream = io.StringIO()
    shown = Progress(2, "shuffled", stream=stream)
    shown.start(1, (0, 0))
    shown.epoch(1, METRICS)
    with messages_logged():
        shown.epoch(2, METRICS)
    assert stream.getvalue().startswith("epoch 1/2  loss train 0.500 val 0.500")
    assert [line.partition("  ")[0] for line in logged] == ["epoch 2/2"]


def test_a_notebook_shows_a_bar_on_its_output(monkeypatch: pytest.MonkeyPatch) -> None:
    class OutStream(io.StringIO):
        """Stands for the output of a cell."""

    OutStream.__module__ = "ipykernel.iostream"
    assert not in_notebook()
    stream = OutStream()
    monkeypatch.setattr(sys, "stdout", stream)
    assert in_notebook()
    shown, counter = Progress(2, "shuffled"), Counter("reading", "files", 3)
    shown.start(1, (0, 0))
    shown.update(1, 0)
    shown.epoch(1, METRICS)
    for _ in range(3):
        counter.advance()
    shown.close()
    counter.close()
    assert "epoch 1/2:" in stream.getvalue()
    assert "val (shuffled) loss 0.500 accuracy 0.500" in stream.getvalue()


def test_a_counter_takes_shares_of_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    stream = io.StringIO()
    counter = Counter("composing", "events", 1000, stream=stream)
    clock[0] = 1.0
    counter.advance(100)
    clock[0] = 3.0
    counter.advance(150.4)
    assert stream.getvalue() == "composing 250 of 1,000 events, about 9 s left\n"


class Terminal(io.StringIO):
    """Stands for a terminal."""

    def isatty(self) -> bool:
        return True


def wait_for(stream: io.StringIO, text: str) -> None:
    deadline = time.monotonic() + 10
    while text not in stream.getvalue() and time.monotonic() < deadline:
        time.sleep(0.005)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.42, "0.4 s"),
        (2.0, "2 s"),
        (41.3, "41 s"),
        (99.6, "2 min"),
        (360, "6 min"),
        (7800, "2 h 10 min"),
        (7200, "2 h"),
        (260_000, "3 days"),
        (-1, "0 s"),
    ],
)
def test_duration_is_said_in_the_unit_that_fits(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_lines_on_a_wait_become_rarer() -> None:
    said, lines = 0.0, 0
    for second in range(1, 3601):
        if due(float(second), 0.0, said):
            said, lines = float(second), lines + 1
    assert 20 < lines < 30
    assert not due(3.0, 0.0, 2.0)


def test_short_work_says_nothing() -> None:
    stream = io.StringIO()
    with working("drawing", stream=stream, patience=30):
        pass
    assert stream.getvalue() == ""


def test_long_work_says_what_for_in_a_pipe() -> None:
    stream = io.StringIO()
    with working("drawing the figures", stream=stream, patience=0.01):
        wait_for(stream, "\n")
    assert stream.getvalue() == "drawing the figures ...\n"


def test_long_work_is_wiped_from_a_terminal() -> None:
    stream = Terminal()
    with working("drawing", stream=stream, patience=0.01):
        wait_for(stream, "drawing ... 0 s")
    assert stream.getvalue() == "\rdrawing ... 0 s\r" + " " * 15 + "\r"
    assert LiveLine.shown is None


def test_long_work_of_a_program_is_logged(logged: list[str]) -> None:
    stream = io.StringIO()
    with messages_logged(), working("drawing", stream=stream, patience=0.01):
        deadline = time.monotonic() + 10
        while not logged and time.monotonic() < deadline:
            time.sleep(0.005)
    assert (logged, stream.getvalue()) == (["drawing ..."], "")


def test_counter_speaks_in_place_of_the_work_around_it() -> None:
    stream = io.StringIO()
    with working("reading", stream=stream, patience=0.01):
        counter = Counter("reading", "files", 3, stream=stream)
        time.sleep(0.1)
        counter.close()
    assert stream.getvalue() == ""


def test_message_wipes_the_live_line_of_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr(os, "get_terminal_size", lambda number: os.terminal_size((20, 24)))
    monkeypatch.setattr(stream, "fileno", lambda: 1)
    live = LiveLine(stream)
    live.show("a line that is longer than the terminal")
    say("a message", stream)
    live.show("short")
    live.wipe()
    assert stream.getvalue() == "\ra line that is lon" + "g" + "\r" + " " * 19 + "\ra message\n\rshort\r     \r"


def test_long_epoch_says_its_batch_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    stream = io.StringIO()
    shown = Progress(3, "shuffled", stream=stream)
    shown.start(4000, (0, 0))
    for clock[0] in (1.0, 3.0, 4.0):
        shown.update(1, 250 * int(clock[0]))
    assert stream.getvalue() == "epoch 2/3  batch 750 of 4,000\n"
