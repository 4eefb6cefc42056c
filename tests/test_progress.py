"""Messages and progress: printed for a command, logged for a program, a bar where somebody watches."""

import io
import logging
import sys
from collections.abc import Iterator

import pytest

from composer import progress
from composer.progress import Counter, Progress, in_notebook, messages_logged, say

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
