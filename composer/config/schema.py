"""Every key that can be typed, its type and its limits. The values live in `conf/` alone.

Plain dataclasses: no torch, Hydra or OmegaConf, so that a notebook can build them and the torch-free commands can read
them. Limits are checked when an object is made and name the key as it is typed on the command line.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, fields, replace
from enum import Enum
from typing import Any, ClassVar

from composer.config.scales import SCALES, scale_pitches
from composer.errors import ComposerError

SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

# The channels of an event, everywhere in this order.
CHANNELS = ("note", "velocity", "time")
# How the classes of a channel are cut before one is drawn, each a key of its own.
CUTS = ("temperature", "top_k", "top_p", "min_p")
# `encoding.time_bins` where it is null: for `time_binning=distinct`, and for the others.
MAX_DISTINCT_TIMES, TIME_CLUSTERS = 128, 32


def require(holds: bool, key: str, value: object, limit: str) -> None:
    """Raise a `ComposerError` that names `key`, its `value` and the `limit` unless `holds`."""
    if not holds:
        raise ComposerError(f"{key}={'null' if value is None else value}: must be {limit}")


def _finite(value: float) -> bool:
    return math.isfinite(value)


class Source(Enum):
    """Where the pieces come from."""

    prelude = "prelude"
    midi = "midi"
    chorales = "chorales"


class Split(Enum):
    """How the windows that are not in the test block are divided into training and validation."""

    shuffled = "shuffled"
    blocked = "blocked"
    by_piece = "by_piece"
    file = "file"


def split_title(key: str, split: str, pieces: int) -> str:
    """A split as said to a person: `val` with how its windows were chosen, `test` with what was held out."""
    held_out = "block" if pieces == 1 else "pieces"
    return {"val": f"val ({split})", "test": f"test (held-out {held_out})"}.get(key, key)


class Block(Enum):
    """Which part of a piece a held-out block is."""

    start = "start"
    middle = "middle"
    end = "end"


class Order(Enum):
    """The order of events of one moment."""

    file = "file"
    canonical = "canonical"


class Pedal(Enum):
    """What the sustain pedal (controller 64) does to the notes that are read."""

    ignore = "ignore"
    extend = "extend"


class OnError(Enum):
    """What happens to a file of a folder that cannot be used; a file named by itself always fails."""

    skip = "skip"
    fail = "fail"


class Keep(Enum):
    """Whether the events of a folder are kept in a store on disk."""

    auto = "auto"
    rebuild = "rebuild"
    off = "off"


class TimeUnit(Enum):
    """The unit of the time since the previous event."""

    seconds = "seconds"
    beats = "beats"


class TimeBinning(Enum):
    """How the positive times are divided into classes."""

    distinct = "distinct"
    equal_width = "equal_width"
    quantile = "quantile"
    kmeans = "kmeans"


class Inputs(Enum):
    """What the network is told of each event that it reads; what it predicts stays the same."""

    all = "all"
    drop_note = "drop_note"
    drop_velocity = "drop_velocity"
    drop_time = "drop_time"
    shuffle_note = "shuffle_note"
    shuffle_velocity = "shuffle_velocity"
    shuffle_time = "shuffle_time"


class ModelName(Enum):
    """The kind of network that reads the events."""

    lstm = "lstm"
    gru = "gru"
    transformer = "transformer"


class Heads(Enum):
    """How the three channels of the next event are predicted from what was read."""

    independent = "independent"
    chained = "chained"


class Supervision(Enum):
    """Which steps of a training window are trained on."""

    last = "last"
    every = "every"
    stream = "stream"


class Mode(Enum):
    """What the network has read when it predicts an event while composing."""

    window = "window"
    stateful = "stateful"


class Method(Enum):
    """How the next event is taken from its probabilities."""

    sample = "sample"
    greedy = "greedy"
    beam = "beam"


class Ending(Enum):
    """What becomes of notes that sound when the length is reached."""

    cut = "cut"
    close = "close"


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
class DataConfig:
    """Group `data`: the pieces, the windows and the split."""

    source: Source
    path: str | None
    """A MIDI file or a folder of them (`.mid`, `.midi`, searched recursively); only for `data=midi`."""
    part: str
    """`first` (with notes), `all`, `track:N`, `channel:N` (both from 0), or `family:NAME` (General MIDI, `piano`)."""
    drums: bool
    """Keep the drum channel (9, counted from 0)."""
    clip: bool
    """Read a file whose data bytes exceed 127 by clipping them, with a warning, instead of refusing it."""
    order: Order
    """Simultaneous events as in the `file`, or `canonical`: releases first, then strikes, each by pitch."""
    pedal: Pedal
    """`extend` lets a released note last while the sustain pedal is down; `ignore` takes the releases as they are."""
    on_error: OnError
    """`skip` trains on a folder's good files and lists the others with the reason; `fail` stops at the first."""
    store: Keep
    """`auto` keeps a folder's events on disk and reads only files that are new or changed; `rebuild` reads all of them
    anew; `off` reads them into memory in every run."""
    cache: str | None
    """Folder for the stores; null is `$XDG_CACHE_HOME/composer`, which is `~/.cache/composer` by default."""
    readers: int | None
    """Processes that read the files of a folder into its store; null is one a core."""
    window_size: int
    """Events that the network reads before it predicts the next one."""
    first_target: int | None
    """Events of each piece before its first target; null is `window_size`. Runs with different windows and the same
    number here have the same targets in training, validation and test, and the same batches of them."""
    batch_size: int
    windows_per_epoch: int | None
    """Training windows of an epoch: each goes on where the last one ended, so that after some epochs all have been seen
    once. null is all of them."""
    eval_windows: int | None
    """At most so many validation windows, and test windows, are scored: a fixed draw. null scores all."""
    split: Split
    split_file: str | None
    """For `split=file` and `group_by`, the CSV file with the column `midi_filename` and the one in question, `split` or
    that of `group_by`; null is the only one of the folder `path`."""
    val_fraction: float
    """Share of the windows (of the pieces for `by_piece`) held out for validation, after the test block."""
    val_block: Block
    """Where `split=blocked` holds out the validation block."""
    test_fraction: float
    """Share held out for the test, first of all: a block of one piece, or whole pieces of several."""
    test_block: Block
    fold: int | None
    """With `split=blocked`, hold out this block (from 0) of `folds` equal ones for validation, in place of `val_block`
    and `val_fraction`; null goes by these."""
    folds: int
    group_similarity: float | None
    """Pieces of several that share this much of their melody, at any pitch, are held out together, and so are copies;
    null looks for no such pieces."""
    group_by: str | None
    """Column of the folder's CSV file, such as `canonical_title` in MAESTRO's or `tune` in the chorales': pieces with
    the same value there are held out together too."""
    num_workers: int
    """Processes that gather batches; 0 gathers in the training process and is the fastest for small pieces."""

    def __post_init__(self) -> None:
        require(self.window_size >= 1, "data.window_size", self.window_size, "at least 1")
        size, first = self.window_size, self.first_target
        limit = f"null or at least data.window_size={size}"
        require(first is None or first >= size, "data.first_target", first, limit)
        require(self.batch_size >= 1, "data.batch_size", self.batch_size, "at least 1")
        require(0 < self.val_fraction < 1, "data.val_fraction", self.val_fraction, "more than 0 and less than 1")
        require(0 <= self.test_fraction < 1, "data.test_fraction", self.test_fraction, "at least 0 and less than 1")
        require(self.folds >= 2, "data.folds", self.folds, "at least 2")
        fold = self.fold
        require(fold is None or 0 <= fold < self.folds, "data.fold", fold, f"null or from 0 to {self.folds - 1}")
        blocked = fold is None or self.split is Split.blocked
        require(blocked, "data.fold", fold, "null unless data.split=blocked")
        alike = self.group_similarity
        require(alike is None or 0 < alike <= 1, "data.group_similarity", alike, "null, or above 0 up to 1")
        require(self.num_workers >= 0, "data.num_workers", self.num_workers, "at least 0")
        for key in ("readers", "windows_per_epoch", "eval_windows"):
            value = getattr(self, key)
            require(value is None or value >= 1, f"data.{key}", value, "null or at least 1")
        named, grouped = self.split is Split.file, self.group_by is not None
        use = "used with data.split=file or data.group_by"
        require(named or grouped or self.split_file is None, "data.split_file", self.split_file, use)
        several = self.source is not Source.prelude
        require(not named or several, "data.split", self.split.name, "used with data=midi or data=chorales")
        require(not grouped or several, "data.group_by", self.group_by, "used with data=midi or data=chorales")
        if self.source is Source.midi:
            require(bool(self.path), "data.path", self.path, "a MIDI file or a folder of them with data=midi")
        else:
            require(self.path is None, "data.path", self.path, "used with data=midi (add data=midi)")

    @property
    def named(self) -> str:
        """The key that says where the pieces come from, with its value, for messages."""
        return f"data.path={self.path}" if self.source is Source.midi else f"data={self.source.name}"

    @property
    def margin(self) -> int:
        """Events before the first target of a piece, and between a held-out block and the windows beside it."""
        return self.window_size if self.first_target is None else self.first_target

    @property
    def margin_key(self) -> str:
        """The key that decides `margin`, with its value, for messages."""
        key = "data.window_size" if self.first_target is None else "data.first_target"
        return f"{key}={self.margin}"


