"""One training run, from a typed config to a finished run directory: what `composer train` does."""

from __future__ import annotations

import dataclasses
import logging
import os
import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException

from composer.composing.composer import Composer
from composer.composing.setting import Setting, write_setting
from composer.config import compose as configs
from composer.config import keys, run_file
from composer.config.data import Split
from composer.config.training import TrainConfig
from composer.data.datamodule import MusicDataModule
from composer.data.prepare import PreparedData, load_data
from composer.data.splits import Splits
from composer.data.window_sets import ListedWindows
from composer.errors import ComposerError, RunInterrupted, UsageError
from composer.evaluation.baselines import measure
from composer.evaluation.choose_sampling import choose
from composer.evaluation.reference import Yardstick
from composer.evaluation.samples import EpochSamples, write_samples
from composer.files import display_path, main_process, read_json, unwritable, write_json, write_text
from composer.music.events import excerpt_of
from composer.music.rhythm import grid_of
from composer.music.tonality import with_key
from composer.nets.build import build_model
from composer.progress import Progress
from composer.reporting.run_tables import describe, report
from composer.runs import checkpoint as ckpt
from composer.runs.layout import CHECKPOINTS, CONFIG, SUMMARY, locked
from composer.runs.manifest import write_manifest
from composer.runs.record import RunLog
from composer.training.callback import RunCallback
from composer.training.metrics import score
from composer.training.module import ComposerModule

log = logging.getLogger(__name__)

# Keys that may differ when a run is resumed: they do not change what was already computed.
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
)
# Tells the processes of a strategy of several where the run is.
FOLDER_VARIABLE = "COMPOSER_RUN_DIR"


def start(config: TrainConfig, folder: Path) -> dict[str, Any]:
    """Begin a run in a folder, or go on with the same run there; returns its summary.

    A scheduler that runs a job again (Slurm's requeue) and a sweep that is started again come here with the config and
    the folder of before: the run goes on where it was saved.

    Raises:
        ComposerError: the config, the data or the machine does not allow it (nothing is written then), the folder holds
            another run, or the training failed (`summary.json` says how).
    """
    if not main_process():
        folder = Path(os.environ.get(FOLDER_VARIABLE, folder))
    if config.data.path is not None:
        # A run is resumed and composed with from other folders too.
        path = str(Path(config.data.path).expanduser().absolute())
        config = dataclasses.replace(config, data=dataclasses.replace(config.data, path=path))
    changed: list[str] = []
    if (folder / CONFIG).exists():
        changed = run_file.differing_keys(run_file.read_config(folder / CONFIG), config)
        forbidden = [key for key in changed if not _may_change(key)]
        if forbidden:
            raise ComposerError(
                f"{display_path(folder)}: holds another run (its {forbidden[0]} differs); choose another folder, "
                f"or go on with that run: composer train resume={display_path(folder)}"
            )
    return _train(config, folder, changed)


def resume(run: str, arguments: list[str]) -> dict[str, Any]:
    """Continue a run in place.

    Args:
        run: the run directory.
        arguments: overrides; only those of `RESUME_KEYS` that change something are allowed.

    Raises:
        ComposerError: no such run, nothing whole to resume from, or a key that must not change.
    """
    flags = [a for a in arguments if a.startswith("-")]
    if flags:
        raise UsageError(f"{flags[0]}: not used with resume={run}; resume runs one run in place")
    folder = Path(run).expanduser()
    if not run or not folder.is_dir():
        raise ComposerError(f"resume={run}: no such run directory")
    before = run_file.read_config(folder / CONFIG)
    overrides = keys.parse_overrides(arguments)
    keys.check_keys(overrides, "train")
    config = configs.apply_overrides(before, overrides)
    changed = run_file.differing_keys(before, config)
    for key in changed:
        if not _may_change(key):
            raise ComposerError(
                f"{key}: cannot change when a run is resumed (only {', '.join(RESUME_KEYS)} can); start a new run"
            )
    return _train(config, folder, changed)


def _may_change(key: str) -> bool:
    return any(key == allowed or key.startswith(f"{allowed}.") for allowed in RESUME_KEYS)


