"""The root of `composer train`, and the groups that say how a network is trained."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, ClassVar

from composer.config.callbacks import CallbackConfig
from composer.config.data import AugmentationConfig, DataConfig, EncodingConfig
from composer.config.limits import (
    ABOVE_0,
    BELOW_1,
    COUNT,
    NOT_NEGATIVE,
    SAFE_NAME,
    Group,
    Matching,
    OneOf,
    Seed,
    Values,
    between,
    check_name,
    require,
)
from composer.config.loggers import LoggerConfig
from composer.config.model import ModelConfig
from composer.config.optimizers import OptimizerConfig, SchedulerConfig
from composer.config.sampling import Mode, SamplingConfig, SamplingGridConfig
from composer.config.trainer import TrainerConfig
from composer.registry import keys_of

_PARAMETERS = Values("all, weights, or a list of name patterns such as [lstm.*]")
_NAME = "1 to 64 letters, digits, dots, underscores or hyphens, the first a letter or digit"


@keys_of("regularizer", "none", "l1", "l2", "proximal_l1")
@dataclass(kw_only=True, slots=True)
class RegularizerConfig(Group):
    """Group `regularizer`: the keys that every penalty has."""

    prefix: ClassVar[str] = "regularizer."

    name: str
    """The penalty; `regularizer=NAME` sets it."""
    weight: Annotated[float, NOT_NEGATIVE]
    """The factor lambda of the penalty."""
    parameters: Annotated[Any, _PARAMETERS]
    """`all` (the article: biases too), `weights` (no biases), or a list of name patterns such as `[lstm.*]`."""

    def check(self) -> None:
        """Check the name, and `parameters`, which may be a text or a list; raises a `ComposerError`."""
        check_name("regularizer", self)
        if self.name == "none":
            # A sweep over regularizers may set one weight for all; without a penalty it is 0, also in the tables.
            self.weight = 0.0
        known = self.parameters in ("all", "weights")
        patterns = isinstance(self.parameters, list) and bool(self.parameters)
        patterns = patterns and all(isinstance(pattern, str) for pattern in self.parameters)
        self.require(known or patterns, "parameters", _PARAMETERS.words)


@keys_of("regularizer", "elastic_net")
@dataclass(kw_only=True, slots=True)
class ElasticNetConfig(RegularizerConfig):
    """`elastic_net`: L1 and L2 together."""

    l1_ratio: Annotated[float, between(0, 1)]
    """Share of L1: 1 is L1 alone, 0 is half of L2."""


@dataclass(kw_only=True, slots=True)
class LossTermConfig(Group):
    """Group `loss_terms`: the keys that every term has, below its name."""

    weight: Annotated[float, NOT_NEGATIVE] = 1.0
    """The factor of the term in the trained sum."""


@dataclass(kw_only=True, slots=True)
class MetricConfig(Group):
    """Group `metrics`: a metric in addition to loss and accuracies; its keys are below its name."""


class Supervision(Enum):
    """Steps of a training window that have a target in training."""

    last = "last"
    every = "every"
    stream = "stream"


@dataclass(kw_only=True, slots=True)
class LossConfig(Group):
    """Node `loss`: the factor of each channel's negative log-likelihood in the trained sum, and where it is taken."""

    prefix: ClassVar[str] = "loss."

    note_weight: Annotated[float, NOT_NEGATIVE]
    """Factor of the note channel's negative log-likelihood."""
    velocity_weight: Annotated[float, NOT_NEGATIVE]
    """Factor of the velocity channel's negative log-likelihood."""
    time_weight: Annotated[float, NOT_NEGATIVE]
    """Factor of the time channel's negative log-likelihood."""
    label_smoothing: Annotated[float, BELOW_1]
    """Share of a target's probability that is spread over all classes in training; metrics are without it."""
    supervision: Supervision
    """`last` trains on the event after a window, the article's; `every` on the event after each step of it, but for the
    targets of validation and test windows; `stream` likewise, on pieces read from end to end, `data.batch_size` side
    by side, the state carried from batch to batch and backpropagation cut after `data.window_size` steps."""
    mask_held_out: bool = True
    """With `supervision` other than `last`: train on no target of a validation or test window. `false` trains on these
    too, as a loop without a mask does: a leak, which docs/article.md measures."""

    def check(self) -> None:
        """Check that something is trained, and that there is something to mask; raises a `ComposerError`."""
        last = self.supervision is Supervision.last
        words = "true with loss.supervision=last, which trains on no held-out target"
        self.require(self.mask_held_out or not last, "mask_held_out", words)
        words = "above 0, or velocity_weight or time_weight is: with all three 0 nothing is trained"
        self.require(any(self.weights), "note_weight", words)

    @property
    def weights(self) -> tuple[float, float, float]:
        """The factors in the order of the channels."""
        return (self.note_weight, self.velocity_weight, self.time_weight)


@dataclass(kw_only=True, slots=True)
class CheckpointConfig(Group):
    """Node `checkpoint`: when `last.ckpt` is written, besides the beginning and the end of a run."""

    prefix: ClassVar[str] = "checkpoint."

    every_minutes: Annotated[float | None, ABOVE_0]
    """Most minutes between two checkpoints; sooner at the beginning of a process, the first one after an epoch."""
    every_epochs: Annotated[int | None, ABOVE_0]
    """Epochs between two checkpoints; null writes them by time alone."""
    every_steps: Annotated[int | None, ABOVE_0]
    """Steps of the optimiser between two checkpoints; null writes them by time alone."""