@dataclass(kw_only=True, slots=True)
class EncodingConfig:
    """Group `encoding`: how an event becomes three classes."""

    pitch_low: int
    pitch_high: int
    """Lowest and highest MIDI pitch that has a class, both included."""
    velocity_bins: int | None
    """Classes of the velocities 1 to 127, of one width; null is a class for each. Class 0 besides is a release."""
    time_unit: TimeUnit | None
    """null chooses by the music: `beats` where the onsets keep to the grid of the file's beats (scores), `seconds` for
    performances."""
    time_binning: TimeBinning | None
    """`distinct` has a class for each time that occurs, `kmeans` clusters, `quantile` equal shares, `equal_width` equal
    intervals, the article's; null is `distinct` in beats and `kmeans` in seconds."""
    time_bins: int | None
    """Intervals (or clusters) of the positive times, at most; class 0 in addition is exact simultaneity. null is 128
    for `distinct` and 32 otherwise."""

    def __post_init__(self) -> None:
        require(0 <= self.pitch_low <= 127, "encoding.pitch_low", self.pitch_low, "from 0 to 127")
        high = self.pitch_high
        require(self.pitch_low <= high <= 127, "encoding.pitch_high", high, f"from {self.pitch_low} to 127")
        bins = self.velocity_bins
        require(bins is None or 1 <= bins <= 127, "encoding.velocity_bins", bins, "null or from 1 to 127")
        count = self.time_bins
        require(count is None or 1 <= count <= 254, "encoding.time_bins", count, "null or from 1 to 254")

    @property
    def unit(self) -> TimeUnit:
        """The unit of a `resolved` config."""
        assert self.time_unit is not None
        return self.time_unit

    @property
    def bins(self) -> int:
        """The number of positive time classes of a `resolved` config, at most."""
        assert self.time_bins is not None
        return self.time_bins

    def resolved(self, unit: TimeUnit) -> EncodingConfig:
        """Return the config with `time_unit`, where it is null, as `unit`, and what follows from it."""
        chosen = self.time_unit or unit
        binning = self.time_binning or (TimeBinning.distinct if chosen is TimeUnit.beats else TimeBinning.kmeans)
        bins = self.time_bins or (MAX_DISTINCT_TIMES if binning is TimeBinning.distinct else TIME_CLUSTERS)
        return replace(self, time_unit=chosen, time_binning=binning, time_bins=bins)


