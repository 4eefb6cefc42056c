"""Runs: their files as data, and composing, scoring and resuming with them. No torch until a network is needed."""

from __future__ import annotations

import warnings
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from composer.api.display import table_html
from composer.api.frames import frame_of_columns
from composer.api.overrides import from_keywords
from composer.api.pieces import read
from composer.compare.reading import find_runs, is_run
from composer.composing.arguments import shows_sampling_keys
from composer.config.compose import compose
from composer.config.keys import schema_keys
from composer.config.run_file import read_config, read_values
from composer.config.texts import quoted
from composer.config.training import TrainConfig
from composer.errors import ComposerError
from composer.files import display_path, read_json, user_path
from composer.progress import messages_logged
from composer.runs.layout import CHECKPOINTS, CONFIG, MANIFEST, SAMPLES, SUMMARY, run_path
from composer.runs.metrics_table import read_metrics

if TYPE_CHECKING:
    from composer.composing.composer import Composer, Composition, Primer
    from composer.composing.setting import Setting
    from composer.data.vocabulary import Vocabulary
    from composer.music.events import Piece
    from composer.nets.build import Network

# Keys of `composer evaluate` besides the run and what it writes.
_EVALUATE_KEYS = ("data.path", "context.longest", "context.windows", "resamples", "samples")
# What a run shows of its summary.
_SHOWN = ("epochs", "loss/val", "accuracy/val", "accuracy/test", "seconds")


class Run:
    """A run directory of `composer train`.

    The files are read when an attribute is used, so that a run can be followed while it trains; the network is loaded
    once.

    Attributes:
        folder: the run directory.
        checkpoint: `best` (lowest `loss/val`) or `last`: whose weights compose and are scored.
    """

    def __init__(self, folder: str | Path, checkpoint: str = "best") -> None:
        """Keep a run directory; see `composer.load`.

        Raises:
            ComposerError: the folder is no run directory, or there is no such checkpoint by name.
        """
        # Absolute: a notebook may change its working directory.
        self.folder, self.checkpoint = run_path(folder).absolute(), checkpoint
        if checkpoint not in ("best", "last"):
            raise ComposerError(f"checkpoint={checkpoint}: must be best or last")
        if not is_run(self.folder) and not (self.folder / CHECKPOINTS).is_dir():
            raise ComposerError(f"run={folder}: has no {CONFIG}, so it is not a run directory of composer train")

    def __repr__(self) -> str:
        figures = [f"{key} {value}" for key, value in self._shown().items()]
        return f"<Run {', '.join([str(display_path(self.folder)), self.status, *figures])}>"

    def _repr_html_(self) -> str:
        rows = [("folder", display_path(self.folder)), ("status", self.status), *self._shown().items()]
        return table_html((), rows)

    def _shown(self) -> dict[str, str]:
        try:
            summary = self.summary or {}
        except ComposerError:
            return {}
        found = {key: summary[key] for key in _SHOWN if key in summary}
        return {key: f"{value:.3f}" if isinstance(value, float) else str(value) for key, value in found.items()}

    @property
    def status(self) -> str:
        """`completed`, `interrupted` or `failed`; `unfinished` without a summary, `damaged` with an unreadable one."""
        try:
            return "unfinished" if self.summary is None else str(self.summary.get("status", "unfinished"))
        except ComposerError:
            return "damaged"

    @property
    def config(self) -> TrainConfig:
        """The typed config: every key with its value.

        Raises:
            ComposerError: the file is missing, damaged, or does not fit this version.
        """
        return read_config(self.folder / CONFIG)

    @property
    def manifest(self) -> dict[str, Any]:
        """What made the run: versions, commit, SHA-256 of the data, seed, device (`manifest.json`).

        Raises:
            ComposerError: the file is missing or damaged.
        """
        return read_json(self.folder / MANIFEST)

    @property
    def summary(self) -> dict[str, Any] | None:
        """The final figures and how the run ended (`summary.json`); None while it trains.

        Raises:
            ComposerError: the file is damaged.
        """
        return read_json(self.folder / SUMMARY) if (self.folder / SUMMARY).exists() else None

    @property
    def metrics(self) -> Any:
        """The metrics by epoch (`metrics.csv`): loss in nats per event, accuracies as shares of events.

        A `pandas.DataFrame` with the index `epoch` where pandas is installed; otherwise a dict of NumPy arrays
        (epochs,) by key, `epoch` among them. `metrics["loss/val"]` is the column in both.

        Raises:
            ComposerError: the file is missing or damaged.
        """
        return frame_of_columns(read_metrics(self.folder), "epoch")

    @property
    def samples(self) -> list[Piece]:
        """The pieces composed while the run trained, by epoch, then those composed at its end; times in seconds.

        Raises:
            ComposerError: a file is damaged.
        """
        paths = (self.folder / SAMPLES).glob("*.mid")
        return [read(path) for path in sorted(paths, key=lambda path: (not path.name.startswith("epoch-"), path.name))]

    @cached_property
    def composer(self) -> Composer:
        """The network of the checkpoint with its vocabulary and sampling settings, loaded at the first use.

        Raises:
            ComposerError: there is no such checkpoint yet, or it is damaged.
        """
        from composer.composing.composer import Composer

        return Composer.load(self.folder, self.checkpoint)

    @property
    def model(self) -> Network:
        """The network, in evaluation mode; a `torch.nn.Module`."""
        return self.composer.model

    @property
    def vocabulary(self) -> Vocabulary:
        """The classes of notes, velocities and times, and their meaning."""
        return self.composer.vocabulary

    @property
    def setting(self) -> Setting:
        """The temperature and top_p that `generate` uses where it gets none."""
        return self.composer.setting

    @shows_sampling_keys
    def generate(
        self,
        *,
        seed: int = 0,
        primer: Primer = None,
        continue_from: str | Path | None = None,
        **sampling: Any,
    ) -> Composition:
        """Compose one piece.

        Args:
            seed: the same seed gives the same piece.
            primer: what to begin from: a MIDI file (`my.mid`, or `my.mid:120` for its events from the 120th on), an
                offset in events into the training piece, (N, 3) classes, "none", or None for the training piece's
                first events.
            continue_from: a MIDI file that the piece begins with; the primer is its end.
            sampling: keys of `composer generate` that say how a piece is drawn, all but `n`: `events=200`,
                `temperature=0.9`, `scale="Am"`, `note_top_k=5` ... `SamplingConfig` documents each. A key that is not
                given has the value that the command has without it (`conf/generate.yaml`); None is null there.

        Returns:
            The composition: `save(path)` writes it, `piece` has its events, and a notebook shows its player.

        Raises:
            ComposerError: there is no such key, or a value is outside its limits.
        """
        return self.composer.generate(seed=seed, primer=primer, continue_from=continue_from, **sampling)

    def evaluate(self, **overrides: Any) -> dict[str, Any]:
        """Score the network on its held-out windows or on other files, as `composer evaluate` does.

        >>> run.evaluate(path="other.mid", samples=0)["accuracy/data"]     # doctest: +SKIP

        Args:
            overrides: keys of `composer evaluate` by name: `path` (a MIDI file or folder in place of the held-out
                windows), `longest` and `windows` of the context probe, `resamples`, `samples`.

        Returns:
            What the command writes to `evaluation.json` (docs/evaluate.md), and `by_piece`, the figures of each piece.

        Raises:
            ComposerError: there is no such key, or the files cannot be used.
        """
        from composer.commands.evaluate import evaluate

        given = from_keywords(overrides, _EVALUATE_KEYS, "evaluate")
        config = compose(f"run={quoted(str(self.folder))}", *given, command="evaluate")
        with messages_logged():
            results = evaluate(self.composer, config.data.path, config.context, config.resamples, config.samples)
        about = {"run": str(self.folder), "checkpoint": self.checkpoint, "data_path": config.data.path}
        return {**about, **results}

    def resume(self, **overrides: Any) -> Run:
        """Train on from the newest checkpoint, in the same folder, as `composer train resume=RUN_DIR` does.

        >>> run = run.resume(max_epochs=400)     # doctest: +SKIP

        Args:
            overrides: keys by name that may change when a run is resumed, such as `max_epochs` (docs/resume.md).

        Returns:
            The run with its new figures.

        Raises:
            ComposerError: a key may not change, every checkpoint is damaged, or the training failed.
            RunInterrupted: Ctrl+C stopped it, after a checkpoint was written.
        """
        from composer.api.training import train

        train([f"resume={self.folder}", *from_keywords(overrides, schema_keys(TrainConfig), "resume")])
        return Run(self.folder, self.checkpoint)


