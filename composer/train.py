"""One training run, from a typed config to a finished run directory: what `composer train` does."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import os
import platform
import shutil
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException

from composer import checkpoint as ckpt
from composer import config as configs
from composer.callback import RunCallback
from composer.datamodule import Music, MusicDataModule, load_music
from composer.errors import ComposerError, RunInterrupted, UsageError
from composer.generate import Composer
from composer.litmodule import ComposerModule
from composer.losses import score
from composer.model import ThreeHeadLSTM
from composer.progress import Progress
from composer.rundir import (
    CHECKPOINTS,
    CONFIG,
    MANIFEST,
    SAMPLES,
    SUMMARY,
    locked,
    read_json,
    shown,
    write_json,
    write_text,
)
from composer.schema import CHANNELS, TrainConfig
from composer.splits import covered

# Keys that may differ when a run is resumed: they do not change what was already computed.
RESUME_KEYS = ("trainer.max_epochs", "trainer.progress_bar", "sampling", "checkpoint")
_PACKAGES = ("composer", "torch", "pytorch-lightning", "hydra-core", "omegaconf", "mido", "numpy", "tensorboard")


def start(config: TrainConfig, folder: Path) -> dict[str, Any]:
    """Begin a run in a folder, or go on with the same run there; returns its summary.

    A scheduler that runs a job again (Slurm's requeue) and a sweep that is started again come here with the config and
    the folder of before: the run goes on where it was saved.

    Raises:
        ComposerError: the config, the data or the machine does not allow it (nothing is written then), the folder holds
            another run, or the training failed (`summary.json` says how).
    """
    if (folder / CONFIG).exists():
        different = configs.differing_keys(configs.read_config(folder / CONFIG), config)
        if different:
            raise ComposerError(
                f"{shown(folder)}: holds another run (its {different[0]} differs); choose another folder, "
                f"or go on with that run: composer train resume={shown(folder)}"
            )
    return _run(config, folder)


def resume(run: str, arguments: list[str]) -> dict[str, Any]:
    """Continue a run in place.

    Args:
        run: the run directory.
        arguments: overrides; only those of `RESUME_KEYS` that change something are allowed.

    Raises:
        ComposerError: no such run, nothing whole to resume from, or a key that must not change.
    """
    folder = Path(run).expanduser()
    flags = [a for a in arguments if a.startswith("-")]
    if flags:
        raise UsageError(f"{flags[0]}: not used with resume={run}; resume runs one run in place")
    before = configs.read_config(folder / CONFIG)
    overrides = configs.parse_overrides(arguments)
    configs.check_keys(overrides, "train")
    config = configs.apply_overrides(before, overrides)
    changed = configs.differing_keys(before, config)
    for key in changed:
        if not any(key == allowed or key.startswith(f"{allowed}.") for allowed in RESUME_KEYS):
            raise ComposerError(
                f"{key}: cannot change when a run is resumed (only {', '.join(RESUME_KEYS)} can); start a new run"
            )
    return _run(config, folder, changed)


def _run(config: TrainConfig, folder: Path, changed: Sequence[str] = ()) -> dict[str, Any]:
    """Train to the end whatever the folder already holds, and record how it ended."""
    with locked(folder):
        try:
            return _train(config, folder, changed)
        except RunInterrupted as error:
            _write_failure(folder, "interrupted", str(error))
            raise
        except SystemExit:
            # A scheduler's handler (submitit's) has requeued the job and ends this process.
            _write_failure(folder, "interrupted", "stopped by the scheduler")
            raise
        except KeyboardInterrupt as error:
            _write_failure(folder, "interrupted", "stopped by Ctrl-C")
            again = f"stopped; continue with: composer train resume={shown(folder)}"
            raise RunInterrupted(again, signal.SIGINT) from error
        except OSError as error:
            # The record's own files: the checkpoints report their errors themselves.
            line = f"{error.filename or shown(folder)}: {error.strerror or error}; then composer train resume=..."
            _write_failure(folder, "failed", line)
            raise ComposerError(line) from error
        except Exception as error:
            _write_failure(folder, "failed", str(error))
            raise


def _write_failure(folder: Path, status: str, reason: str) -> None:
    if not (folder / CONFIG).exists():
        return  # the run had not begun
    line = reason.splitlines()[0] if reason else status
    try:
        write_json(folder / SUMMARY, {"status": status, "error": line})
    except ComposerError as error:
        # The disk may be full: what ended the run matters more than this record of it.
        logging.getLogger(__name__).warning("%s", error)


def _train(config: TrainConfig, folder: Path, changed: Sequence[str]) -> dict[str, Any]:
    _set_up_torch(config)
    newest = ckpt.load_newest(folder)
    music = load_music(config.data, config.encoding, config.seed)

    # The weights' beginning is a function of the seed alone.
    pl.seed_everything(config.seed, verbose=False)
    model = ThreeHeadLSTM(config.model, music.vocabulary.sizes)
    module = ComposerModule(
        model,
        loss=config.loss,
        regularizer=config.regularizer,
        optimizer=config.optimizer,
        seed=config.seed,
        max_epochs=config.trainer.max_epochs,
    )
    data = MusicDataModule(music, config.data, config.seed)
    values = ckpt.composer_values(configs.to_yaml(config), music.vocabulary, _origin(config, music))
    progress = Progress(config.trainer.max_epochs, config.data.split.name, shown=config.trainer.progress_bar)
    callback = RunCallback(folder, config, values, _hyperparameters(config), progress)
    if newest is not None:
        path, values_then = newest
        ckpt.check_fits(path, values_then, model)
        if callback.state_key not in values_then.get("callbacks", {}):
            raise ComposerError(f"{path}: holds weights but no training to go on with")
        data.start_at(*values_then["callbacks"][callback.state_key]["position"])
    with _quiet_lightning():
        trainer = _trainer(config, folder, callback, values)
        # From here on the folder holds a run.
        _write_manifest(config, folder, music, changed)
        write_text(folder / CONFIG, configs.to_yaml(config))
        print(_describe(config, folder, music, model))
        trainer.fit(module, datamodule=data, ckpt_path=str(newest[0]) if newest else None, weights_only=True)

    summary = _summarise(config, folder, music, callback, data)
    _write_sample(config, folder)
    write_json(folder / SUMMARY, summary)
    print(_report(config, folder, summary))
    return summary


def _set_up_torch(config: TrainConfig) -> None:
    if config.trainer.threads is not None:
        torch.set_num_threads(config.trainer.threads)
    if config.trainer.deterministic:
        # cuBLAS needs this before its first use; without it deterministic mode refuses to run on a GPU.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def _hyperparameters(config: TrainConfig) -> dict[str, Any]:
    """What tells runs apart in TensorBoard: every key but those that say nothing about the result."""
    silent = ("name", "resume", "checkpoint", "logging", "sampling", "trainer.progress_bar")
    flat = configs.flatten(dataclasses.asdict(config))
    return {key: value for key, value in flat.items() if not any(f"{key}.".startswith(f"{s}.") for s in silent)}


def _origin(config: TrainConfig, music: Music) -> ckpt.Origin:
    """The first events of the first piece that trains; where those are held out, of its first training window."""
    size = config.data.window_size
    offsets = np.cumsum([0, *(len(piece.events) for piece in music.pieces)])
    first = int(music.splits.train.min())
    number = int(np.searchsorted(offsets, first, side="right")) - 1
    piece, begin = music.pieces[number], int(offsets[number])
    if not covered(len(music.tokens), music.splits.train, size)[begin : begin + size].all():
        begin = first
    primer = torch.from_numpy(music.tokens[begin : begin + size].copy())
    return ckpt.Origin(primer, piece.name, piece.timing, piece.program, music.sha256)


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
            # The batch order is a function of the position, so a loader need not remember where it was.
            warnings.filterwarnings("ignore", message=".*your dataloader is not resumable.*")
            # Lightning 2.6 asks torch's pytree for a class by isinstance, which torch 2.13 deprecates.
            warnings.filterwarnings("ignore", message=".*isinstance\\(treespec, LeafSpec\\).*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _write_manifest(config: TrainConfig, folder: Path, music: Music, changed: Sequence[str]) -> None:
    """Say what made this run; a resumed run keeps the first account and adds when, and with what, it went on."""
    account = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version(), **{name: metadata.version(name) for name in _PACKAGES}},
        "git": _git_state(),
        "data": {
            "sha256": music.sha256,
            "pieces": [piece.name for piece in music.pieces],
            "skipped": music.skipped,
        },
        "config_sha256": hashlib.sha256(configs.to_yaml(config).encode()).hexdigest(),
        "seed": config.seed,
        "device": _device(config),
        "threads": torch.get_num_threads(),
        "deterministic": config.trainer.deterministic,
        "platform": platform.platform(),
    }
    path = folder / MANIFEST
    if (folder / CONFIG).exists():
        manifest = read_json(path)
        known = manifest.get("data", {}).get("sha256")
        if known != music.sha256:
            raise ComposerError(
                f"data.path={config.data.path}: its content is not what {folder} was trained on; "
                "put the old files back, or start a new run"
            )
        values = configs.flatten(dataclasses.asdict(config))
        account["changed"] = {key: values[key] for key in changed}
        manifest.setdefault("resumed", []).append(account)
        account = manifest
    write_json(path, account)


def _device(config: TrainConfig) -> str:
    if config.trainer.accelerator == "cpu" or not torch.cuda.is_available():
        return platform.processor() or platform.machine()
    return torch.cuda.get_device_name()


def _git_state() -> dict[str, Any] | None:
    """Commit and dirtiness of the checkout that the package runs from; None for an installed wheel."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    try:
        commit = _git(root, "rev-parse", "HEAD")
        return {"commit": commit, "dirty": bool(_git(root, "status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(root: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True, timeout=10
    ).stdout.strip()


def _describe(config: TrainConfig, folder: Path, music: Music, model: ThreeHeadLSTM) -> str:
    events = len(music.tokens)
    pieces = f"{len(music.pieces)} pieces" if len(music.pieces) > 1 else music.pieces[0].name
    parts = music.splits
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return "\n".join(
        [
            f"run        {shown(folder)}",
            f"data       {pieces}: {events:,} events",
            f"classes    note {model.sizes[0]}, velocity {model.sizes[1]}, time {model.sizes[2]}; "
            f"time round trip: {music.time_error}",
            f"windows    {len(parts.train):,} train, {len(parts.val):,} val ({config.data.split.name} split), "
            f"{len(parts.test):,} test",
            f"leak       {music.leak.by_index:.1%} of the val windows predict an event that training windows hold, "
            f"{music.leak.by_content:.1%} occur there note for note",
            f"model      {parameters:,} parameters, regularizer {config.regularizer.name.name} "
            f"{config.regularizer.weight:g}",
        ]
    )


def _summarise(
    config: TrainConfig, folder: Path, music: Music, callback: RunCallback, data: MusicDataModule
) -> dict[str, Any]:
    best_path = folder / CHECKPOINTS / ckpt.BEST
    best = ckpt.load(best_path)
    model = ThreeHeadLSTM(config.model, music.vocabulary.sizes)
    model.load_state_dict(ckpt.model_state(best))
    return {
        "status": "completed",
        "epochs": callback.position[0],
        "steps": callback.steps,
        "seconds": round(callback.seconds_before, 3),
        "seed": config.seed,
        "split": config.data.split.name,
        "windows_train": len(music.splits.train),
        "windows_val": len(music.splits.val),
        "windows_test": len(music.splits.test),
        "leak_rate": music.leak.by_index,
        "leak_rate_content": music.leak.by_content,
        "time_error_mean": music.time_error.mean,
        "time_error_max": music.time_error.maximum,
        **callback.metrics,
        # The epoch with the lowest loss/val, whose weights best.ckpt holds.
        "best": {
            "epoch": best["epoch"],
            **{key: value for key, value in best["metrics"].items() if key.endswith("/val")},
            **score(model, data.test_dataloader(), "test"),
        },
    }


def _write_sample(config: TrainConfig, folder: Path) -> None:
    composer = Composer.load(folder)
    for number, composition in enumerate(composer.compose(config.sampling, config.seed)):
        composition.save(folder / SAMPLES / f"{config.name}-seed{config.seed}-{number:03d}.mid")


def _report(config: TrainConfig, folder: Path, summary: dict[str, Any]) -> str:
    """The final table: what was reached, on which split, and where everything is."""
    split = config.data.split.name
    rows = [("final weights", "train", "train", summary), ("", "val", f"val ({split})", summary)]
    if summary["windows_test"]:
        rows.append(("", "test", "test (held-out block)", summary))
    best = summary["best"]
    rows.append((f"best, epoch {best['epoch']}", "val", f"val ({split})", best))
    if summary["windows_test"]:
        rows.append(("", "test", "test (held-out block)", best))
    header = f"{'':<17}{'split':<24}{'loss':>7}{'accuracy':>10}" + "".join(f"{c:>10}" for c in (*CHANNELS, "joint"))
    lines = ["", header]
    for label, key, name, values in rows:
        cells = [values[f"accuracy/{key}"]]
        cells += [values[f"accuracy_{channel}/{key}"] for channel in (*CHANNELS, "joint")]
        lines.append(f"{label:<17}{name:<24}{values[f'loss/{key}']:>7.3f}" + "".join(f"{c:>10.3f}" for c in cells))
    samples = sorted((folder / SAMPLES).glob("*.mid"))
    lines += [
        "loss in nats an event; accuracy is the mean of the three channels, joint is all three right",
        "",
        f"composed     {shown(samples[0])}" if samples else "",
        f"compose more {_program('composer')} generate run={shown(folder)}",
        f"curves       {_program('tensorboard')} --logdir {shown(folder.parent)}",
    ]
    return "\n".join(lines)


def _program(name: str) -> str:
    """A program of this environment as the user can type it: its path where the environment is not activated."""
    beside = Path(sys.executable).parent / name
    found = shutil.which(name)
    return name if found is not None and Path(found) == beside or not beside.exists() else str(shown(beside))
