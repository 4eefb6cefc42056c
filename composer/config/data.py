"""Groups `data`, `encoding` and `augmentation`: the pieces, the windows, the split and the classes."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from enum import Enum
from typing import Annotated, ClassVar

from composer.config.limits import (
    BELOW_1,
    COUNT,
    PITCH,
    UP_TO_1,
    Group,
    Range,
    Registered,
    Values,
    at_least,
    between,
    check_name,
)
from composer.registry import NoKeys, keys_of

# `encoding.time_bins` where it is null: for `time_binning=distinct`, and for the others.
MAX_DISTINCT_TIMES, TIME_CLUSTERS = 128, 32
# Of times or velocities that are varied.
FACTOR = between(1, 4)


keys_of("split", "shuffled", "blocked", "by_piece", "file")(NoKeys)


def split_title(key: str, split: str, pieces: int) -> str:
    """Return the name of a split for people: `val` with how its windows were chosen, `test` with what was held out."""
    held_out = "block" if pieces == 1 else "pieces"
    return {"val": f"val ({split})", "test": f"test (held-out {held_out})"}.get(key, key)


class Block(Enum):
    """Place of a held-out block in its piece."""

    start = "start"
    middle = "middle"
    end = "end"


class Order(Enum):
    """Order of simultaneous events."""

    file = "file"
    canonical = "canonical"


class Pedal(Enum):
    """Effect of the sustain pedal (controller 64) on the notes that are read."""

    ignore = "ignore"
    extend = "extend"


class OnError(Enum):
    """Treatment of a file in a folder that cannot be used; a file that `data.path` names always fails."""

    skip = "skip"
    fail = "fail"


class Keep(Enum):
    """Use of a store on disk for the events of a folder."""

    auto = "auto"
    rebuild = "rebuild"
    off = "off"


@dataclass(kw_only=True, slots=True)
class DataConfig(Group):
    """Group `data`: the pieces, the windows and the split; the keys that every source has."""

    prefix: ClassVar[str] = "data."
    # Whether the pieces are in files of a folder, which a CSV file beside them can name.
    of_files: ClassVar[bool] = False

    source: str
    """The source of the pieces; `data=NAME` sets it."""
    path: str | None
    """A MIDI file or a folder of them (`.mid`, `.midi`, `.rmi`, `.kar`, searched recursively); only for `data=midi`."""
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
    again; `off` reads them into memory in every run."""
    cache: str | None
    """Folder for the stores; null is `$XDG_CACHE_HOME/composer`, which is `~/.cache/composer` by default."""
    readers: Annotated[int | None, COUNT]
    """Processes that read the files of a folder into its store; null is one per core."""
    window_size: Annotated[int, COUNT]
    """Events that the network reads before it predicts the next one."""
    first_target: Annotated[int | None, Values("at least window_size")]
    """Events of each piece before its first target; null is `window_size`. Runs with different windows and the same
    number here have the same targets in training, validation and test, and the same batches of them."""
    batch_size: Annotated[int, COUNT]
    """Windows per batch: one step of the optimiser reads this many."""
    windows_per_epoch: Annotated[int | None, COUNT]
    """Training windows per epoch: each epoch goes on where the last one ended, so that after some epochs all have been
    seen once. null is all of them."""
    eval_windows: Annotated[int | None, COUNT]
    """Largest number of validation windows, and of test windows, that are scored: a fixed draw. null scores all."""
    split: Annotated[str, Registered("split")]
    """Division of the windows outside the test block into training and validation."""
    split_file: str | None
    """For `split=file` and `group_by`, the CSV file with the column `midi_filename` and the one in question, `split` or
    that of `group_by`; null is the only one of the folder `path`."""
    val_fraction: Annotated[float, Range("more than 0 and less than 1", above=0, below=1)]
    """Share of the windows (of the pieces for `by_piece`) held out for validation, after the test block."""
    val_block: Block
    """Where `split=blocked` holds out the validation block."""
    test_fraction: Annotated[float, BELOW_1]
    """Share held out for the test, first of all: a block of one piece, or whole pieces of several."""
    test_block: Block
    """Where a single piece holds out its test block."""
    fold: Annotated[int | None, Values("from 0 to folds - 1")]
    """With `split=blocked`, hold out this block (from 0) of `folds` equal ones for validation, in place of `val_block`
    and `val_fraction`; null uses these."""
    folds: Annotated[int, at_least(2)]
    """Equal blocks of a piece that `fold` chooses from."""
    group_similarity: Annotated[float | None, UP_TO_1]
    """Pieces of several that share this much of their melody, at any pitch, are held out together, and so are copies;
    null looks for no such pieces."""
    group_by: str | None
    """Column of the folder's CSV file, such as `canonical_title` in MAESTRO's or `tune` in the chorales': pieces with
    the same value there are held out together too."""
    train_share: Annotated[float, UP_TO_1] = 1.0
    """Share of the training windows that is trained on, in whole pieces: those of a smaller share are among those of a
    larger one. Needs whole pieces held out (`data.split=by_piece` or `file`); the classes of the encoding are those of
    all training pieces."""
    num_workers: Annotated[int, at_least(0)]
    """Processes that gather batches; 0 gathers in the training process and is the fastest for small pieces."""

    def check(self) -> None:
        """Check relations between keys; raises a `ComposerError`."""
        check_name("data", self, "source")
        first, size = self.first_target, self.window_size
        self.require(first is None or first >= size, "first_target", f"null or at least data.window_size={size}")
        fold = self.fold
        self.require(fold is None or 0 <= fold < self.folds, "fold", f"null or from 0 to {self.folds - 1}")
        self.require(fold is None or self.split == "blocked", "fold", "null unless data.split=blocked")
        named, grouped = self.split == "file", self.group_by is not None
        use = "used with data.split=file or data.group_by"
        self.require(named or grouped or self.split_file is None, "split_file", use)
        self.require(not named or self.of_files, "split", "used with data=midi, chorales or jsb_chorales")
        self.require(not grouped or self.of_files, "group_by", "used with data=midi, chorales or jsb_chorales")
        self.check_path()

    def check_path(self) -> None:
        """Check that there is no path, which most sources have no use for; raises a `ComposerError`."""
        self.require(self.path is None, "path", "used with data=midi (add data=midi)")

    @property
    def named(self) -> str:
        """The key that names the source of the pieces, with its value, for messages."""
        return f"data={self.source}" if self.path is None else f"data.path={self.path}"

    @property
    def margin(self) -> int:
        """Events before the first target of a piece, and between a held-out block and the windows beside it."""
        return self.window_size if self.first_target is None else self.first_target

    @property
    def margin_key(self) -> str:
        """The key that decides `margin`, with its value, for messages."""
        key = "data.window_size" if self.first_target is None else "data.first_target"
        return f"{key}={self.margin}"