@dataclass(kw_only=True, slots=True)
class AugmentationConfig:
    """Group `augmentation`: how training windows are varied, each as a whole, anew each time that it comes."""

    transpose: int
    """Semitones up or down at most, within the encoding's pitches; 0 leaves the key."""
    stretch: float
    """Times are multiplied by a factor from 1 / stretch to stretch; 1 leaves them."""
    velocity: float
    """Velocities of strikes are multiplied by a factor from 1 / velocity to velocity; 1 leaves them."""

    def __post_init__(self) -> None:
        require(0 <= self.transpose <= 127, "augmentation.transpose", self.transpose, "from 0 to 127")
        require(1 <= self.stretch <= 4, "augmentation.stretch", self.stretch, "from 1 to 4")
        require(1 <= self.velocity <= 4, "augmentation.velocity", self.velocity, "from 1 to 4")

    @property
    def active(self) -> bool:
        """Whether anything is varied."""
        return self.transpose > 0 or self.stretch > 1 or self.velocity > 1


@dataclass(kw_only=True, slots=True)
class ModelConfig:
    """Group `model`: the same keys whichever is chosen, so that runs compare column by column."""

    name: ModelName
    hidden_size: int
    """Units of a recurrent layer; width of a Transformer."""
    num_layers: int
    attention_heads: int
    """Of each layer of a Transformer; they divide its width into parts of an even size. The others have none."""
    dropout: float
    """Probability of dropping a unit of the network's output, and between its layers (in a Transformer: of what each
    sublayer adds)."""
    weight_dropout: float
    """Probability of dropping a hidden-to-hidden weight for a whole batch (recurrent networks)."""
    variational_dropout: float
    """Probability of dropping an input or a recurrent unit of a layer, the same ones at every step of a window
    (recurrent networks)."""
    embedding_size: int | None
    """Numbers that a class of each channel is looked up as before the first layer; null reads one-hot vectors."""
    heads: Heads
    """`independent` predicts each channel from what was read; `chained` the velocity given the note too, and the time
    given both."""
    inputs: Inputs
    """`drop_*` leaves a channel out of the input, `shuffle_*` permutes its values over all events of a batch."""
    bar_position: bool
    """Read, with each event, the place in the bar at which it stands, in steps of 1/12 beat; nothing predicts
    it."""

    def __post_init__(self) -> None:
        require(1 <= self.hidden_size <= 16_384, "model.hidden_size", self.hidden_size, "from 1 to 16384")
        require(1 <= self.num_layers <= 32, "model.num_layers", self.num_layers, "from 1 to 32")
        require(1 <= self.attention_heads <= 256, "model.attention_heads", self.attention_heads, "from 1 to 256")
        transformer = self.name is ModelName.transformer
        if transformer:
            even = self.hidden_size % (2 * self.attention_heads) == 0
            limit = f"a multiple of 2 * model.attention_heads={self.attention_heads} with model=transformer"
            require(even, "model.hidden_size", self.hidden_size, limit)
        for key in ("dropout", "weight_dropout", "variational_dropout"):
            value = getattr(self, key)
            require(0 <= value < 1, f"model.{key}", value, "at least 0 and less than 1")
            if key != "dropout":
                limit = "0 with model=transformer, which has no recurrent weights"
                require(not (transformer and value), f"model.{key}", value, limit)
        size = self.embedding_size
        require(size is None or 1 <= size <= 4096, "model.embedding_size", size, "null, or from 1 to 4096")
        timed = self.inputs not in (Inputs.drop_time, Inputs.shuffle_time)
        limit = f"false with model.inputs={self.inputs.name}, since places in the bar say the times"
        require(timed or not self.bar_position, "model.bar_position", "true", limit)


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
        require(self.weight >= 0 and _finite(self.weight), "regularizer.weight", self.weight, "a finite number >= 0")
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
            require(value >= 0 and _finite(value), f"loss.{channel}_weight", value, "a finite number >= 0")
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
        require(self.lr > 0 and _finite(self.lr), "optimizer.lr", self.lr, "a finite number above 0")
        decay = self.weight_decay
        require(decay >= 0 and _finite(decay), "optimizer.weight_decay", decay, "a finite number >= 0")
        require(0 <= self.beta1 < 1, "optimizer.beta1", self.beta1, "at least 0 and less than 1")
        require(0 <= self.beta2 < 1, "optimizer.beta2", self.beta2, "at least 0 and less than 1")
        require(self.eps > 0 and _finite(self.eps), "optimizer.eps", self.eps, "a finite number above 0")
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
class SamplingConfig:
    """Group `sampling`: how a piece is composed. For `composer generate` the keys stand at the root."""

    prefix: ClassVar[str] = "sampling."

    events: int
    """Events composed after the primer."""
    seconds: float | None
    """Compose this many seconds of music instead of a number of events; null goes by `events`."""
    n: int
    """Pieces composed."""
    mode: Mode
    """`window` reads the last `data.window_size` events, as in training; `stateful` all events since the primer began
    (recurrent networks)."""
    method: Method
    """`sample` draws, `greedy` takes the likeliest class of each channel, `beam` searches for the likeliest pieces."""
    beams: int
    """Pieces that `method=beam` keeps in view; the `n` likeliest of them are written."""
    temperature: float | None
    """Divides the logits before the softmax: below 1 is safer, above 1 is bolder. null is the run's own: what its end
    has chosen (`sampling_grid`), or else its config; 1 where neither says one."""
    top_k: int | None
    """Sample among the k likeliest classes of each channel; null among all."""
    top_p: float | None
    """Sample among the likeliest classes whose probabilities reach p; 1 among all. null is the run's own, as above."""
    min_p: float | None
    """Sample among the classes at least so likely as this share of the likeliest one's probability; null among all."""
    note_temperature: float | None
    """For one channel in place of the common value; null, here and below, is the common one."""
    velocity_temperature: float | None
    time_temperature: float | None
    note_top_k: int | None
    velocity_top_k: int | None
    time_top_k: int | None
    note_top_p: float | None
    velocity_top_p: float | None
    time_top_p: float | None
    note_min_p: float | None
    velocity_min_p: float | None
    time_min_p: float | None
    repeats: int | None
    """A figure of up to 32 strikes and releases is played at most so many times in a row; null is no limit."""
    keep_grid: bool
    """Strike notes where the training music does: on its grid, 1/4, 1/12 or 1/24 beat from the bar line. Only for
    networks that read scores in beats; without it one odd time moves all notes that follow."""
    playable: bool
    """Draw no release of a silent pitch and no strike of a sounding one. Written files never hold them."""
    polyphony: int | None
    """Notes at once; null is no limit."""
    pitch_low: int | None
    pitch_high: int | None
    """Lowest and highest MIDI pitch that is struck, both included; null is the network's."""
    scale: str | None
    """A key such as `Bb` or `F#m`, or a scale such as `D:dorian`, whose pitches are struck; null is all."""
    max_note_seconds: float | None
    """Longest note, as a rule; null draws as the network does, and releases what it holds longer than any note of the
    training music when the piece is written."""
    ending: Ending
    """`cut` ends what sounds with the last event; `close` composes the releases too, within the length."""
    include_primer: bool
    """Begin the written piece with the primer's own events."""

    def __post_init__(self) -> None:
        self._check("events", self.events >= 1, "at least 1")
        seconds = self.seconds
        self._check("seconds", seconds is None or (seconds > 0 and _finite(seconds)), "null, or finite and above 0")
        self._check("n", self.n >= 1, "at least 1")
        self._check("beams", 1 <= self.beams <= 16, "from 1 to 16")
        limit = f"at most beams={self.beams} with method=beam"
        self._check("n", self.method is not Method.beam or self.n <= self.beams, limit)
        for channel in ("", *(f"{name}_" for name in CHANNELS)):
            self._check_channel(channel)
        self._check("repeats", self.repeats is None or self.repeats >= 2, "null or at least 2")
        self._check("polyphony", self.polyphony is None or self.polyphony >= 1, "null or at least 1")
        low, high = self.pitch_low, self.pitch_high
        self._check("pitch_low", low is None or 0 <= low <= 127, "null, or from 0 to 127")
        self._check("pitch_high", high is None or (low or 0) <= high <= 127, f"null, or from {low or 0} to 127")
        known = self.scale is None or scale_pitches(self.scale) is not None
        limit = f"null, a key such as Bb or F#m, or a tonic with one of {', '.join(SCALES)}, such as D:dorian"
        self._check("scale", known, limit)
        longest = self.max_note_seconds
        valid = longest is None or (longest > 0 and _finite(longest))
        self._check("max_note_seconds", valid, "null, or finite and above 0")

    def _check_channel(self, channel: str) -> None:
        """Check the keys of a channel, or the common ones; null is the common value, or none."""
        temperature, top_k, top_p, min_p = (getattr(self, channel + key) for key in CUTS)
        valid = temperature is None or (temperature > 0 and _finite(temperature))
        self._check(f"{channel}temperature", valid, "null, or finite and above 0")
        self._check(f"{channel}top_k", top_k is None or top_k >= 1, "null or at least 1")
        self._check(f"{channel}top_p", top_p is None or 0 < top_p <= 1, "null, or above 0 up to 1")
        self._check(f"{channel}min_p", min_p is None or 0 <= min_p <= 1, "null, or from 0 to 1")

    def _check(self, key: str, holds: bool, limit: str) -> None:
        value = getattr(self, key)
        require(holds, f"{self.prefix}{key}", value.name if isinstance(value, Enum) else value, limit)

    def cut(self, channel: str) -> tuple[float, int | None, float | None, float | None]:
        """Return the values of `CUTS` for a channel: its own, else the common ones, else temperature 1 and no cut.

        A `top_p` of 1 cuts nothing and is returned as None.
        """
        own = (getattr(self, f"{channel}_{key}") for key in CUTS)
        common = (getattr(self, key) for key in CUTS)
        temperature, top_k, top_p, min_p = (
            of_all if one is None else one for one, of_all in zip(own, common, strict=True)
        )
        return 1.0 if temperature is None else temperature, top_k, None if top_p == 1 else top_p, min_p


