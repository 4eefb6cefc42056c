"""Train LSTMs on MIDI note messages and compose with them.

>>> import composer
>>> run = composer.load("outputs/train/...")           # doctest: +SKIP
>>> run.generate(events=500, temperature=0.9).save("piece.mid")  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from composer.composing.composer import Composer
    from composer.data.datamodule import MusicDataModule
    from composer.training.module import ComposerModule

__version__ = "0.1.0"
__all__ = ["__version__", "build", "load"]


def build(overrides: Sequence[str] = ()) -> tuple[ComposerModule, MusicDataModule]:
    """Build the Lightning modules of a run, for a Trainer of your own.

    >>> module, data = composer.build(["model.hidden_size=32"])     # doctest: +SKIP
    >>> Trainer(max_epochs=2).fit(module, datamodule=data)          # doctest: +SKIP

    A checkpoint that the Trainer writes can be composed with: `composer.load("file.ckpt")`. The seed of the run is set
    for Python, NumPy and torch.

    Args:
        overrides: as for `composer train`, such as `experiment=article` or `data.path=my.mid`.

    Raises:
        ComposerError: a key or value is wrong, or the data cannot be used; one line that says what to do.
    """
    from composer.commands.train import build_modules
    from composer.config.compose import compose
    from composer.data.prepare import load_data
    from composer.evaluation.reference import ReferenceMusic
    from composer.training.trainer import set_up_torch

    config = compose(*overrides)
    set_up_torch(config)
    data = load_data(config.data, config.encoding, config.seed)
    built = build_modules(config, data, ReferenceMusic(data.pieces, data.splits, config.data, config.seed))
    return built.module, built.datamodule


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
