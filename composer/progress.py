"""Progress and messages: a bar on a terminal and in a notebook, elsewhere lines, which are logged for a program.

The commands print. The Python API calls the same functions inside `messages_logged()`, and what they would print goes
to the logger `composer` at level INFO.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TextIO
from weakref import WeakSet

from tqdm import tqdm

from composer import terminal
from composer.files import printable

LOG = logging.getLogger("composer")
_LINES = 10
# Seconds before a wait is worth a line.
_PATIENCE = 2.0
# The same before a command says what it is doing.
PATIENCE = 1.5
# What is over sooner is not worth a line, however long the steps before it were.
_MIN_PATIENCE = 0.7
# When something was said last; at first, when the command began.
_said_at = time.monotonic()
# Those that are shown: they say what is done, and a line on the whole would only disturb.
_counters: WeakSet[Counter] = WeakSet()
_logged = ContextVar("messages_logged", default=False)
# Held while something is written to a terminal by one of several threads. Re-entrant: a handler of a signal may print.
_terminal = threading.RLock()


@contextmanager
def messages_logged() -> Iterator[None]:
    """Log messages instead of printing them, for a caller that is a program and no command."""
    token = _logged.set(True)
    try:
        yield
    finally:
        _logged.reset(token)


def say(text: str, stream: TextIO | None = None) -> None:
    """Print text for the user of a command, by default on standard output; log it where a program has called."""
    if _logged.get():
        LOG.info("%s", text)
    else:
        wipe()
        print(terminal.wrap(printable(text), terminal.width_of(stream)), file=stream, flush=True)


def in_notebook() -> bool:
    """Return whether standard output is the output of a notebook's cell."""
    return type(sys.stdout).__module__.startswith("ipykernel.")


def _default_stream() -> TextIO:
    # A notebook colours standard error as an error.
    return sys.stdout if in_notebook() else sys.stderr


def _has_bar(stream: TextIO) -> bool:
    return stream.isatty() or (in_notebook() and stream is sys.stdout)


def _seconds_between_updates() -> float:
    # A notebook stores every update, and a page that is made of it shows each on a line.
    return 0.5 if in_notebook() else 0.1


def due(now: float, began: float, said: float) -> bool:
    """Return whether it is time for another line on a wait: ever more rarely, so that a log of hours stays short.

    Args:
        now: the present, in seconds of a clock that only goes forward.
        began: when the wait began.
        said: when the last line was printed.
    """
    return now - said >= max(_PATIENCE, (now - began) / 4)


def duration(seconds: float) -> str:
    """Return a time in words: `0.4 s`, `41 s`, `6 min`, `2 h 10 min`, `3 days`."""
    if seconds < 9.95:
        return f"{max(seconds, 0):.1f} s".replace(".0 s", " s")
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{round(seconds / 86400)} days"


class LiveLine:
    """The last line of a terminal, rewritten in place."""

    # What is on a terminal now; every other line wipes it first.
    shown: LiveLine | None = None

    def __init__(self, stream: TextIO) -> None:
        """Args: `stream` of the terminal."""
        self.stream, self._length = stream, 0

    @property
    def columns(self) -> int:
        """The longest text in characters that the terminal shows on one line."""
        try:
            columns = os.get_terminal_size(self.stream.fileno()).columns
        except (OSError, ValueError):
            columns = 0  # a notebook, or a terminal that does not say
        # The last column stays free: some terminals begin a line after it.
        return (columns or shutil.get_terminal_size().columns) - 1

    def show(self, text: str) -> None:
        """Write text in place of the one that is shown, cut at the width of the terminal."""
        text = printable(text)[: self.columns]
        with _terminal:
            if LiveLine.shown is not self:
                wipe()
            # Spaces, because the output of a notebook knows no escape sequence that clears a line.
            self.stream.write(f"\r{text}{' ' * (self._length - len(text))}")
            self.stream.flush()
            self._length, LiveLine.shown = len(text), self

    def wipe(self) -> None:
        """Leave an empty line, at its beginning."""
        with _terminal:
            if LiveLine.shown is self:
                self.stream.write(f"\r{' ' * self._length}\r")
                self.stream.flush()
                self._length, LiveLine.shown = 0, None


def wipe() -> None:
    """Wipe the live line of the terminal, if there is one, before another line is printed."""
    if LiveLine.shown is not None:
        LiveLine.shown.wipe()


@contextmanager
def working(doing: str, *, stream: TextIO | None = None, patience: float | None = None) -> Iterator[None]:
    """Say what a command is doing, where that takes longer than somebody waits without wondering.

    On a terminal and in a notebook it is a line that counts the seconds and is wiped at the end, elsewhere one line and
    more of them ever more rarely. Where messages are logged it is a message.

    Args:
        doing: what is done, such as `drawing the figures`.
        stream: where it is said; as a default standard error, so that results in a pipe stay clean.
        patience: seconds before the first line; as a default `PATIENCE` since the last one, of earlier work too.
    """
    ended, logged, stream = threading.Event(), _logged.get(), stream or _default_stream()
    live = LiveLine(stream) if not logged and _has_bar(stream) else None

    def wait() -> None:
        global _said_at
        began = said = time.monotonic()
        usual = max(PATIENCE - (began - _said_at), _MIN_PATIENCE)
        pause, first = usual if patience is None else patience, True
        while not ended.wait(pause):
            now = time.monotonic()
            with _terminal:
                if ended.is_set():
                    return
                if _counters:
                    pause = 1.0
                    continue
                if live is not None:
                    live.show(f"{doing} ... {now - began:.0f} s")
                elif first or due(now, began, said):
                    seconds = " ..." if first else f", {duration(now - began)} so far"
                    said, first = now, False
                    if logged:
                        LOG.info("%s%s", doing, seconds)
                    else:
                        print(printable(f"{doing}{seconds}"), file=stream, flush=True)
            _said_at = now
            pause = 1.0 if live is not None else 10.0

    thread = threading.Thread(target=wait, daemon=True, name="says what is done")
    thread.start()
    try:
        yield
    finally:
        with _terminal:
            ended.set()
            if live is not None:
                live.wipe()
        thread.join()


