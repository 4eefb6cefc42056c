"""The roots of the other commands, and the schema of every command by its name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, ClassVar

from composer.config.data import DataConfig, EncodingConfig
from composer.config.limits import (
    COUNT,
    POSITIVE,
    Each,
    Group,
    Matching,
    OneOf,
    Range,
    Seed,
    at_least,
    between,
)
from composer.config.sampling import SamplingConfig
from composer.config.training import TrainConfig

_WEIGHTS = re.compile(r"(?s).*\.(safetensors|onnx)")
# The draws of a bootstrap.
Resamples = Annotated[int, between(1000, 1_000_000)]


# Without slots: a class cannot have two bases with slots.
@dataclass(kw_only=True)
class RunChoice(Group):
    """Keys of every command that reads a trained run."""

    run: str
    """A run directory, a checkpoint file, or `pretrained`: the run that comes with composer."""
    checkpoint: Annotated[str, OneOf(("best", "last"))]
    """`best` or `last`, for a run directory."""


@dataclass(kw_only=True)
class ComposingConfig(RunChoice, SamplingConfig):
    """Keys of the commands that compose with a trained run; those of `sampling` stand at the root."""

    prefix: ClassVar[str] = ""

    seed: Seed
    """Seed of the draws: the same seed, weights and keys give the same file."""
    primer: str | None
    """null (the training piece's first events), a MIDI file, an offset in events into the training piece, or `none`."""


@dataclass(kw_only=True, slots=True)
class GenerateConfig(ComposingConfig):
    """The root of `composer generate`."""

    continue_from: str | None
    """A MIDI file to go on from: the written piece begins with it, and the network with its last events."""
    output: str | None
    """Folder for the MIDI files; null makes a new one below `outputs/generate`."""

    def check(self) -> None:
        """Check relations between keys, and `output`; raises a `ComposerError`."""
        SamplingConfig.check(self)
        both = self.continue_from is None or (self.primer is None and not self.include_primer)
        self.require(both, "continue_from", "used without primer and include_primer")
        folder = self.output is None or not self.output.lower().endswith((".mid", ".midi"))
        limit = "a folder; the files in it are named after the run, the seed and a number"
        self.require(folder, "output", limit)


@dataclass(kw_only=True, slots=True)
class LiveConfig(ComposingConfig):
    """The root of `composer live`."""

    port: str | None
    """Name of a MIDI output, or `virtual` for one of our own that other programs can read; null is the first."""

    def check(self) -> None:
        """Check what a port cannot play; raises a `ComposerError`."""
        SamplingConfig.check(self)
        self.require(self.n == 1, "n", "1: a port plays one piece")
        found = self.method != "beam"
        self.require(found, "method", "sample or greedy: a search knows no event before the last")
        self.require(not self.include_primer, "include_primer", "false: what is composed is played")


@dataclass(kw_only=True, slots=True)
class EvaluateDataConfig:
    """Node `data` of `composer evaluate`."""

    path: str | None
    """Files to score instead of the run's own held-out windows."""


@dataclass(kw_only=True, slots=True)
class ContextConfig(Group):
    """Node `context` of `composer evaluate`: the loss against the number of events read."""

    prefix: ClassVar[str] = "context."

    longest: Annotated[int | None, COUNT]
    """The most events read before a target; null is the window of the training."""
    windows: Annotated[int, at_least(0)]
    """Number of random windows that are probed; 0 leaves the probe out."""


@dataclass(kw_only=True, slots=True)
class EvaluateConfig(RunChoice):
    """The root of `composer evaluate`."""

    data: EvaluateDataConfig
    context: ContextConfig
    resamples: Resamples
    """Bootstrap draws over pieces where the resamples are too many to be counted (more than 8 pieces)."""
    samples: Annotated[int, between(0, 1000)]
    """Pieces that are composed with the run's `sampling` to measure their copying and quality; 0 is none."""
    figures: bool
    """Draw the figures."""
    output: str | None
    """Folder for `evaluation.json`; null makes a new one below `outputs/evaluate`."""


@dataclass(kw_only=True, slots=True)
class CompareConfig(Group):
    """The root of `composer compare`."""

    sweep: Annotated[str, Matching("the folder of a sweep: composer compare SWEEP_DIR", re.compile(r"(?s).+"))]
    """The folder of a sweep, or any folder with runs below it; stands first, without its key."""
    baseline: str | None
    """Label of the arm that the others are compared with, as the tables show it; null takes the first."""
    metric: str
    """The metric that the first table and the differences are about, as `summary.json` names it."""
    weights: Annotated[str, OneOf(("final", "best"))]
    """`final` (after the last epoch, as in the article) or `best` (of the lowest `loss/val`)."""
    resamples: Resamples
    """Bootstrap draws where the resamples are too many to be counted (more than 8 seeds)."""
    figures: bool
    """Draw the figures; without them only the tables are written."""
    output: str | None
    """Folder for the report; null makes `compare` in the sweep's folder."""


@dataclass(kw_only=True, slots=True)
class ReportConfig(Group):
    """The root of `composer report`."""

    folder: str | None
    """A run directory, `pretrained`, or a sweep's folder; stands first, without its key.

    Null takes the newest below `outputs`.
    """
    temperatures: Annotated[list[float], Each(POSITIVE)]
    """A run composes a piece at its own temperature and at each of these, all with its own top_p."""
    events: Annotated[int, Range("from 1 to 5000, which a page can hold", least=1, most=5000)]
    """Events of each piece that is composed for the page."""
    seed: Seed
    """Seed of these pieces."""
    output: str | None
    """The page; null writes `report.html` into the folder."""


@dataclass(kw_only=True, slots=True)
class ExploreConfig(Group):
    """The root of `composer explore`."""

    seed: Seed
    """Decides the split, as in training."""
    data: DataConfig
    encoding: EncodingConfig
    output: str | None
    """Folder for the report's files; null makes a new one below `outputs/explore`."""


@dataclass(kw_only=True, slots=True)
class ExportConfig(RunChoice):
    """The root of `composer export`."""

    output: Annotated[str, Matching("a file name ending in .safetensors or .onnx", _WEIGHTS)]
    """The file to write; its name ends in `.safetensors` or `.onnx`."""


@dataclass(kw_only=True, slots=True)
class NotesConfig:
    """Node `data` of commands that read one MIDI file: which of its notes."""

    part: str
    """As for training: `first`, `all`, `track:N`, `channel:N`, `family:NAME`."""
    drums: bool
    """Keep the drum channel (9, counted from 0)."""
    clip: bool
    """Read a file whose data bytes exceed 127 by clipping them, with a warning, instead of refusing it."""


@dataclass(kw_only=True, slots=True)
class CopyingConfig:
    """The root of `composer copying`."""

    file: str
    """The MIDI file; on the command line the first argument."""
    run: str
    """The directory of the run whose training music may have been copied, or `pretrained`."""
    data: NotesConfig
    output: str | None
    """Folder; null is one of the file's name in `outputs/copying`."""


class Synth(Enum):
    """Synthesizer of `composer render`."""

    auto = "auto"
    builtin = "builtin"
    fluidsynth = "fluidsynth"
    none = "none"


class SoundFormat(Enum):
    """Format of a sound file; all but `wav` need the package soundfile."""

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
    """Format of the sound file."""
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
