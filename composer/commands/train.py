"""`composer train`: one training run, from a typed config to a finished run directory.

Longer than other files, so that a reader follows a run from its beginning to its end in one place.
"""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from composer import plugins
from composer.commands.requests import run_directory
from composer.composing.composer import Composer
from composer.composing.setting import write_setting
from composer.config import compose as configs
from composer.config import keys, run_file
from composer.config.training import Supervision, TrainConfig
from composer.data.datamodule import MusicDataModule
from composer.data.prepare import PreparedData, load_data
from composer.errors import ComposerError, UsageError
from composer.evaluation.baselines import measure
from composer.evaluation.choose_sampling import choose_setting
from composer.evaluation.reference import ReferenceMusic
from composer.evaluation.samples import EpochSamples, origin_of, write_samples
from composer.files import check_writable_name, display_path, main_process, read_json, user_path, write_json, write_text
from composer.nets.build import check_representations
from composer.progress import say, working
from composer.reporting.run_tables import describe, report
from composer.runs import checkpoint as ckpt
from composer.runs import metrics_table
from composer.runs.layout import (
    BEST,
    CHECKPOINTS,
    CONFIG,
    FOLDER_VARIABLE,
    LAST,
    PREVIOUS,
    SUMMARY,
    check_config,
    locked,
)
from composer.runs.manifest import write_manifest
from composer.runs.record import RunLog, changed_files
from composer.runs.summary import data_figures, early_end_recorded, stopped_by_signals
from composer.runs.trial import hyperparameters, trial
from composer.training.callbacks import run_callbacks
from composer.training.loggers import make_loggers
from composer.training.metrics import score
from composer.training.module import ComposerModule
from composer.training.named_callbacks import make_callbacks
from composer.training.optimizers import state_shapes
from composer.training.state import TrainingState
from composer.training.trainer import make_trainer, quiet_lightning, set_up_torch

# Keys that may change when a run is resumed: results up to the checkpoint do not depend on them.
RESUME_KEYS = (
    "trainer.max_epochs",
    "trainer.progress_bar",
    "sampling",
    "sampling_grid",
    "logging.sample_every_epochs",
    "logging.sample_events",
    "logging.sample_media",
    "checkpoint",
    "data.store",
    "data.cache",
    "data.readers",
    "plugins",
)


def start(config: TrainConfig, folder: Path) -> dict[str, Any]:
    """Start a run in a folder, or resume the same run there; return its summary.

    A requeued job of a scheduler (Slurm) and a restarted sweep call it with the config and the folder of their first
    start, and resume at the newest checkpoint.

    Raises:
        ComposerError: the config, the data or the machine does not allow it (then nothing is written), the folder holds
            another run, or the training failed (`summary.json` gives the reason).
    """
    if not main_process():
        folder = Path(os.environ.get(FOLDER_VARIABLE, folder))
    if config.data.path is not None:
        # The run may be resumed or composed with from another working directory.
        path = str(user_path(config.data.path).absolute())
        config = dataclasses.replace(config, data=dataclasses.replace(config.data, path=path))
    config = run_file.with_plugins(config)
    changed: list[str] = []
    if (folder / CONFIG).exists():
        changed = run_file.differing_keys(run_file.read_config(folder / CONFIG), config)
        forbidden = [key for key in changed if not _may_change(key)]
        if forbidden:
            raise ComposerError(
                f"{display_path(folder)}: holds another run (its {forbidden[0]} differs); choose another folder, "
                f"or go on with that run: composer train resume={display_path(folder)}"
            )
    return train(config, folder, changed)


def resume(run: str, arguments: list[str]) -> dict[str, Any]:
    """Resume a run in its folder; return its summary.

    Args:
        run: the run directory.
        arguments: overrides of its config; only keys of `RESUME_KEYS` may change.

    Raises:
        UsageError: an argument is a flag.
        ComposerError: there is no such run, every checkpoint is damaged, or another key changes.
    """
    flags = [a for a in arguments if a.startswith("-")]
    if flags:
        raise UsageError(f"{flags[0]}: not used with resume={run}; resume runs one run in place")
    folder = run_directory(run)
    before = run_file.read_config(folder / CONFIG)
    overrides = keys.parse_overrides(keys.as_typed(arguments, "train"))
    keys.check_keys(overrides, "train")
    config = configs.apply_overrides(before, overrides)
    changed = run_file.differing_keys(before, config)
    for key in changed:
        if not _may_change(key):
            raise ComposerError(
                f"{key}: cannot change when a run is resumed (only {', '.join(RESUME_KEYS)} can); start a new run"
            )
    return train(config, folder, changed)