@dataclass(kw_only=True, slots=True)
class SamplingGridConfig:
    """Node `sampling_grid`: what a run tries at its end where `sampling.temperature` or `sampling.top_p` is null.

    Each is composed with the best weights; the one nearest to held-out music becomes the run's own.
    """

    pieces: int
    """Pieces composed with each setting; 0 tries none, and the run composes at temperature 1 without a cut."""
    events: int
    """Events of each piece, at most `sampling.events`."""
    temperatures: list[float]
    top_p: list[float]
    """1 is no cut."""

    def __post_init__(self) -> None:
        require(self.pieces >= 0, "sampling_grid.pieces", self.pieces, "at least 0")
        require(self.events >= 1, "sampling_grid.events", self.events, "at least 1")
        for key, values in (("temperatures", self.temperatures), ("top_p", self.top_p)):
            require(bool(values), f"sampling_grid.{key}", "[]", "a list of at least one number")
        for value in self.temperatures:
            limit = "finite and above 0, each of them"
            require(value > 0 and _finite(value), "sampling_grid.temperatures", value, limit)
        for value in self.top_p:
            require(0 < value <= 1, "sampling_grid.top_p", value, "above 0 up to 1, each of them")


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


@dataclass(kw_only=True, slots=True)
class GenerateConfig(SamplingConfig):
    """The root of `composer generate`."""

    prefix: ClassVar[str] = ""

    run: str
    """A run directory or a checkpoint file."""
    checkpoint: str
    """`best` or `last`, for a run directory."""
    seed: int
    primer: str | None
    """null (the training piece's first events), a MIDI file, an offset in events into the training piece, or `none`."""
    continue_from: str | None
    """A MIDI file to go on from: the written piece begins with it, and the network with its last events."""
    output: str | None
    """Folder for the MIDI files; null makes a new one below `outputs/generate`."""

    def __post_init__(self) -> None:
        # Not super(): a dataclass with slots is a new class, which the zero-argument form does not find.
        SamplingConfig.__post_init__(self)
        require(self.checkpoint in ("best", "last"), "checkpoint", self.checkpoint, "best or last")
        folder = self.output is None or not self.output.lower().endswith((".mid", ".midi"))
        both = self.continue_from is None or (self.primer is None and not self.include_primer)
        require(both, "continue_from", self.continue_from, "used without primer and include_primer")
        require(
            folder, "output", self.output, "a folder; the files in it are named after the run, the seed and a number"
        )
        require(0 <= self.seed < 2**32, "seed", self.seed, "from 0 to 4294967295")


