"""Errors that the user can fix: one line that names the file, key or value and the remedy."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable


class ComposerError(Exception):
    """A mistake or a failure that one line explains; the command prints it and exits with `exit_status`."""

    exit_status = 1


class UsageError(ComposerError):
    """The command line itself is wrong: an unknown command or option, or a missing argument."""

    exit_status = 2


class MidiError(ComposerError):
    """A MIDI file that cannot be used; the line begins with its path."""


class MissingExtra(ComposerError):
    """A package that only one kind of output needs is not installed; the line names what to install."""


class RunInterrupted(ComposerError):
    """A signal stopped the run after a checkpoint was written."""

    def __init__(self, message: str, signal_number: int) -> None:
        """Args: `message` for the user; `signal_number` that stopped the run."""
        super().__init__(message)
        self.signal_number = signal_number
        # The shell's convention for a process that a signal ended.
        self.exit_status = 128 + signal_number

    def __reduce__(self) -> tuple[type[RunInterrupted], tuple[str, int]]:
        # A launcher brings it back from another process.
        return type(self), (str(self), self.signal_number)


def unknown_option(group: str, option: str, options: Iterable[str]) -> ComposerError:
    """Return the error for an option that a group does not have, with its options and the nearest one."""
    known = sorted(options)
    near = difflib.get_close_matches(option, known, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return ComposerError(f"{group}={option}: {group} is one of {', '.join(known)}{hint}")


def one_line(error: BaseException) -> str:
    """An error of Hydra or OmegaConf, often of several lines and with a cause, as one line."""
    parts: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(parts) < 2:
        text = re.split(r"\n\s*(?:full_key|reference_type|object_type|Config search path)", str(cause))[0]
        text = re.sub(r"\s+", " ", text).strip()
        if text and not any(text in part for part in parts):
            parts.append(text)
        cause = cause.__cause__
    return ": ".join(parts) or type(error).__name__