def _may_change(key: str) -> bool:
    return any(key == allowed or key.startswith(f"{allowed}.") for allowed in RESUME_KEYS)


def train(config: TrainConfig, folder: Path, changed: Sequence[str] = ()) -> dict[str, Any]:
    """Train a run from its newest checkpoint, or from the start, to its end; return the summary.

    Args:
        config: of the run.
        folder: the run directory.
        changed: keys whose values differ from those of the run in the folder.

    Raises:
        ComposerError: see `start`.
    """
    with locked(folder):
        prepared = prepare(config, folder)
        _check_config(prepared, changed)
        with working("building the network"):
            run = build(prepared)
        if run.finished and not changed and (summary := _completed(folder)) is not None:
            _check_record(run)
            more = "trainer.max_epochs=N with a larger N goes on"
            say(f"{display_path(folder)} has finished its {run.state.position[0]} epochs; {more}")
            return summary
        if main_process():
            _begin(run, changed)
        # Processes that Lightning starts must use this folder and not create others.
        os.environ[FOLDER_VARIABLE] = str(folder.absolute())
        with early_end_recorded(folder, lambda: _figures(run)):
            fit(run)
            if not main_process():
                return run.state.metrics
            with stopped_by_signals(folder):
                summary = finish(run)
        say(report(config, folder, summary))
        return summary


@dataclass(frozen=True, slots=True)
class Prepared:
    """Data and newest checkpoint of a run.

    Attributes:
        config: of the run.
        folder: the run directory.
        newest: path and content of the checkpoint to resume from; None for a new run.
        data: pieces, vocabulary and split.
        reference: the music that composed pieces are compared with.
    """

    config: TrainConfig
    folder: Path
    newest: tuple[Path, dict[str, Any]] | None
    data: PreparedData
    reference: ReferenceMusic


@dataclass(frozen=True, slots=True)
class Run:
    """A run that is ready to train.

    Attributes:
        prepared: its config, folder, data and newest checkpoint.
        module: network, loss and optimiser.
        datamodule: batches.
        state: epoch and batch that come next, and the metrics so far.
        trainer: with the run's callbacks.
        finished: whether all epochs have been trained.
    """

    prepared: Prepared
    module: ComposerModule
    datamodule: MusicDataModule
    state: TrainingState
    trainer: pl.Trainer
    finished: bool


def prepare(config: TrainConfig, folder: Path) -> Prepared:
    """Read the newest checkpoint and the data."""
    set_up_torch(config)
    newest = ckpt.load_newest(folder)
    with working("reading and splitting the music"):
        data = load_data(config.data, config.encoding, config.seed)
        reference = ReferenceMusic(data.pieces, data.splits, config.data, config.seed)
    return Prepared(config, folder, newest, data, reference)


@dataclass(frozen=True, slots=True)
class Modules:
    """What a Lightning Trainer trains.

    Attributes:
        module: network, loss and optimiser.
        datamodule: batches.
        origin: what composing needs of the training data.
    """

    module: ComposerModule
    datamodule: MusicDataModule
    origin: ckpt.Origin


def build_modules(config: TrainConfig, data: PreparedData, reference: ReferenceMusic) -> Modules:
    """Build the module and the data module of a config; the initial weights are a function of the seed alone."""
    origin = origin_of(data, config.data.window_size, reference)
    pl.seed_everything(config.seed, verbose=False)
    module = ComposerModule(
        model=config.model,
        sizes=data.vocabulary.sizes,
        loss=config.loss,
        regularizer=config.regularizer,
        loss_terms=config.loss_terms,
        metrics=config.metrics,
        optimizer=config.optimizer,
        scheduler=config.scheduler,
        seed=config.seed,
        max_epochs=config.trainer.max_epochs,
        composer_values=ckpt.composer_values(run_file.to_yaml(config), data.vocabulary, origin),
    )
    if plugins.of_parts([("model", config.model.name)]):
        every = config.loss.supervision is not Supervision.last
        check_representations(module.model, config.data.window_size, every=every)
    datamodule = MusicDataModule(
        data,
        config.data,
        config.seed,
        config.loss.supervision,
        config.augmentation,
        encoding=config.encoding,
        bar_position=config.model.bar_position,
        mask_held_out=config.loss.mask_held_out,
    )
    return Modules(module, datamodule, origin)