@dataclass(kw_only=True, slots=True)
class LiveConfig(SamplingConfig):
    """The root of `composer live`."""

    prefix: ClassVar[str] = ""

    run: str
    """A run directory or a checkpoint file."""
    checkpoint: str
    """`best` or `last`, for a run directory."""
    seed: int
    primer: str | None
    """As for `composer generate`."""
    port: str | None
    """Name of a MIDI output, or `virtual` for one of our own that other programs can read; null is the first."""

    def __post_init__(self) -> None:
        SamplingConfig.__post_init__(self)
        require(self.checkpoint in ("best", "last"), "checkpoint", self.checkpoint, "best or last")
        require(0 <= self.seed < 2**32, "seed", self.seed, "from 0 to 4294967295")
        require(self.n == 1, "n", self.n, "1: a port plays one piece")
        found = self.method is not Method.beam
        require(found, "method", self.method.name, "sample or greedy: a search knows no event before the last")
        require(not self.include_primer, "include_primer", "true", "false: what is composed is played")


@dataclass(kw_only=True, slots=True)
class EvaluateDataConfig:
    """Node `data` of `composer evaluate`."""

    path: str | None
    """Files to score instead of the run's own held-out windows."""


@dataclass(kw_only=True, slots=True)
class ContextConfig:
    """Node `context` of `composer evaluate`: the loss against the number of events read."""

    longest: int | None
    """The most events read before a target; null is the window of the training."""
    windows: int
    """Windows that are probed, a draw; 0 leaves the probe out."""

    def __post_init__(self) -> None:
        longest = self.longest
        require(longest is None or longest >= 1, "context.longest", longest, "null or at least 1")
        require(self.windows >= 0, "context.windows", self.windows, "at least 0")


