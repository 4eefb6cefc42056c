"""Train LSTMs on MIDI note messages and compose with them.

>>> import composer
>>> run = composer.train(["data=midi", "data.path=my.mid"])      # doctest: +SKIP
>>> run.generate(events=500, temperature=0.9).save("piece.mid")  # doctest: +SKIP

`docs/python.md` shows every function by task, `docs/extend.md` how to add parts of your own.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from composer.api.comparison import Comparison, compare
    from composer.api.pieces import read
    from composer.api.runs import Run, load, runs
    from composer.api.sweeps import Sweep, sweep
    from composer.api.training import train
    from composer.composing.composer import Composer
    from composer.composing.named_rules import Rule, Scope
    from composer.composing.rules import Playing
    from composer.composing.sampling import SamplingMethod
    from composer.config.callbacks import CallbackConfig
    from composer.config.data import AugmentationConfig, DataConfig, TimeUnit
    from composer.config.loggers import LoggerConfig
    from composer.config.model import ModelConfig
    from composer.config.optimizers import OptimizerConfig, SchedulerConfig
    from composer.config.sampling import RuleConfig
    from composer.config.training import LossTermConfig, MetricConfig, RegularizerConfig
    from composer.corpus.corpus import DataSource, FolderSource
    from composer.data.augmentation import Augmentation
    from composer.data.datamodule import MusicDataModule
    from composer.data.splits import SplitRule
    from composer.errors import ComposerError
    from composer.music.events import Piece
    from composer.nets.network import Logits, Network
    from composer.registry import register
    from composer.training.module import ComposerModule
    from composer.training.regularizers import Regularizer
    from composer.training.terms import LossTerm, Metric

__version__ = "0.1.0"
# The names that each module exports, imported when they are first used: `import composer` is quick and needs no torch.
_PLACES = {
    "api.comparison": ("Comparison", "compare"),
    "api.pieces": ("read",),
    "api.runs": ("Run", "load", "runs"),
    "api.sweeps": ("Sweep", "sweep"),
    "api.training": ("train",),
    "composing.composer": ("Composer",),
    "composing.named_rules": ("Rule", "Scope"),
    "composing.rules": ("Playing",),
    "composing.sampling": ("SamplingMethod",),
    "config.callbacks": ("CallbackConfig",),
    "config.data": ("AugmentationConfig", "DataConfig", "TimeUnit"),
    "config.loggers": ("LoggerConfig",),
    "config.model": ("ModelConfig",),
    "config.optimizers": ("OptimizerConfig", "SchedulerConfig"),
    "config.sampling": ("RuleConfig",),
    "config.training": ("LossTermConfig", "MetricConfig", "RegularizerConfig"),
    "corpus.corpus": ("DataSource", "FolderSource"),
    "data.augmentation": ("Augmentation",),
    "data.datamodule": ("MusicDataModule",),
    "data.splits": ("SplitRule",),
    "errors": ("ComposerError",),
    "music.events": ("Piece",),
    "nets.network": ("Logits", "Network"),
    "registry": ("register",),
    "training.module": ("ComposerModule",),
    "training.regularizers": ("Regularizer",),
    "training.terms": ("LossTerm", "Metric"),
}
_MODULES = {name: f"composer.{module}" for module, names in _PLACES.items() for name in names}
__all__ = [  # noqa: PLE0604
    "__version__",
    "build",
    *_MODULES,
]

# `compare` and `runs` are functions here, and packages too. Only the first import of a package binds its name: made
# here, it leaves the name to the function. The packages are empty; `from composer.runs import layout` works as ever.
for _package in ("compare", "runs"):
    import_module(f"composer.{_package}")
    del globals()[_package]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'composer' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_MODULES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


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
    from composer.config.run_file import with_plugins
    from composer.data.prepare import load_data
    from composer.evaluation.reference import ReferenceMusic
    from composer.training.trainer import set_up_torch

    config = with_plugins(compose(*overrides))
    set_up_torch(config)
    data = load_data(config.data, config.encoding, config.seed)
    built = build_modules(config, data, ReferenceMusic(data.pieces, data.splits, config.data, config.seed))
    return built.module, built.datamodule