@dataclass(kw_only=True, slots=True)
class LoggingConfig(Group):
    """Node `logging`: histograms and pieces that a run writes in addition to its metrics."""

    prefix: ClassVar[str] = "logging."

    histogram_every_epochs: Annotated[int | None, COUNT]
    """Epochs between histograms of the weights, one more after the last epoch; null writes none."""
    sample_every_epochs: Annotated[int | None, COUNT]
    """Epochs between short pieces in `samples/`, whose copying and quality are written to TensorBoard; null composes at
    the end of the training only."""
    sample_events: Annotated[int, COUNT]
    """Events of such a piece; temperature and cuts are those of `sampling`, 1 and none where these are null."""
    sample_media: bool
    """Score, piano roll and sound into TensorBoard too, of such a piece and, at the end, of the run's first final
    piece, which takes one or two seconds per piece."""


@dataclass(kw_only=True, slots=True)
class TrainConfig(Group):
    """The root of `composer train`."""

    name: Annotated[str, Matching(_NAME, SAFE_NAME)]
    """Folder of the run below `outputs/`."""
    seed: Seed
    """Seed of the split, the initial weights, the order of the batches and every draw of the run."""
    resume: str | None
    """A run directory to continue in place; nothing else but `trainer.max_epochs` may be given with it."""
    data: DataConfig
    encoding: EncodingConfig
    augmentation: AugmentationConfig
    model: ModelConfig
    loss: LossConfig
    regularizer: RegularizerConfig
    loss_terms: dict[str, LossTermConfig]
    """Terms of the loss by name, in addition to the negative log-likelihoods and the penalty."""
    metrics: dict[str, MetricConfig]
    """Metrics by name, in addition to loss and accuracies."""
    optimizer: OptimizerConfig
    scheduler: SchedulerConfig
    trainer: TrainerConfig
    checkpoint: CheckpointConfig
    logging: LoggingConfig
    logger: dict[str, LoggerConfig]
    """Lightning's loggers by name, in addition to the run's own record."""
    callbacks: dict[str, CallbackConfig]
    """Lightning's callbacks by name."""
    debug: Annotated[str, OneOf(("none", "fast", "overfit", "profile"))]
    """The purpose of a trial run; any value but `none` marks the run as no valid result."""
    sampling: SamplingConfig
    sampling_grid: SamplingGridConfig
    plugins: list[str]
    """Modules outside this package that register parts; name them on the command line or in a config of yours."""

    def check(self) -> None:
        """Check relations between keys of different groups; raises a `ComposerError`."""
        stateless = not self.model.carries and self.sampling.mode is Mode.stateful
        limit = f"window with model={self.model.name}, which keeps no state"
        require(not stateless, "sampling.mode", "stateful", limit)
        every = self.loss.supervision is Supervision.every
        limit = f"last with model={self.model.name}, which represents whole windows only (it has no encode)"
        require(self.model.encodes_prefixes or not every, "loss.supervision", "every", limit)
        moved = getattr(self.augmentation, "transpose", 0)
        limit = "0 with data.drums=true, where a note is an instrument"
        require(not (moved and self.data.drums), "augmentation.transpose", moved, limit)
        if self.loss.supervision is Supervision.stream:
            self._check_stream()

    def inexact(self) -> list[str]:
        """Return the keys for which a resumed run need not end in the bits of one that was never interrupted."""
        trainer = self.trainer
        reasons = {
            "trainer.max_time": trainer.max_time is not None,
            "trainer.deterministic": trainer.deterministic is not True,
            "trainer.benchmark": bool(trainer.benchmark),
            "trainer.strategy": trainer.strategy not in ("auto", "ddp"),
            "trainer.num_nodes": trainer.num_nodes > 1,
        }
        return [key for key, holds in reasons.items() if holds]

    def no_result(self) -> list[str]:
        """Return the keys that make a run a trial whose figures mean nothing."""
        trainer = self.trainer
        limited = (trainer.limit_train_batches, trainer.limit_val_batches, trainer.limit_test_batches)
        reasons = {
            "debug": self.debug != "none",
            "trainer.fast_dev_run": bool(trainer.fast_dev_run),
            "trainer.overfit_batches": bool(trainer.overfit_batches),
            "trainer.limit_*_batches": any(limit is not None for limit in limited),
        }
        return [key for key, holds in reasons.items() if holds]

    def _check_stream(self) -> None:
        """Raise a `ComposerError` for what does not go with streams."""
        key, value = "loss.supervision", Supervision.stream.name
        limit = f"last or every with model={self.model.name}, which carries no state"
        require(self.model.carries, key, value, limit)
        for name in ("devices", "num_nodes"):
            alone = getattr(self.trainer, name) == 1
            require(alone, key, value, f"last or every with trainer.{name} above 1")
        require(not self.augmentation.active, key, value, "last or every with augmentation, which varies windows")
        whole = self.data.windows_per_epoch is None
        require(whole, key, value, "last or every with data.windows_per_epoch: an epoch of streams is all of them")