@dataclass(kw_only=True, slots=True)
class EvaluateConfig:
    """The root of `composer evaluate`."""

    run: str
    """A run directory or a checkpoint file."""
    checkpoint: str
    """`best` or `last`, for a run directory."""
    data: EvaluateDataConfig
    context: ContextConfig
    resamples: int
    """Bootstrap draws over pieces where the resamples are too many to be counted (more than 8 pieces)."""
    samples: int
    """Pieces that are composed, as the run's `sampling` says, to tell what they copy and are like; 0 is none."""
    figures: bool
    """Draw the figures."""
    output: str | None
    """Folder for `evaluation.json`; null makes a new one below `outputs/evaluate`."""

    def __post_init__(self) -> None:
        require(self.checkpoint in ("best", "last"), "checkpoint", self.checkpoint, "best or last")
        require(1000 <= self.resamples <= 1_000_000, "resamples", self.resamples, "from 1000 to 1000000")
        require(0 <= self.samples <= 1000, "samples", self.samples, "from 0 to 1000")


@dataclass(kw_only=True, slots=True)
class CompareConfig:
    """The root of `composer compare`."""

    sweep: str
    """The folder of a sweep, or any folder with runs below it; stands first, without its key."""
    baseline: str | None
    """Label of the arm that the others are compared with, as the tables show it; null takes the first."""
    metric: str
    """The metric that the first table and the differences are about, as `summary.json` names it."""
    weights: str
    """`final` (after the last epoch, as in the article) or `best` (of the lowest `loss/val`)."""
    resamples: int
    """Bootstrap draws where the resamples are too many to be counted (more than 8 seeds)."""
    figures: bool
    """Draw the figures; without them only the tables are written."""
    output: str | None
    """Folder for the report; null makes `compare` in the sweep's folder."""

    def __post_init__(self) -> None:
        require(bool(self.sweep), "sweep", "", "the folder of a sweep: composer compare SWEEP_DIR")
        require(self.weights in ("final", "best"), "weights", self.weights, "final or best")
        require(1000 <= self.resamples <= 1_000_000, "resamples", self.resamples, "from 1000 to 1000000")


