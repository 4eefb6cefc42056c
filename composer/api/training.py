"""Training in this process: `composer.train`."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from composer.api.overrides import listed
from composer.api.runs import Run
from composer.config.compose import compose, run_id
from composer.config.keys import parse_overrides
from composer.errors import ComposerError, UsageError
from composer.files import safe_name, user_path
from composer.progress import messages_logged
from composer.runs.layout import FOLDER_VARIABLE


def train(overrides: Iterable[str] = (), *, folder: str | Path | None = None) -> Run:
    """Train a run in this process, as `composer train` does with the same overrides; or resume one.

    >>> run = composer.train(["data=midi", "data.path=my.mid", "trainer.max_epochs=20"])     # doctest: +SKIP
    >>> run = composer.train(["resume=outputs/train/...", "trainer.max_epochs=40"])          # doctest: +SKIP

    A notebook and a terminal show a bar (`trainer.progress_bar=false` hides it); what the command prints goes to the
    logger `composer` at level INFO. torch keeps the number of threads of `trainer.threads`.

    Args:
        overrides: keys of `composer train`, such as `experiment=article`; `resume=RUN_DIR` resumes a run in its folder.
        folder: the run directory; None makes a new one, `outputs/NAME/DATE_ID`. A run of the same config that is there
            already is resumed.

    Returns:
        The completed run.

    Raises:
        ComposerError: a key or value is wrong, the data or the machine does not allow it (nothing is left behind then),
            or the training failed; one line that says what to do.
        RunInterrupted: Ctrl+C stopped it, after a checkpoint was written; `composer.load(RUN_DIR).resume()` continues.
    """
    given = listed(overrides)
    if threading.current_thread() is not threading.main_thread():
        raise ComposerError("composer.train: works in the main thread only, because it saves when a signal arrives")
    resumed = [override for override in given if override.startswith("resume=")]
    rest = [override for override in given if override not in resumed]
    _check(rest)
    if resumed and folder is not None:
        raise UsageError(f"{resumed[-1]}: a run is resumed in its own folder, so that folder={folder} cannot be given")
    # Imported late: it imports torch, and a mistake in the overrides is found before.
    if resumed:
        target = user_path(resumed[-1].removeprefix("resume="))
        with _called_by_program(target):
            from composer.commands.train import resume

            resume(str(target), rest)
        return Run(target)
    config = compose(*rest)
    target = Path("outputs") / safe_name(config.name) / run_id() if folder is None else user_path(folder)
    with _called_by_program(target):
        from composer.commands.train import start

        start(config, target)
    return Run(target)


def _check(overrides: Sequence[str]) -> None:
    """Refuse what is no key of one run.

    Raises:
        ComposerError: an override is for a sweep, or for Hydra's own folders and logs.
    """
    for override in parse_overrides(overrides):
        key, line = override.key_or_group, override.input_line
        if override.is_sweep_override() or (key == "ablation" and override.value() is not None):
            raise ComposerError(f"{line}: is a sweep; composer.sweep runs one")
        if key.startswith("hydra") and key != "hydra.searchpath":
            raise ComposerError(f"{line}: not used by composer.train; folder=... names the run directory")


@contextmanager
def _called_by_program(folder: Path) -> Iterator[None]:
    """Log messages, leave no environment behind, and no empty folder after an error."""
    with messages_logged():
        try:
            yield
        except BaseException:
            for path in (folder, *folder.parents[:2]):
                # Not empty, or not there.
                with suppress(OSError):
                    path.rmdir()
            raise
        finally:
            os.environ.pop(FOLDER_VARIABLE, None)
