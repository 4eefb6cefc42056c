"""Progress and messages: a bar on a terminal and in a notebook, elsewhere lines, which are logged for a program.

The commands print. The Python API calls the same functions inside `messages_logged()`, and what they would print goes
to the logger `composer` at level INFO.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TextIO

from tqdm import tqdm

from composer import terminal
from composer.files import printable

LOG = logging.getLogger("composer")
_LINES = 10
# Seconds before a wait is worth a line.
_PATIENCE = 2.0
_logged = ContextVar("messages_logged", default=False)


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


class Progress:
    """Shows the training's place and the latest validation figures."""

    def __init__(self, epochs: int, split: str, *, shown: bool = True, stream: TextIO | None = None) -> None:
        """Args: `epochs` in all; `split` that the accuracies come from, always said beside them."""
        self.epochs, self.split, self.shown = epochs, split, shown
        self.stream = stream or _default_stream()
        self.bar: tqdm[None] | None = None
        self.batches = 1
        self.started_at = time.monotonic()

    def start(self, batches: int, position: tuple[int, int]) -> None:
        """Begin at a position (epoch, batch) of epochs of so many batches."""
        self.batches = batches
        self.started_at = time.monotonic()
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
        """A batch is done."""
        if self.bar is not None:
            self.bar.update(epoch * self.batches + batch - self.bar.n)

    def epoch(self, epoch: int, metrics: dict[str, float]) -> None:
        """An epoch is done."""
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
            elapsed = time.monotonic() - self.started_at
            say(f"epoch {epoch}/{self.epochs}  {figures}  {elapsed:.0f} s", self.stream)

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
        if _has_bar(self.stream):
            self.bar = tqdm(
                total=total,
                unit=f" {unit}",
                desc=verb,
                file=self.stream,
                dynamic_ncols=True,
                mininterval=_seconds_between_updates(),
                delay=1,
            )

    def advance(self, number: float = 1) -> None:
        """One more is done, or so many."""
        self.done += number
        if self.bar is not None:
            self.bar.update(number)
            return
        now = time.monotonic()
        # Ever more rarely, so that a log of hours stays short.
        if now - self.said_at >= max(_PATIENCE, (now - self.started_at) / 4):
            self.said_at = now
            left = (now - self.started_at) / max(self.done, 1e-9) * (self.total - self.done)
            line = f"{self.verb} {self.done:,.0f} of {self.total:,.0f} {self.unit}, about {left:,.0f} s left"
            say(line, self.stream)

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self.bar is not None:
            self.bar.close()
