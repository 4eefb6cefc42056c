"""What made a run: versions, commit, data, device; `manifest.json`."""

from __future__ import annotations

import dataclasses
import hashlib
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import torch

from composer import __version__, plugins
from composer.config import run_file
from composer.config.training import TrainConfig
from composer.data.prepare import PreparedData
from composer.errors import ComposerError
from composer.files import read_json, write_json
from composer.runs import code as source
from composer.runs.layout import CONFIG, MANIFEST

_PACKAGES = ("pytorch-lightning", "hydra-core", "omegaconf", "mido", "numpy", "tensorboard")
# Of a larger corpus the manifest of its store names all.
_MAX_NAMES = 10_000


def write_manifest(config: TrainConfig, folder: Path, music: PreparedData, changed: Sequence[str]) -> None:
    """Say what made this run; a resumed run keeps the first account and adds when, and with what, it went on."""
    account = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {
            "python": platform.python_version(),
            "composer": __version__,
            # Of the module, not of the metadata: only it names the build, such as 2.13.0+cu130.
            "torch": str(torch.__version__),
            **{name: metadata.version(name) for name in _PACKAGES},
        },
        "git": source.git_state(),
        "code_sha256": source.digest(),
        "data": {
            "sha256": music.sha256,
            "pieces": music.pieces.names[:_MAX_NAMES],
            "skipped": music.skipped[:_MAX_NAMES],
            "events": music.events,
            "alike": music.groups.named_by(music.pieces.names)[:_MAX_NAMES],
            "store": None if music.store is None else str(music.store),
        },
        "plugins": plugins.about(config.plugins),
        "config_sha256": hashlib.sha256(run_file.to_yaml(config).encode()).hexdigest(),
        "seed": config.seed,
        "device": _device(config),
        "threads": torch.get_num_threads(),
        "deterministic": config.trainer.deterministic,
        # Keys for which a resumed run is not promised to end in the bits of one that was never interrupted.
        "exact_resume": not config.inexact(),
        "inexact_by": config.inexact(),
        "platform": platform.platform(),
    }
    path = folder / MANIFEST
    if (folder / CONFIG).exists():
        manifest = read_json(path)
        known = manifest.get("data", {}).get("sha256")
        if known != music.sha256:
            raise ComposerError(
                f"{config.data.named}: its content is not what {folder} was trained on; "
                "put the old files back, or start a new run"
            )
        events = manifest["data"].get("events")
        if events is not None and events != music.events:
            raise ComposerError(
                f"{config.data.named}: its parts are merged by another rule now ({music.events:,} events, "
                f"{events:,} when {folder} began), so that its split would be another; start a new run"
            )
        values = run_file.flatten(dataclasses.asdict(config))
        account["changed"] = {key: values[key] for key in changed}
        manifest.setdefault("resumed", []).append(account)
        account = manifest
    write_json(path, account, checked=True)


def _device(config: TrainConfig) -> str:
    if config.trainer.accelerator == "cpu" or not torch.cuda.is_available():
        return platform.processor() or platform.machine()
    return torch.cuda.get_device_name()