def build(prepared: Prepared) -> Run:
    """Build network, batches, callbacks and Trainer, at the position of the newest checkpoint."""
    config, folder, data = prepared.config, prepared.folder, prepared.data
    built = build_modules(config, data, prepared.reference)
    module, datamodule, values = built.module, built.datamodule, built.module.composer_values
    assert values is not None
    # The record has the metrics; they are logged too where a logger or another callback reads them.
    module.logs_metrics = bool(config.logger or config.callbacks)
    sample = EpochSamples(folder, config, data.vocabulary, built.origin, prepared.reference)
    shown, named = trial(folder, config), make_callbacks(config.callbacks, logged=bool(config.logger))
    callbacks = run_callbacks(folder, config, values, shown.values, sample, named, shown.name)
    finished = _resume_at(prepared, module, datamodule, callbacks.state)
    with quiet_lightning():
        loggers = make_loggers(config.logger, folder, hyperparameters(config), new=prepared.newest is None)
        trainer = make_trainer(config, folder, callbacks.every, values, loggers)
    return Run(prepared, module, datamodule, callbacks.state, trainer, finished)


def fit(run: Run) -> None:
    """Train the remaining epochs."""
    newest = run.prepared.newest
    path = None if newest is None else str(newest[0])
    with quiet_lightning():
        run.trainer.fit(run.module, datamodule=run.datamodule, ckpt_path=path, weights_only=True)


def finish(run: Run) -> dict[str, Any]:
    """Score the best weights, choose the sampling, compose the final pieces and write `summary.json`."""
    prepared, config, folder = run.prepared, run.prepared.config, run.prepared.folder
    path = folder / CHECKPOINTS / BEST
    best = ckpt.load(path)
    composer = Composer.of_checkpoint(best, path)
    with working("scoring the best weights on test windows"):
        tested = score(composer.model, run.datamodule.test_dataloader(), "test", run.module.metrics)
    with working("fitting the baselines without a network"):
        baselines = measure(prepared.data.tokens, prepared.data.splits, config.data.window_size, config.seed)
    with working("choosing the sampling: composing with each of its settings"):
        sampling = choose_setting(composer, config, folder, prepared.reference, best)
    summary = {
        "status": "completed",
        **_figures(run),
        # The epoch with the lowest loss/val, whose weights best.ckpt holds.
        "best": {
            "epoch": best["epoch"],
            **{key: value for key, value in best["metrics"].items() if key.endswith("/val")},
            **tested,
        },
        "baselines": baselines,
        "sampling": sampling,
    }
    with _reopened(folder, run.state) if config.logging.sample_media else nullcontext() as record:
        with working("composing the final pieces, drawing and measuring them"):
            summary |= write_samples(composer, folder, config, prepared.reference, record, run.state.position[0])
    summary["metrics_sha256"] = metrics_table.digest(folder)
    write_json(folder / SUMMARY, summary, checked=True)
    return summary


def _resume_at(prepared: Prepared, module: ComposerModule, datamodule: MusicDataModule, state: TrainingState) -> bool:
    """Set the position of a run to that of its newest checkpoint; return whether all its epochs are trained.

    Raises:
        ComposerError: the checkpoint does not fit the run, or has more epochs than `trainer.max_epochs`.
    """
    max_epochs = prepared.config.trainer.max_epochs
    if prepared.newest is not None:
        epoch, batch = state.position = ckpt.check_resumable(
            *prepared.newest, module.model, state_shapes(prepared.config.optimizer, module.model.named_parameters())
        )
        datamodule.start_at(epoch, batch)
        if max_epochs < epoch:
            finished = f"{display_path(prepared.folder)} has finished {epoch} epochs"
            raise ComposerError(f"trainer.max_epochs={max_epochs}: {finished}")
        _check_best(prepared, state, epoch, epoch >= max_epochs)
    return state.position[0] >= max_epochs


def _check_config(prepared: Prepared, changed: Sequence[str]) -> None:
    """Refuse a config that is not the one of the run's newest checkpoint, except in keys that may change.

    One of those that differs is told, unless the command line has changed it.

    Raises:
        ComposerError: `config.yaml` is damaged, or was edited.
    """
    if prepared.newest is None:
        return
    path, values = prepared.newest
    trained = run_file.parse_config(str(values["composer"].get("config")), str(path))
    known = True
    try:
        check_config(prepared.folder)
    except ComposerError:
        known = False
    for key in run_file.differing_keys(trained, prepared.config):
        before = run_file.flatten(dataclasses.asdict(trained)).get(key)
        if not known and key not in changed and _may_change(key):
            path = display_path(prepared.folder / CONFIG)
            warnings.warn(f"{path}: damaged or edited: its {key} was {before} in the training", stacklevel=2)
        if not _may_change(key):
            raise ComposerError(
                f"{display_path(prepared.folder / CONFIG)}: damaged or edited: its {key} is not that of the training, "
                f"{before}; write that value into it"
            )