@dataclass(kw_only=True, slots=True)
class ReportConfig:
    """The root of `composer report`."""

    folder: str | None
    """A run directory, or a sweep's folder; stands first, without its key. Null takes the newest below `outputs`."""
    temperatures: list[float]
    """A run composes a piece at its own temperature and at each of these, all with its own top_p."""
    events: int
    """Events of each piece that is composed for the page."""
    seed: int
    """Of these pieces."""
    output: str | None
    """The page; null writes `report.html` into the folder."""

    def __post_init__(self) -> None:
        for temperature in self.temperatures:
            require(temperature > 0 and _finite(temperature), "temperatures", temperature, "finite and above 0")
        require(1 <= self.events <= 5000, "events", self.events, "from 1 to 5000, which a page can hold")
        require(self.seed >= 0, "seed", self.seed, "at least 0")


@dataclass(kw_only=True, slots=True)
class ExploreConfig:
    """The root of `composer explore`."""

    seed: int
    """Decides the split, as in training."""
    data: DataConfig
    encoding: EncodingConfig
    output: str | None
    """Folder for the report's files; null makes a new one below `outputs/explore`."""

    def __post_init__(self) -> None:
        require(0 <= self.seed < 2**32, "seed", self.seed, "from 0 to 4294967295")


@dataclass(kw_only=True, slots=True)
class ExportConfig:
    """The root of `composer export`."""

    run: str
    """A run directory or a checkpoint file."""
    checkpoint: str
    """`best` or `last`, for a run directory."""
    output: str
    """The file to write; its name ends in `.safetensors` or `.onnx`."""

    def __post_init__(self) -> None:
        require(self.checkpoint in ("best", "last"), "checkpoint", self.checkpoint, "best or last")
        known = self.output.endswith((".safetensors", ".onnx"))
        require(known, "output", self.output, "a file name ending in .safetensors or .onnx")


