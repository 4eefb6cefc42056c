"""Groups `data`, `encoding` and `augmentation`: the pieces, the windows, the split and the classes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from composer.config.limits import require

# `encoding.time_bins` where it is null: for `time_binning=distinct`, and for the others.
MAX_DISTINCT_TIMES, TIME_CLUSTERS = 128, 32


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
