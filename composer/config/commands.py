"""The roots of the other commands, and the schema of every command by its name."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar

from composer.config.data import DataConfig, EncodingConfig
from composer.config.limits import finite, require
from composer.config.sampling import Method, SamplingConfig
from composer.config.training import TrainConfig


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
            require(temperature > 0 and finite(temperature), "temperatures", temperature, "finite and above 0")
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


SCHEMAS: dict[str, type[Any]] = {
    "train": TrainConfig,
    "generate": GenerateConfig,
    "evaluate": EvaluateConfig,
    "compare": CompareConfig,
    "export": ExportConfig,
    "explore": ExploreConfig,
    "render": RenderConfig,
    "copying": CopyingConfig,
    "report": ReportConfig,
    "live": LiveConfig,
}