@keys_of("data", "prelude")
@dataclass(kw_only=True, slots=True)
class PreludeConfig(DataConfig):
    """`prelude`: the embedded piece."""


@keys_of("data", "chorales")
@dataclass(kw_only=True, slots=True)
class ChoralesConfig(DataConfig):
    """`chorales`: Bach's chorales, from the package music21."""

    of_files: ClassVar[bool] = True


@keys_of("data", "jsb_chorales")
@dataclass(kw_only=True, slots=True)
class JsbChoralesConfig(DataConfig):
    """`jsb_chorales`: Bach's chorales as piano rolls of a quarter note, on the published split; from music21."""

    of_files: ClassVar[bool] = True


@keys_of("data", "midi")
@dataclass(kw_only=True, slots=True)
class MidiConfig(DataConfig):
    """`midi`: the user's files."""

    of_files: ClassVar[bool] = True

    def check_path(self) -> None:
        """Check that there is a path; raises a `ComposerError`."""
        self.require(bool(self.path), "path", "a MIDI file or a folder of them with data=midi")


def of_midi(data: DataConfig, path: str) -> MidiConfig:
    """Return a config of the MIDI files of a path with the values that `data` shares with any other."""
    shared = {field.name: getattr(data, field.name) for field in fields(MidiConfig)}
    return MidiConfig(**(shared | {"source": "midi", "path": path}))


class TimeUnit(Enum):
    """The unit of the time since the previous event."""

    seconds = "seconds"
    beats = "beats"


class TimeBinning(Enum):
    """Division of the positive times into classes."""

    distinct = "distinct"
    equal_width = "equal_width"
    quantile = "quantile"
    kmeans = "kmeans"


@dataclass(kw_only=True, slots=True)
class EncodingConfig(Group):
    """Group `encoding`: how an event becomes three classes."""

    prefix: ClassVar[str] = "encoding."

    pitch_low: Annotated[int, PITCH]
    """Lowest MIDI pitch that has a class, included."""
    pitch_high: Annotated[int, Values("from pitch_low to 127")]
    """Highest MIDI pitch that has a class, included."""
    velocity_bins: Annotated[int | None, between(1, 127)]
    """Classes of the velocities 1 to 127, of equal width; null is a class for each. Class 0 is a release."""
    time_unit: TimeUnit | None
    """null chooses by the music: `beats` where the onsets keep to the grid of the file's beats (scores), `seconds` for
    performances."""
    time_binning: TimeBinning | None
    """`distinct` has a class for each time that occurs, `kmeans` clusters, `quantile` equal shares, `equal_width` equal
    intervals, the article's; null is `distinct` in beats and `kmeans` in seconds."""
    time_bins: Annotated[int | None, between(1, 254)]
    """Intervals (or clusters) of the positive times, at most; class 0 in addition is exact simultaneity. null is 128
    for `distinct` and 32 otherwise."""

    def check(self) -> None:
        """Check relations between keys; raises a `ComposerError`."""
        low = self.pitch_low
        self.require(low <= self.pitch_high <= 127, "pitch_high", f"from {low} to 127")

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
class AugmentationConfig(Group):
    """Group `augmentation`: random variation of training windows, each as a whole, drawn again in every epoch."""

    prefix: ClassVar[str] = "augmentation."

    name: str
    """The option of the group; `augmentation=NAME` sets it."""

    def check(self) -> None:
        """Check that the keys are those of the option named; raises a `ComposerError`."""
        check_name("augmentation", self)

    @property
    def active(self) -> bool:
        """Whether anything is varied."""
        return True


@keys_of("augmentation", "none", "transpose", "stretch", "velocity", "all")
@dataclass(kw_only=True, slots=True)
class TransformConfig(AugmentationConfig):
    """The options of this package: the same keys with other values."""

    transpose: Annotated[int, PITCH]
    """Semitones up or down at most, within the encoding's pitches; 0 leaves the key."""
    stretch: Annotated[float, FACTOR]
    """Times are multiplied by a factor from 1 / stretch to stretch; 1 leaves them."""
    velocity: Annotated[float, FACTOR]
    """Velocities of strikes are multiplied by a factor from 1 / velocity to velocity; 1 leaves them."""

    @property
    def active(self) -> bool:
        """Whether anything is varied."""
        return self.transpose > 0 or self.stretch > 1 or self.velocity > 1