def _train(config: TrainConfig, folder: Path, changed: Sequence[str]) -> dict[str, Any]:
    """Train to the end whatever the folder already holds, and record how it ended."""
    with locked(folder):
        _set_up_torch(config)
        newest = ckpt.load_newest(folder)
        music = load_data(config.data, config.encoding, config.seed)

        # The weights' beginning is a function of the seed alone.
        pl.seed_everything(config.seed, verbose=False)
        model = build_model(config.model, music.vocabulary.sizes)
        module = ComposerModule(
            model,
            loss=config.loss,
            regularizer=config.regularizer,
            optimizer=config.optimizer,
            seed=config.seed,
            max_epochs=config.trainer.max_epochs,
        )
        data = MusicDataModule(
            music,
            config.data,
            config.seed,
            config.loss.supervision,
            config.augmentation,
            bar_position=config.model.bar_position,
        )
        yardstick = _yardstick(config, music)
        origin = _origin(config, music, yardstick)
        values = ckpt.composer_values(run_file.to_yaml(config), music.vocabulary, origin)
        progress = Progress(config.trainer.max_epochs, config.data.split.name, shown=config.trainer.progress_bar)
        sample = EpochSamples(folder, config, music.vocabulary, origin, yardstick)
        callback = RunCallback(folder, config, values, _hyperparameters(config), progress, sample)
        epoch = 0
        if newest is not None:
            epoch, batch = ckpt.check_resumable(*newest, model, callback.state_key)
            data.start_at(epoch, batch)
            if config.trainer.max_epochs < epoch:
                asked = f"trainer.max_epochs={config.trainer.max_epochs}"
                raise ComposerError(f"{asked}: {display_path(folder)} has finished {epoch} epochs")
        finished = epoch >= config.trainer.max_epochs
        if finished and not changed and (folder / SUMMARY).exists():
            summary = read_json(folder / SUMMARY)
            if summary.get("status") == "completed":
                more = "trainer.max_epochs=N with a larger N goes on"
                print(f"{display_path(folder)} has finished its {epoch} epochs; {more}")
                return summary
        with _quiet_lightning():
            trainer = _trainer(config, folder, callback, values)
        if main_process():
            # From here on the folder holds a run, and one that is not over.
            write_manifest(config, folder, music, changed)
            write_text(folder / CONFIG, run_file.to_yaml(config))
            if not finished:
                (folder / SUMMARY).unlink(missing_ok=True)
                write_setting(folder, None)
            if newest is not None and newest[0].name == ckpt.PREVIOUS:
                # The damaged last.ckpt must not take the place of the whole one when the next is written.
                ckpt.keep(newest[0], newest[0].with_name(ckpt.LAST))
            print(describe(config, folder, music, model), flush=True)
        # Processes that Lightning starts for a strategy of several must find this folder, not make one of their own.
        os.environ[FOLDER_VARIABLE] = str(folder.absolute())
        with _recorded_end(folder, lambda: _facts(config, music, callback)):
            with _quiet_lightning():
                path = str(newest[0]) if newest else None
                trainer.fit(module, datamodule=data, ckpt_path=path, weights_only=True)
            if not main_process():
                return callback.metrics
            with _stopped_by_signals(folder):
                summary = _summarise(config, folder, music, callback, data)
                summary["sampling"] = _choose_setting(config, folder, music, yardstick)
                with _reopened(folder, callback) if config.logging.sample_media else nullcontext() as record:
                    summary |= write_samples(folder, config, yardstick, record, callback.position[0])
                write_json(folder / SUMMARY, summary)
        print(report(config, folder, summary))
        return summary


@contextmanager
def _recorded_end(folder: Path, facts: Callable[[], dict[str, Any]]) -> Iterator[None]:
    """Write `summary.json` when the training ends before its time, with what is known by then."""

    def record(status: str, reason: str) -> None:
        if not main_process():
            return
        line = reason.splitlines()[0] if reason else status
        try:
            write_json(folder / SUMMARY, {"status": status, "error": line, **facts()})
        except ComposerError as error:
            # The disk may be full: what ended the run matters more than this record of it.
            log.warning("%s", error)

    again = f"stopped at once; continue with: composer train resume={display_path(folder)}"
    try:
        yield
    except RunInterrupted as error:
        record("interrupted", str(error))
        raise
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            # The second Ctrl-C, which Lightning turns into this.
            record("interrupted", again)
            raise RunInterrupted(again, signal.SIGINT) from error
        # A scheduler's handler (submitit's) has requeued the job and ends this process.
        record("interrupted", "stopped by the scheduler")
        raise
    except KeyboardInterrupt as error:
        record("interrupted", again)
        raise RunInterrupted(again, signal.SIGINT) from error
    except OSError as error:
        # The record's own files: the checkpoints report their errors themselves.
        failure = unwritable(Path(error.filename or folder), error)
        record("failed", str(failure))
        raise failure from error
    except Exception as error:
        record("failed", str(error))
        raise


