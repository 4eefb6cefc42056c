"""`summary.json`: the figures of a run, and how it ended."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from composer.config.training import TrainConfig
from composer.data.prepare import PreparedData
from composer.errors import ComposerError, RunInterrupted
from composer.files import display_path, main_process, unwritable, write_bytes, write_json
from composer.runs.layout import SUMMARY

log = logging.getLogger(__name__)

# Room for `summary.json`, given back when the training ends; `locked` removes what a killed run leaves.
_RESERVE = ".summary.reserve.tmp"
_RESERVED_BYTES = 64 << 10


def data_figures(config: TrainConfig, data: PreparedData) -> dict[str, Any]:
    """Return what `summary.json` says of the data of a run."""
    groups, leak = data.groups, data.leak
    return {
        "seed": config.seed,
        "pieces": len(data.pieces),
        "groups": groups.count,
        "copies": groups.copies,
        "near_copies": groups.near_copies,
        "named_copies": groups.named,
        "split": config.data.split,
        "windows_train": len(data.splits.train),
        "windows_val": len(data.splits.val),
        "windows_test": len(data.splits.test),
        "leak_rate": leak.by_index,
        "leak_rate_content": leak.by_content,
        "leak_rate_transposed": leak.by_transposition,
        "time_error_mean": data.time_error.mean,
        "time_error_max": data.time_error.maximum,
        "time_unit": data.vocabulary.time_unit.name,
        "on_grid": None if data.rhythm is None else data.rhythm.original,
        "on_grid_encoded": None if data.rhythm is None else data.rhythm.encoded,
    }


@contextmanager
def early_end_recorded(folder: Path, figures: Callable[[], dict[str, Any]]) -> Iterator[None]:
    """Write `summary.json` when the training ends early, with the figures that are known by then.

    Args:
        folder: the run directory.
        figures: called when the training has ended early.
    """

    def record(status: str, reason: str) -> None:
        if not main_process():
            return
        line = reason.splitlines()[0] if reason else status
        # On a full disk the summary takes this room.
        reserve.unlink(missing_ok=True)
        try:
            write_json(folder / SUMMARY, {"status": status, "error": line, **figures()}, checked=True)
        except ComposerError as error:
            # The disk may be full: what ended the run matters more than this record of it.
            log.warning("%s", error)

    reserve = folder / _RESERVE
    if main_process():
        with suppress(ComposerError):
            write_bytes(reserve, bytes(_RESERVED_BYTES))
    again = f"stopped at once; continue with: composer train resume={display_path(folder)}"
    try:
        yield
    except RunInterrupted as error:
        record("interrupted", str(error))
        raise
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            # The second Ctrl-C, which Lightning turns into this.
            record("interrupted", again)
            raise RunInterrupted(again, signal.SIGINT) from error
        # A scheduler's handler (submitit's) has requeued the job and ends this process.
        record("interrupted", "stopped by the scheduler")
        raise
    except KeyboardInterrupt as error:
        record("interrupted", again)
        raise RunInterrupted(again, signal.SIGINT) from error
    except OSError as error:
        # The record's own files: the checkpoints report their errors themselves.
        failure = unwritable(Path(error.filename or folder), error)
        record("failed", str(failure))
        raise failure from error
    except Exception as error:
        record("failed", str(error))
        raise
    finally:
        if main_process():
            reserve.unlink(missing_ok=True)


@contextmanager
def stopped_by_signals(folder: Path) -> Iterator[None]:
    """Let a scheduler's signals end the run at once after the training, when everything is saved.

    Raises:
        RunInterrupted: a signal arrived.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        remedy = f"composer train resume={display_path(folder)} writes its end"
        raise RunInterrupted(f"{name}: stopped after the training, which is saved; {remedy}", number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