def load(path: str | Path, checkpoint: str = "best") -> Run | Composer:
    """Load a run, or one checkpoint file.

    >>> run = composer.load("outputs/train/2026-11-22_12-00-00_1a2b3c")     # doctest: +SKIP
    >>> run.generate(events=500, temperature=0.9).save("piece.mid")         # doctest: +SKIP

    Args:
        path: a run directory, a checkpoint file (`.ckpt`, `.safetensors`), or `pretrained`, the run that comes with
            composer.
        checkpoint: `best` (lowest `loss/val`) or `last`, for a run directory.

    Returns:
        For a run directory its `Run`, for a checkpoint file a `Composer`; both compose with `generate(...)`.

    Raises:
        ComposerError: the path is not a run or checkpoint, or the file is damaged; one line that says what to do.
    """
    path = run_path(path)
    if path.is_dir():
        return Run(path, checkpoint)
    # torch is imported here and not at the top, so that reading runs stays quick.
    from composer.composing.composer import Composer

    return Composer.load(path, checkpoint)


def runs(folder: str | Path = "outputs") -> list[Run]:
    """Return the runs in a folder and below it, the one that was started last at the end.

    A run whose config, manifest or summary is damaged is left out, with a warning.

    Args:
        folder: any folder, such as `outputs`, a sweep's, or a run directory itself.

    Raises:
        ComposerError: there is no such folder.
    """
    root = user_path(folder)
    if not root.is_dir():
        raise ComposerError(f"{display_path(root)}: no such folder")
    found: list[tuple[str, Run]] = []
    for path in find_runs(root):
        try:
            found.append((_started(path), Run(path)))
        except ComposerError as error:
            warnings.warn(f"left out: {error}", stacklevel=2)
    return [run for _, run in sorted(found, key=lambda pair: pair[0])]


def _started(folder: Path) -> str:
    """Return when a run was started, in UTC.

    Raises:
        ComposerError: its config, manifest or summary is damaged.
    """
    read_values(folder / CONFIG)
    if (folder / SUMMARY).exists():
        read_json(folder / SUMMARY)
    if (folder / MANIFEST).exists():
        return str(read_json(folder / MANIFEST).get("started", ""))
    # Stopped between two files, or of an early version.
    return datetime.fromtimestamp((folder / CONFIG).stat().st_mtime, UTC).isoformat(timespec="seconds")
