"""The root of `composer train`, and the groups that say how a network is trained."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import Enum
from typing import Any

from composer.config.data import AugmentationConfig, DataConfig, EncodingConfig
from composer.config.limits import CHANNELS, SAFE_NAME, finite, require
from composer.config.model import ModelConfig, ModelName
from composer.config.sampling import Mode, SamplingConfig, SamplingGridConfig


class Supervision(Enum):
    """Which steps of a training window are trained on."""

    last = "last"
    every = "every"
    stream = "stream"


class RegularizerName(Enum):
    """What is added to the loss, or done after the step, against overfitting."""

    none = "none"
    l1 = "l1"
    l2 = "l2"
    elastic_net = "elastic_net"
    proximal_l1 = "proximal_l1"


class OptimizerName(Enum):
    """The optimiser: Adam with coupled weight decay, or AdamW with decoupled."""

    adam = "adam"
    adamw = "adamw"


class Schedule(Enum):
    """The learning rate over the epochs."""

    constant = "constant"
    cosine = "cosine"


@dataclass(kw_only=True, slots=True)
class RegularizerConfig:
    """Group `regularizer`: the same keys whichever is chosen, so that runs compare column by column."""

    name: RegularizerName
    weight: float
    """The factor lambda of the penalty."""
    l1_ratio: float
    """Share of L1 in `elastic_net`: 1 is L1 alone, 0 is half of L2."""
    parameters: Any
    """`all` (the article: biases too), `weights` (no biases), or a list of name patterns such as `[lstm.*]`."""

    def __post_init__(self) -> None:
        require(self.weight >= 0 and finite(self.weight), "regularizer.weight", self.weight, "a finite number >= 0")
        if self.name is RegularizerName.none:
            # A sweep over regularizers may set one weight for all; without a penalty it is 0, also in the tables.
            self.weight = 0.0
        require(0 <= self.l1_ratio <= 1, "regularizer.l1_ratio", self.l1_ratio, "from 0 to 1")
        known = self.parameters in ("all", "weights")
        patterns = isinstance(self.parameters, list) and bool(self.parameters)
        patterns = patterns and all(isinstance(pattern, str) for pattern in self.parameters)
        limit = "all, weights, or a list of name patterns such as [lstm.*]"
        require(known or patterns, "regularizer.parameters", self.parameters, limit)


@dataclass(kw_only=True, slots=True)
class LossConfig:
    """Node `loss`: the factor of each channel's negative log-likelihood in the trained sum, and where it is taken."""

    note_weight: float
    velocity_weight: float
    time_weight: float
    label_smoothing: float
    """Share of a target's probability that is spread over all classes in training; metrics are without it."""
    supervision: Supervision
    """`last` trains on the event after a window, the article's; `every` on the event after each step of it, but for the
    targets of validation and test windows; `stream` likewise, on pieces read from end to end, `data.batch_size` side
    by side, the state carried from batch to batch and backpropagation cut after `data.window_size` steps."""

    def __post_init__(self) -> None:
        for channel, value in zip(CHANNELS, self.weights, strict=True):
            require(value >= 0 and finite(value), f"loss.{channel}_weight", value, "a finite number >= 0")
        smoothing = self.label_smoothing
        require(0 <= smoothing < 1, "loss.label_smoothing", smoothing, "at least 0 and less than 1")

    @property
    def weights(self) -> tuple[float, float, float]:
        """The factors in the order of the channels."""
        return (self.note_weight, self.velocity_weight, self.time_weight)


@dataclass(kw_only=True, slots=True)
class OptimizerConfig:
    """Group `optimizer`."""

    name: OptimizerName
    lr: float
    weight_decay: float
    beta1: float
    beta2: float
    eps: float
    schedule: Schedule
    gradient_clip_norm: float | None

    def __post_init__(self) -> None:
        require(self.lr > 0 and finite(self.lr), "optimizer.lr", self.lr, "a finite number above 0")
        decay = self.weight_decay
        require(decay >= 0 and finite(decay), "optimizer.weight_decay", decay, "a finite number >= 0")
        require(0 <= self.beta1 < 1, "optimizer.beta1", self.beta1, "at least 0 and less than 1")
        require(0 <= self.beta2 < 1, "optimizer.beta2", self.beta2, "at least 0 and less than 1")
        require(self.eps > 0 and finite(self.eps), "optimizer.eps", self.eps, "a finite number above 0")
        clip = self.gradient_clip_norm
        require(clip is None or clip > 0, "optimizer.gradient_clip_norm", clip, "null or above 0")