@dataclass(kw_only=True, slots=True)
class NotesConfig:
    """Node `data` of commands that read one MIDI file: which of its notes."""

    part: str
    """As for training: `first`, `all`, `track:N`, `channel:N`, `family:NAME`."""
    drums: bool
    clip: bool


@dataclass(kw_only=True, slots=True)
class CopyingConfig:
    """The root of `composer copying`."""

    file: str
    """The MIDI file; on the command line the first argument."""
    run: str
    """The directory of the run whose training music may have been copied."""
    data: NotesConfig
    output: str | None
    """Folder; null is one of the file's name in `outputs/copying`."""


class Synth(Enum):
    """What makes the sound of `composer render`."""

    auto = "auto"
    builtin = "builtin"
    fluidsynth = "fluidsynth"
    none = "none"


class SoundFormat(Enum):
    """The kind of sound file; all but `wav` need the package soundfile."""

    wav = "wav"
    flac = "flac"
    ogg = "ogg"


@dataclass(kw_only=True, slots=True)
class RenderConfig:
    """The root of `composer render`."""

    file: str
    """The MIDI file; on the command line the first argument."""
    data: NotesConfig
    title: str | None
    """For the head of the score; null is the title in the file (of type 0), or the file's name."""
    meter: str | None
    """Such as `3/4`; null takes the file's, or estimates it for performed music."""
    key: str | None
    """Such as `Bb` or `F#m`; null takes the file's, unless that is C, or estimates it."""
    original: str | None
    """A MIDI file whose piano roll is drawn above, for comparison."""
    synth: Synth
    """`auto` is FluidSynth where it and a soundfont are installed, else `builtin`, a piano of our own."""
    soundfont: str | None
    """A `.sf2` file for FluidSynth; null looks in the usual places."""
    sound: SoundFormat
    output: str | None
    """Folder; null is one of the file's name in `outputs/render`."""
