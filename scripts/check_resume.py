"""Kill training with SIGKILL at random instants, resume, and compare every bit with a run that was left alone.

    python scripts/check_resume.py --kills 50

A checkpoint is written after every step, so that many kills fall into the writing of one. Each round kills one run
several times and then lets it end; the rounds take turns between the variants below. A kill counts if the run had not
ended. Compared by SHA-256: weights, optimiser state, metrics.csv, summary.json (times aside), TensorBoard's scalars,
and the composed pieces; and no step may stand twice for a tag in TensorBoard's files. Exit status 1 if anything
differs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

# Before torch: the children are forked, and a forked process must not inherit half of a pool of threads.
os.environ["OMP_NUM_THREADS"] = "1"
ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "examples" / "extension")]

import torch
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from composer.commands.train import resume, start
from composer.config.compose import compose
from composer.files import read_json
from composer.runs import checkpoint as ckpt
from composer.runs.layout import BEST, LAST
from composer.runs.record import event_files

BASE = (
    "model.hidden_size=8",
    "model.dropout=0.5",
    "data.window_size=10",
    "data.batch_size=64",
    "trainer.threads=1",
    "trainer.progress_bar=false",
    "sampling.events=20",
    "checkpoint.every_steps=1",
    "logging.histogram_every_epochs=2",
    "logging.sample_every_epochs=1",
    "logging.sample_events=40",
    "logging.sample_media=false",
    "sampling_grid.pieces=0",
)
VARIANTS: dict[str, tuple[str, ...]] = {
    "dropout": (),
    "schedule": ("scheduler=cosine", "model.num_layers=2"),
    "loggers": ("logger=[csv,tensorboard]", "callbacks=[lr_monitor,early_stopping,ema]", "scheduler=one_cycle"),
    "muon": ("optimizer=muon", "scheduler=plateau", "scheduler.patience=0", "callbacks=swa", "callbacks.swa.start=0.3"),
    "accumulation": ("optimizer=sgd", "trainer.accumulate_grad_batches=3", "trainer.val_check_interval=5"),
    "early stopping": ("trainer.early_stopping_patience=1", "optimizer.lr=0.1", "trainer.max_epochs=8"),
    "proximal": ("regularizer=proximal_l1", "regularizer.weight=0.1"),
    "workers": ("data.num_workers=2", "augmentation=all"),
    "every step": ("loss.supervision=every", "model.inputs=shuffle_note", "data.first_target=20"),
    "streams": ("loss.supervision=stream", "data.batch_size=4"),
    "media": ("logging.sample_media=true", "sampling_grid.pieces=1", "trainer.max_epochs=2"),
    "plugin": ("plugins=[mylab]", "experiment=mylab"),
    "gpu": ("trainer=gpu",),
}


def launch(config: Any, folder: Path, log: Path) -> int:
    """Begin or go on with a run in a process of its own; its number."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        os.setpgid(0, 0)
        stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(stream, 1)
        os.dup2(stream, 2)
        # As a user would: begin, then resume what has begun.
        if (folder / "config.yaml").exists():
            resume(str(folder), [])
        else:
            start(config, folder)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of everything that must not depend on interruptions."""
    last = ckpt.load(folder / "checkpoints" / LAST)
    best = ckpt.load(folder / "checkpoints" / BEST)
    summary = read_json(folder / "summary.json")
    summary.pop("seconds")
    contents = {
        "weights": tensors(last["state_dict"]),
        "optimizer": tensors(last["optimizer_states"][0]["state"])
        + repr(last["optimizer_states"][0]["param_groups"]).encode(),
        "best weights": tensors(best["state_dict"]),
        "metrics.csv": (folder / "metrics.csv").read_bytes(),
        "summary.json": json.dumps(summary, sort_keys=True).encode(),
        "tensorboard": json.dumps(scalars(folder)).encode(),
        "samples": b"".join(path.read_bytes() for path in sorted((folder / "samples").glob("*.mid"))),
    }
    return {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}


def tensors(tree: Any) -> bytes:
    """The bytes of all tensors of nested dicts, with their names."""
    if isinstance(tree, dict):
        return b"".join(f"{key}:".encode() + tensors(value) for key, value in tree.items())
    return tree.numpy().tobytes() if isinstance(tree, torch.Tensor) else repr(tree).encode()


def scalars(folder: Path) -> list[tuple[str, int, float]]:
    """Every (tag, step, value) in the order of writing.

    Raises:
        ValueError: a step stands twice for a tag.
    """
    points: list[tuple[str, int, float]] = []
    for path in event_files(folder):
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                if value.metadata.plugin_data.plugin_name == "scalars":
                    points.append((value.tag, event.step, value.tensor.float_val[0]))
    steps = [(tag, step) for tag, step, _ in points]
    if len(set(steps)) < len(steps):
        raise ValueError(f"{folder}: a step stands twice in TensorBoard's files")
    return points


def kill_and_resume(config: Any, folder: Path, log: Path, kills: int, wait: float, rng: random.Random) -> int:
    """Kill a run up to so many times, resume it each time, and let it end; how many kills hit before its end."""
    done = 0
    while True:
        pid = launch(config, folder, log)
        if done < kills:
            # What is left grows shorter with every kill, so the instants are drawn closer together.
            time.sleep(rng.uniform(0, wait / (1 + done)))
            try:
                os.killpg(pid, signal.SIGKILL)
            except ProcessLookupError:
                os.kill(pid, signal.SIGKILL)  # not yet a group of its own, or a zombie
        _, status = os.waitpid(pid, 0)
        if os.WIFSIGNALED(status):
            if (folder / "summary.json").exists():
                continue  # it had ended: a resumed end must change nothing, but no kill is counted
            done += 1
            continue
        if os.waitstatus_to_exitcode(status) != 0:
            raise RuntimeError(f"the run failed by itself; {log} says how")
        return done


def main() -> int:
    """Run the check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0, help="of the instants")
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS)[:-1])
    parser.add_argument("--epochs", type=int, default=4, help="of variants that do not set them (default 4)")
    parser.add_argument("--per-run", type=int, default=5, help="kills before a run is let end")
    parser.add_argument("--keep", type=Path, help="keep the runs in this folder")
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    root = arguments.keep or Path(tempfile.mkdtemp(prefix="check_resume_"))
    root.mkdir(parents=True, exist_ok=True)

    expected: dict[str, tuple[dict[str, str], float]] = {}
    killed = equal = inside = number = 0
    while killed < arguments.kills:
        variant = arguments.variants[number % len(arguments.variants)]
        config = compose(*BASE, f"trainer.max_epochs={arguments.epochs}", *VARIANTS[variant])
        name = variant.replace(" ", "-")
        if variant not in expected:
            started = time.monotonic()
            reference = root / f"{name}-reference"
            _, status = os.waitpid(launch(config, reference, root / f"{name}-reference.log"), 0)
            if status:
                raise RuntimeError(f"the uninterrupted run failed; {root / f'{name}-reference.log'} says how")
            expected[variant] = (digests(reference), time.monotonic() - started)
        digest, seconds = expected[variant]
        folder, log = root / f"{name}-{number}", root / f"{name}-{number}.log"
        wanted = min(arguments.per_run, arguments.kills - killed)
        kills = kill_and_resume(config, folder, log, wanted, seconds, rng)
        different = [key for key, value in digests(folder).items() if value != digest[key]]
        killed, number = killed + kills, number + 1
        equal += 0 if different else kills
        # A start that finds a run adds to the manifest; other kills fell into the imports and the reading of the data.
        inside += len(read_json(folder / "manifest.json").get("resumed", []))
        verdict = f"DIFFERS in {', '.join(different)}" if different else "equal"
        print(f"{variant:<15}{kills} kills, then to the end: {verdict}", flush=True)
    print(f"{equal} of {killed} kills ended in the same bits as a run that was left alone")
    print(f"{inside} of the kills fell inside the training, by the manifests")
    if equal == killed and not arguments.keep:
        shutil.rmtree(root)
    return 0 if equal == killed else 1


if __name__ == "__main__":
    sys.exit(main())