class Progress:
    """Shows the training's place and the latest validation figures."""

    def __init__(self, epochs: int, split: str, *, shown: bool = True, stream: TextIO | None = None) -> None:
        """Args: `epochs` in all; `split` that the accuracies come from, always said beside them."""
        self.epochs, self.split, self.shown = epochs, split, shown
        self.stream = stream or _default_stream()
        self.bar: tqdm[None] | None = None
        self.batches = 1
        self.started_at = self.said_at = time.monotonic()

    def start(self, batches: int, position: tuple[int, int]) -> None:
        """Begin at a position (epoch, batch); an epoch has `batches` batches."""
        self.batches = batches
        self.started_at = self.said_at = time.monotonic()
        if self.shown and _has_bar(self.stream):
            self.bar = tqdm(
                total=self.epochs * batches,
                initial=position[0] * batches + position[1],
                unit="batch",
                file=self.stream,
                dynamic_ncols=True,
                mininterval=_seconds_between_updates(),
                bar_format="{desc} {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}",
                desc="epoch",
            )

    def update(self, epoch: int, batch: int) -> None:
        """Show that a batch has ended."""
        if self.bar is not None:
            self.bar.update(epoch * self.batches + batch - self.bar.n)
        elif self.shown and batch < self.batches:
            # Of an epoch that takes long; a short one is over before.
            now = time.monotonic()
            if due(now, self.started_at, self.said_at):
                self.said_at = now
                say(f"epoch {epoch + 1}/{self.epochs}  batch {batch:,} of {self.batches:,}", self.stream)

    def epoch(self, epoch: int, metrics: dict[str, float]) -> None:
        """Show the metrics of an epoch."""
        if not self.shown:
            return
        figures = (
            f"loss train {metrics['loss/train']:.3f} val {metrics['loss/val']:.3f}, "
            f"accuracy train {metrics['accuracy/train']:.3f} val {metrics['accuracy/val']:.3f} ({self.split} split)"
        )
        if self.bar is not None:
            self.bar.set_description(f"epoch {epoch}/{self.epochs}", refresh=False)
            # Short, so that 80 columns hold the figures with their split.
            figures = f"loss {metrics['loss/val']:.3f} accuracy {metrics['accuracy/val']:.3f}"
            self.bar.set_postfix_str(f"val ({self.split}) {figures}")
        elif epoch in (1, self.epochs) or epoch * _LINES // self.epochs > (epoch - 1) * _LINES // self.epochs:
            self.said_at = time.monotonic()
            elapsed = self.said_at - self.started_at
            say(f"epoch {epoch}/{self.epochs}  {figures}  {duration(elapsed)}", self.stream)

    def say(self, line: str) -> None:
        """Print a line without spoiling the bar."""
        if self.bar is not None:
            self.bar.write(line, file=self.stream)
        else:
            say(line, self.stream)

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None


class Counter:
    """Shows how many of some things are done, once it takes long enough to wonder."""

    def __init__(self, verb: str, unit: str, total: float, stream: TextIO | None = None) -> None:
        """Args: what is done (`reading`) to how many of what (`files`)."""
        self.verb, self.unit, self.total, self.done = verb, unit, total, 0.0
        self.stream = stream or _default_stream()
        self.started_at = self.said_at = time.monotonic()
        self.bar: tqdm[None] | None = None
        _counters.add(self)
        wipe()
        if _has_bar(self.stream):
            self.bar = tqdm(
                total=total,
                desc=verb,
                file=self.stream,
                dynamic_ncols=True,
                mininterval=_seconds_between_updates(),
                delay=1,
                bar_format=f"{{desc}} {{n:,.0f}} of {{total:,.0f}} {unit} |{{bar}}| {{elapsed}}<{{remaining}}",
            )

    def advance(self, number: float = 1) -> None:
        """Count further items."""
        self.done += number
        if self.bar is not None:
            self.bar.update(number)
            return
        now = time.monotonic()
        if due(now, self.started_at, self.said_at):
            self.said_at = now
            left = (now - self.started_at) / max(self.done, 1e-9) * (self.total - self.done)
            line = f"{self.verb} {self.done:,.0f} of {self.total:,.0f} {self.unit}, about {duration(left)} left"
            say(line, self.stream)

    def close(self) -> None:
        """Leave the bar as it stands."""
        _counters.discard(self)
        if self.bar is not None:
            self.bar.close()