def _check_best(prepared: Prepared, state: TrainingState, epoch: int, finished: bool) -> None:
    """Look whether the best weights of a run that is resumed can be read, since its end needs them.

    Raises:
        ComposerError: they are lost, and no epoch is left to take their place.
    """
    assert prepared.newest is not None
    best_epoch = prepared.newest[1]["callbacks"][ckpt.PROGRESS_KEY]["best_epoch"]
    if not best_epoch:
        return
    try:
        ckpt.load(prepared.folder / CHECKPOINTS / BEST)
    except ComposerError as error:
        here = display_path(prepared.folder)
        if finished:
            raise ComposerError(
                f"{error}; the weights of epoch {best_epoch}, the best, are lost: composer generate {here} "
                "checkpoint=last composes with the last ones"
            ) from error
        warnings.warn(f"{error}; the best of the epochs after {epoch} takes its place", stacklevel=2)
        state.best_lost = True


def _check_record(run: Run) -> None:
    """Warn of files of a finished run's record that have changed."""
    assert run.prepared.newest is not None
    known = run.prepared.newest[1]["callbacks"][ckpt.RECORD_KEY]
    folder, lengths = run.prepared.folder, known["lengths"]
    changed = set(changed_files(folder, lengths, known.get("digests", {})))
    changed |= {name for name, length in lengths.items() if (folder / name).is_file() and _size(folder / name) > length}
    for name in sorted(changed):
        warnings.warn(f"{display_path(folder / name)}: damaged since the run ended, or missing", stacklevel=2)


def _size(path: Path) -> int:
    return path.stat().st_size


def _completed(folder: Path) -> dict[str, Any] | None:
    """Return the summary of a completed run; None for any other."""
    if not (folder / SUMMARY).exists():
        return None
    summary = read_json(folder / SUMMARY)
    return summary if summary.get("status") == "completed" else None


def _begin(run: Run, changed: Sequence[str]) -> None:
    """Write manifest and config; remove the summary and setting of an earlier end where more epochs follow."""
    config, folder, newest = run.prepared.config, run.prepared.folder, run.prepared.newest
    check_writable_name(folder / SUMMARY)
    write_manifest(config, folder, run.prepared.data, changed)
    write_text(folder / CONFIG, run_file.to_yaml(config))
    if not run.finished:
        (folder / SUMMARY).unlink(missing_ok=True)
        write_setting(folder, None)
    if newest is not None and newest[0].name == PREVIOUS:
        # The next checkpoint renames last.ckpt to previous.ckpt: the damaged file must not replace the whole one.
        ckpt.keep(newest[0], newest[0].with_name(LAST))
    say(describe(config, folder, run.prepared.data, run.module.model))
    if newest is not None:
        say(f"resumes    {_position(run)} ({display_path(newest[0])})")


def _position(run: Run) -> str:
    """Return where a run goes on, in words."""
    (epoch, batch), epochs = run.state.position, run.prepared.config.trainer.max_epochs
    inside = f" and {batch:,} batches of the next" if batch else ""
    end = ", its last: only its end is missing" if epoch == epochs else ""
    return f"after epoch {epoch:,} of {epochs:,}{inside}{end}"


def _figures(run: Run) -> dict[str, Any]:
    """Return the entries of `summary.json` for every status."""
    state, config = run.state, run.prepared.config
    return {
        "exact_resume": not config.inexact(),
        # The keys of a trial, whose figures mean nothing.
        "no_result": config.no_result(),
        # Files of the record that were found damaged when the run was resumed.
        "damaged_record": state.damaged,
        "epochs": state.position[0],
        "steps": state.steps,
        "seconds": round(state.clocked, 3),
        "parameters": sum(parameter.numel() for parameter in run.module.model.parameters()),
        **data_figures(config, run.prepared.data),
        **state.metrics,
    }


@contextmanager
def _reopened(folder: Path, state: TrainingState) -> Iterator[RunLog]:
    """Open the record again after the training, in an event file that no checkpoint lists.

    The next to open the record, to end the run again or to train more epochs, truncates it to the last checkpoint, so
    that nothing is repeated.
    """
    record = RunLog(folder, state.lengths, state.position[0] + 1, state.digests)
    try:
        yield record
    finally:
        record.close()
