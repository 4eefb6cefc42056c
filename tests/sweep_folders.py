"""Folders of sweeps written by hand, as `composer train -m` leaves them."""

import json
from pathlib import Path
from typing import Any

import yaml

# Accuracy on val by seed: L1 is better by 0.01 to 0.05.
NONE = [0.80, 0.82, 0.84, 0.86, 0.88]
L1 = [0.81, 0.84, 0.87, 0.90, 0.93]


def write_run(folder: Path, seed: int, accuracy: float, **changes: Any) -> None:
    """A run directory as `composer train` leaves it, with an accuracy on val and what follows from it."""
    config: dict[str, Any] = {
        "name": "l1",
        "seed": seed,
        "data": {"path": "/music/a.mid", "split": "shuffled", "window_size": 30},
        "regularizer": {"name": "none", "weight": 0.0},
        "trainer": {"max_epochs": 3, "threads": 1},
    }
    for key, value in changes.pop("config", {}).items():
        *groups, leaf = key.split(".")
        node = config
        for group in groups:
            node = node[group]
        node[leaf] = value
    metrics = {
        "loss/train": 1.0,
        "accuracy/train": 0.95,
        "loss/val": 3 - 2 * accuracy,
        "accuracy/val": accuracy,
        **{f"accuracy_{name}/val": accuracy for name in ("note", "velocity", "time", "joint")},
        "zeros/all": 0.25,
        "small/all": 0.5,
        "loss/test": 4 - 2 * accuracy,
        "accuracy/test": accuracy - 0.2,
        **{f"accuracy_{name}/test": accuracy - 0.2 for name in ("note", "velocity", "time", "joint")},
    }
    predictors = {
        "majority": {f"accuracy/{split}": 0.4 for split in ("val", "test")},
        "markov": {"accuracy/val": 0.75, "accuracy/test": 0.7, "order": 3},
    }
    summary = {
        "status": "completed",
        "seed": seed,
        "pieces": 1,
        "split": "shuffled",
        "windows_train": 90,
        "windows_val": 10,
        "windows_test": 10,
        "leak_rate": 1.0,
        **metrics,
        "best": {"epoch": 2, "accuracy/val": accuracy + 0.02, "loss/val": 1.0, "accuracy/test": accuracy},
        "baselines": predictors,
        **changes.pop("summary", {}),
    }
    manifest = {
        "versions": {"torch": "2.13.0"},
        "git": {"commit": "c" * 40, "dirty": False},
        "data": {"sha256": "d" * 64},
        "device": "x86_64",
        "threads": 1,
        **changes.pop("manifest", {}),
    }
    assert not changes
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "summary.json").write_text(json.dumps(summary))
    (folder / "manifest.json").write_text(json.dumps(manifest))
    rows = ["epoch,step,loss/train,accuracy/train,loss/val,accuracy/val"]
    rows += [f"{e},{e * 3},{4 - e},{0.3 * e},{4.5 - e},{0.25 * e}" for e in (1, 2, 3)]
    (folder / "metrics.csv").write_text("\n".join(rows) + "\n")


def write_job(folder: Path, number: int, swept: dict[str, str], **changes: Any) -> None:
    job = {"number": number, "overrides": [], "swept": swept, "status": "completed", "seconds": 1.0, "error": None}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "job.json").write_text(json.dumps(job | changes))


def add(sweep: Path, number: int, regularizer: str, seed: int, accuracy: float, **changes: Any) -> Path:
    folder = sweep / f"regularizer-{regularizer}_seed-{seed}"
    weight = {"none": 0.0}.get(regularizer, 1e-6)
    changes["config"] = {"regularizer.name": regularizer, "regularizer.weight": weight} | changes.get("config", {})
    write_run(folder, seed, accuracy, **changes)
    write_job(folder, number, {"regularizer": regularizer, "seed": str(seed)})
    return folder


def make_sweep(sweep: Path, arms: dict[str, list[float]]) -> Path:
    sweep.mkdir(parents=True)
    about = {"name": "l1", "overrides": [], "swept": ["regularizer", "seed"], "code_sha256": "a" * 64, "git": None}
    (sweep / "sweep.json").write_text(json.dumps(about))
    number = 0
    for regularizer, accuracies in arms.items():
        for seed, accuracy in enumerate(accuracies):
            add(sweep, number, regularizer, seed, accuracy)
            number += 1
    return sweep