@dataclass(kw_only=True, slots=True)
class TrainerConfig:
    """Group `trainer`: how long and on what machine."""

    max_epochs: int
    accelerator: str
    devices: int
    strategy: str
    precision: str
    deterministic: bool
    threads: int | None
    """Threads of torch on the CPU; null leaves torch's choice (one a core)."""
    early_stopping_patience: int | None
    """Stop after this many epochs without a lower `loss/val`; null trains `max_epochs`."""
    progress_bar: bool

    def __post_init__(self) -> None:
        require(self.max_epochs >= 1, "trainer.max_epochs", self.max_epochs, "at least 1")
        require(self.devices >= 1, "trainer.devices", self.devices, "at least 1")
        require(self.threads is None or self.threads >= 1, "trainer.threads", self.threads, "null or at least 1")
        patience = self.early_stopping_patience
        require(patience is None or patience >= 1, "trainer.early_stopping_patience", patience, "null or at least 1")


@dataclass(kw_only=True, slots=True)
class CheckpointConfig:
    """Node `checkpoint`: when `last.ckpt` is written, besides the beginning and the end of a run."""

    every_minutes: float | None
    every_epochs: int | None
    every_steps: int | None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            require(value is None or value > 0, f"checkpoint.{field.name}", value, "null or above 0")


@dataclass(kw_only=True, slots=True)
class LoggingConfig:
    """Node `logging`: what a run leaves for eye and ear besides its metrics."""

    histogram_every_epochs: int | None
    """Histograms of the weights every so many epochs, and after the last; null writes none."""
    sample_every_epochs: int | None
    """A short piece every so many epochs into `samples/`, its copying and quality into TensorBoard; null composes at
    the end of the training only."""
    sample_events: int
    """Events of such a piece; temperature and cuts are those of `sampling`, 1 and none where these are null."""
    sample_media: bool
    """Score, piano roll and sound into TensorBoard too, of such a piece and, at the end, of the run's first final
    piece, which takes one or two seconds per piece."""

    def __post_init__(self) -> None:
        for key in ("histogram_every_epochs", "sample_every_epochs"):
            every = getattr(self, key)
            require(every is None or every >= 1, f"logging.{key}", every, "null or at least 1")
        require(self.sample_events >= 1, "logging.sample_events", self.sample_events, "at least 1")


@dataclass(kw_only=True, slots=True)
class TrainConfig:
    """The root of `composer train`."""

    name: str
    """Folder of the run below `outputs/`."""
    seed: int
    resume: str | None
    """A run directory to continue in place; nothing else but `trainer.max_epochs` may be given with it."""
    data: DataConfig
    encoding: EncodingConfig
    augmentation: AugmentationConfig
    model: ModelConfig
    loss: LossConfig
    regularizer: RegularizerConfig
    optimizer: OptimizerConfig
    trainer: TrainerConfig
    checkpoint: CheckpointConfig
    logging: LoggingConfig
    sampling: SamplingConfig
    sampling_grid: SamplingGridConfig

    def __post_init__(self) -> None:
        valid = SAFE_NAME.fullmatch(self.name) is not None
        limit = "1 to 64 letters, digits, dots, underscores or hyphens, the first a letter or digit"
        require(valid, "name", self.name, limit)
        stateless = self.model.name is ModelName.transformer and self.sampling.mode is Mode.stateful
        require(not stateless, "sampling.mode", "stateful", "window with model=transformer, which keeps no state")
        require(0 <= self.seed < 2**32, "seed", self.seed, "from 0 to 4294967295")
        moved = self.augmentation.transpose
        limit = "0 with data.drums=true, where a note is an instrument"
        require(not (moved and self.data.drums), "augmentation.transpose", moved, limit)
        if self.loss.supervision is Supervision.stream:
            self._check_stream()

    def _check_stream(self) -> None:
        """Raise a `ComposerError` for what does not go with streams."""
        key, value = "loss.supervision", Supervision.stream.name
        recurrent = self.model.name is not ModelName.transformer
        require(recurrent, key, value, "last or every with model=transformer, which carries no state")
        require(self.trainer.devices == 1, key, value, "last or every with trainer.devices above 1")
        require(not self.augmentation.active, key, value, "last or every with augmentation, which varies windows")
        whole = self.data.windows_per_epoch is None
        require(whole, key, value, "last or every with data.windows_per_epoch: an epoch of streams is all of them")
