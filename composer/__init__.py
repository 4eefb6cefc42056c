"""Train LSTMs on MIDI note messages and compose with them.

>>> import composer
>>> run = composer.load("outputs/train/...")           # doctest: +SKIP
>>> run.generate(events=500, temperature=0.9).save("piece.mid")  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from composer.composing.composer import Composer

__version__ = "0.1.0"
__all__ = ["__version__", "load"]


def load(run: str | Path, checkpoint: str = "best") -> Composer:
    """Load a trained run for composing.

    Args:
        run: a run directory, or one checkpoint file.
        checkpoint: `best` (lowest `loss/val`) or `last`, for a run directory.

    Returns:
        An object with `generate(...)` and the model, vocabulary and config of the run.

    Raises:
        ComposerError: the path is not a run or checkpoint, or the file is damaged; one line that says what to do.
    """
    # torch is imported here and not at the top, so that `import composer` and the torch-free commands stay quick.
    from composer.composing.composer import Composer

    return Composer.load(run, checkpoint=checkpoint)