@contextmanager
def _stopped_by_signals(folder: Path) -> Iterator[None]:
    """After the training, when everything is saved, let a scheduler's signals end the run at once."""

    def stop(number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        way_out = f"composer train resume={display_path(folder)} writes its end"
        again = f"{name}: stopped after the training, which is saved; {way_out}"
        raise RunInterrupted(again, number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _facts(config: TrainConfig, music: PreparedData, callback: RunCallback) -> dict[str, Any]:
    """What `summary.json` says whatever the status."""
    return {
        "epochs": callback.position[0],
        "steps": callback.steps,
        "seconds": round(callback.seconds_before, 3),
        "seed": config.seed,
        "pieces": len(music.pieces),
        "groups": music.groups.count,
        "copies": music.groups.copies,
        "near_copies": music.groups.near_copies,
        "named_copies": music.groups.named,
        "split": config.data.split.name,
        "windows_train": len(music.splits.train),
        "windows_val": len(music.splits.val),
        "windows_test": len(music.splits.test),
        "leak_rate": music.leak.by_index,
        "leak_rate_content": music.leak.by_content,
        "leak_rate_transposed": music.leak.by_transposition,
        "time_error_mean": music.time_error.mean,
        "time_error_max": music.time_error.maximum,
        "time_unit": music.vocabulary.time_unit.name,
        "on_grid": None if music.rhythm is None else music.rhythm.original,
        "on_grid_encoded": None if music.rhythm is None else music.rhythm.encoded,
        **callback.metrics,
    }


def _set_up_torch(config: TrainConfig) -> None:
    if config.trainer.threads is not None:
        torch.set_num_threads(config.trainer.threads)
    if config.trainer.deterministic:
        # cuBLAS needs this before its first use; without it deterministic mode refuses to run on a GPU.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def _hyperparameters(config: TrainConfig) -> dict[str, Any]:
    """What tells runs apart in TensorBoard: every key but those that say nothing about the result."""
    silent = (
        *("name", "resume", "checkpoint", "logging", "sampling", "sampling_grid", "trainer.progress_bar"),
        *("data.store", "data.cache", "data.readers"),
    )
    flat = run_file.flatten(dataclasses.asdict(config))
    return {key: value for key, value in flat.items() if not any(f"{key}.".startswith(f"{s}.") for s in silent)}


def _origin(config: TrainConfig, music: PreparedData, yardstick: Yardstick) -> ckpt.Origin:
    """The first events of the first piece that trains; where those are held out, of its first training window."""
    size, train = config.data.window_size, music.splits.train
    first, offsets = train.lowest(), music.pieces.offsets
    number = int(np.searchsorted(offsets, first, side="right")) - 1
    piece, begin = music.pieces[number], int(offsets[number])
    if not train.touches(np.arange(begin, begin + size), size).all():
        begin = first
    primer = torch.from_numpy(music.tokens[begin : begin + size].copy())
    place = excerpt_of(with_key(piece), begin - int(offsets[number]), size)
    return ckpt.Origin(
        primer,
        piece.name,
        piece.timing,
        piece.program,
        music.sha256,
        yardstick.longest_note_seconds,
        place,
        grid_of(np.concatenate([strikes.onset_beats for strikes in yardstick.training.strikes])),
    )


def _yardstick(config: TrainConfig, music: PreparedData, splits: Splits | None = None) -> Yardstick:
    parts = music.splits if splits is None else splits
    return Yardstick(music.pieces, parts, config.data, config.seed)


def _choose_setting(config: TrainConfig, folder: Path, music: PreparedData, yardstick: Yardstick) -> dict[str, Any]:
    """Choose what the run composes with where its config leaves that open, and keep it; see `grid.choose`.

    Returns:
        The node `sampling` of `summary.json`.
    """
    best = folder / CHECKPOINTS / ckpt.BEST
    composer = Composer.load(best)
    # Compared with validation music where that is kept apart from the training, so that the figures of the final
    # pieces, which are compared with test music, have no part in the choice. Shuffled validation windows are in the
    # training music: then test music decides, and the run says so.
    if config.data.split is not Split.shuffled and len(music.splits.val):
        training = yardstick.training
        yardstick = _yardstick(
            config, music, dataclasses.replace(music.splits, test=ListedWindows(np.empty(0, np.int64)))
        )
        # The same music, which may be long to read.
        yardstick.training = training
    # The run's config: a resumed run may compose otherwise than the one that wrote the checkpoint.
    choice = choose(composer, config.sampling, config.sampling_grid, yardstick)
    write_setting(folder, None if choice is None else choice.setting)
    setting = Setting.of(config.sampling) if choice is None else choice.setting
    if setting != composer.setting:
        # The file alone then composes as the run does.
        values = ckpt.load(best)
        values["composer"] = {**values["composer"], "sampling": setting.to_plain()}
        ckpt.save(best, values)
    return setting.to_plain() if choice is None else choice.to_plain()


@contextmanager
def _reopened(folder: Path, callback: RunCallback) -> Iterator[RunLog]:
    """Open the record for what follows the training, in a file that no checkpoint knows.

    A later end of the same run cuts the record back to the last checkpoint first, and so does a run that is resumed
    with more epochs: nothing stands there twice.
    """
    record = RunLog(folder, callback.lengths, callback.position[0] + 1)
    try:
        yield record
    finally:
        record.close()


def _trainer(config: TrainConfig, folder: Path, callback: RunCallback, values: dict[str, Any]) -> pl.Trainer:
    try:
        return pl.Trainer(
            accelerator=config.trainer.accelerator,
            devices=config.trainer.devices,
            strategy=config.trainer.strategy,
            precision=config.trainer.precision,  # type: ignore[arg-type]
            max_epochs=config.trainer.max_epochs,
            gradient_clip_val=config.optimizer.gradient_clip_norm,
            deterministic=config.trainer.deterministic,
            default_root_dir=folder,
            callbacks=[callback],
            plugins=[ckpt.AtomicCheckpointIO(values)],
            # The record, the bar and the batches' shares are ours (callback.py, windows.py).
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
        )
    except (MisconfigurationException, ValueError) as error:
        reason = str(error).split("\n")[0]
        raise ComposerError(f"trainer={config.trainer.accelerator}: cannot be used here ({reason})") from error


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Keep Lightning's hints about choices that are made here on purpose out of the user's sight."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning_fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # Batches are gathered at once: worker processes would only slow a small piece down.
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            # On a cluster's login node; hydra/launcher=slurm is the way to its nodes.
            warnings.filterwarnings("ignore", message=".*`srun` command is available.*")
            # The batch order is a function of the position, so a loader need not remember where it was.
            warnings.filterwarnings("ignore", message=".*your dataloader is not resumable.*")
            # Lightning 2.6 asks torch's pytree for a class by isinstance, which torch 2.13 deprecates.
            warnings.filterwarnings("ignore", message=".*isinstance\\(treespec, LeafSpec\\).*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _summarise(
    config: TrainConfig, folder: Path, music: PreparedData, callback: RunCallback, data: MusicDataModule
) -> dict[str, Any]:
    best_path = folder / CHECKPOINTS / ckpt.BEST
    best = ckpt.load(best_path)
    model = build_model(config.model, music.vocabulary.sizes)
    model.load_state_dict(ckpt.model_state(best))
    return {
        "status": "completed",
        **_facts(config, music, callback),
        # The epoch with the lowest loss/val, whose weights best.ckpt holds.
        "best": {
            "epoch": best["epoch"],
            **{key: value for key, value in best["metrics"].items() if key.endswith("/val")},
            **score(model, data.test_dataloader(), "test"),
        },
        "baselines": measure(music.tokens, music.splits, config.data.window_size, config.seed),
    }
