"""Standard output and error of a command, which may be closed, full, read no more, or in an encoding that lacks signs.

None of these may end a training or hide a mistake.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from typing import TextIO


class _Output(io.TextIOWrapper):
    """A stream that drops what cannot be written, and keeps the first error.

    Signs that the encoding lacks are written as escapes.
    """

    problem: OSError | None = None

    def write(self, text: str) -> int:
        """Write text; return its length."""
        try:
            return super().write(text)
        except OSError as error:
            self._drop(error)
            return len(text)

    def flush(self) -> None:
        """Hand what was written to the operating system."""
        try:
            super().flush()
        except OSError as error:
            self._drop(error)

    def _drop(self, error: OSError) -> None:
        """Let the null device take what is in the buffer and all that follows."""
        self.problem = self.problem or error
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self.fileno())
        os.close(null)


def set_up() -> None:
    """Replace the standard streams by ones whose failure ends nothing; call it first in a process.

    A descriptor that the caller has closed (`2>&-`) is opened on the null device: the next file would get its number
    else, and messages would be written into it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:  # a lower number was free
                os.dup2(opened, number)
                os.close(opened)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    # What another program has put in their place is left alone.
    if sys.stdout is sys.__stdout__:
        sys.stdout = _replaced(sys.stdout, 1)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _replaced(sys.stderr, 2)


def _replaced(stream: TextIO | None, number: int) -> TextIO:
    if stream is not None:
        stream.flush()
    encoding = "utf-8" if stream is None else stream.encoding
    raw = open(number, "wb", closefd=False)  # noqa: SIM115
    buffered = stream is not None and not stream.isatty() and number == 1
    return _Output(raw, encoding, errors="backslashreplace", line_buffering=not buffered, write_through=False)


def write_from_handler(text: str, stream: TextIO) -> None:
    """Write a line from a signal handler, past the buffer of the stream, which the interrupted code may be writing to.

    Buffers refuse a second call within a first one (`RuntimeError: reentrant call`). What cannot be written is dropped.
    """
    with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, or no file, as in a notebook
        # On a terminal a bar may stand on the line.
        before = "\n" if stream.isatty() else ""
        os.write(stream.fileno(), f"{before}{text}\n".encode(errors="backslashreplace"))


def failure() -> str | None:
    """Flush both streams; return why standard output could not be written.

    None where all was written, and where its reader had enough, as in `composer --help | head -1`.
    """
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    problem = getattr(sys.stdout, "problem", None)
    if problem is None or problem.errno == errno.EPIPE:
        return None
    return f"standard output: cannot be written ({problem.strerror}); what was computed is kept in its files"
