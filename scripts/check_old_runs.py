"""Resume and read runs that an earlier commit wrote, and compare every bit with what that commit makes of them.

    python scripts/check_old_runs.py --commit 50a75f9

A git worktree of the commit trains small runs: one to the end, and the same one half-way. This code resumes the
second; weights, metrics.csv, summary.json (times aside) and the composed pieces must be those of the first. One run is
killed by SIGKILL; a sweep lacks a job, which this code trains; a store of MIDI files must be read without reading a
file again. `compare` must write the same tables. Exit status 1 if anything differs.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import mido
import numpy as np
import torch

from composer.runs import checkpoint as ckpt
from composer.runs.layout import BEST, LAST

SMALL = (
    *("model.hidden_size=8", "data.window_size=10", "data.batch_size=64", "trainer.threads=1"),
    *("trainer.progress_bar=false", "sampling.events=40", "sampling_grid.pieces=1", "sampling_grid.events=40"),
    *("logging.sample_media=false", "checkpoint.every_epochs=1"),
)
VARIANTS: dict[str, tuple[str, ...]] = {
    "article": ("experiment=article",),
    "best": ("experiment=best",),
    "stream": ("loss.supervision=stream", "data.batch_size=8"),
    "transformer": ("model=transformer", "loss.supervision=every"),
    "augmentation": ("augmentation=all", "trainer.early_stopping_patience=1", "optimizer.lr=0.1"),
    "store": ("data=midi", "data.path=music", "data.split=by_piece", "data.cache=cache"),
}
EPOCHS = 4


class Check:
    """Prints one line per comparison, and counts those that differ."""

    def __init__(self) -> None:
        """Start without a difference."""
        self.differing = 0

    def __call__(self, name: str, different: list[str]) -> None:
        """Report a comparison; `different` names what is not equal."""
        self.differing += bool(different)
        print(f"{name:<34}{'DIFFERS in ' + ', '.join(different) if different else 'equal'}", flush=True)


def composer(code: Path, folder: Path, *arguments: str) -> str:
    """Run a command with the code in `code` from `folder`; return what it prints.

    Raises:
        RuntimeError: it failed.
    """
    done = subprocess.run(command(*arguments), cwd=folder, env=environment(code), capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)} with {code} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def command(*arguments: str) -> list[str]:
    """Return a command line of the present Python."""
    return [sys.executable, "-W", "ignore", "-m", "composer.cli", *arguments]


def environment(code: Path) -> dict[str, str]:
    """Return an environment in which Python finds the code in `code` first."""
    return {**os.environ, "PYTHONPATH": str(code), "PYTHONSAFEPATH": "1", "OMP_NUM_THREADS": "1"}


def write_music(folder: Path, pieces: int = 6) -> None:
    """Write MIDI files of random melodies."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(pieces):
        file = mido.MidiFile(type=0)
        track = file.add_track()
        for pitch in rng.integers(48, 84, 120).tolist():
            track.append(mido.Message("note_on", note=pitch, velocity=64, time=120))
            track.append(mido.Message("note_on", note=pitch, velocity=0, time=120))
        file.save(folder / f"{number}.mid")


def differences(one: Path, other: Path) -> list[str]:
    """Return what differs between two finished runs."""
    weights = [ckpt.load(run / "checkpoints" / LAST)["state_dict"] for run in (one, other)]
    pieces = [[path.read_bytes() for path in sorted((run / "samples").iterdir())] for run in (one, other)]
    figures = [summary(run) for run in (one, other)]
    equal = {
        "weights": all(torch.equal(value, weights[1][name]) for name, value in weights[0].items()),
        "metrics.csv": (one / "metrics.csv").read_bytes() == (other / "metrics.csv").read_bytes(),
        "samples": pieces[0] == pieces[1],
        "summary.json": figures[0] == figures[1],
    }
    return [name for name, same in equal.items() if not same]


# Keys of a summary that say how a run was made, which code of earlier commits does not write.
YOUNGER = ("exact_resume", "no_result", "damaged_record", "metrics_sha256", "checksum")


def summary(run: Path) -> dict[str, Any]:
    """Return the figures of a run without its time."""
    found: dict[str, Any] = json.loads((run / "summary.json").read_text())
    return {key: value for key, value in found.items() if key not in ("seconds", *YOUNGER)}


def check_resuming(old: Path, folder: Path, check: Check) -> None:
    """Resume runs that stopped half-way."""
    for name, overrides in VARIANTS.items():
        own = ("train", *overrides, *SMALL)
        composer(old, folder, *own, f"trainer.max_epochs={EPOCHS}", f"hydra.run.dir={name}-whole")
        composer(old, folder, *own, f"trainer.max_epochs={EPOCHS // 2}", f"hydra.run.dir={name}-half")
        composer(ROOT, folder, "train", f"resume={name}-half", f"trainer.max_epochs={EPOCHS}")
        check(f"resume {name}", differences(folder / f"{name}-whole", folder / f"{name}-half"))
        for number in (0, 1):
            # Both read the same run; each writes into a folder of its own.
            code = (old, ROOT)[number]
            composer(code, folder, "generate", f"run={name}-whole", "events=60", f"output={name}-generated{number}")
            composer(code, folder, "evaluate", f"run={name}-whole", "figures=false", f"output={name}-scored{number}")
        made = [[p.read_bytes() for p in sorted((folder / f"{name}-generated{k}").iterdir())] for k in (0, 1)]
        scored = [json.loads((folder / f"{name}-scored{k}" / "evaluation.json").read_text()) for k in (0, 1)]
        # The context probe draws its windows anew since the random streams have numbers of their own.
        keys = [key for key in scored[0] if key != "context" and scored[0][key] != scored[1].get(key)]
        check(f"generate, evaluate {name}", ["generate"] * (made[0] != made[1]) + keys)


def check_store(folder: Path, check: Check) -> None:
    """Train on a store of the earlier code; no file may be read again."""
    before = {path: path.stat().st_mtime_ns for path in (folder / "cache").rglob("*.npy")}
    run = ("train", *VARIANTS["store"], *SMALL, "trainer.max_epochs=1", "hydra.run.dir=store-new")
    composer(ROOT, folder, *run)
    after = {path: path.stat().st_mtime_ns for path in (folder / "cache").rglob("*.npy")}
    check("read a store", [] if before == after else ["its files, which were written again"])


def check_kill(old: Path, folder: Path, check: Check) -> None:
    """Resume a run that was killed."""
    run = folder / "killed"
    own = command("train", *SMALL, "trainer.max_epochs=40", "hydra.run.dir=killed")
    with subprocess.Popen(own, cwd=folder, env=environment(old), stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while not (run / "checkpoints" / BEST).exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    composer(old, folder, "train", *SMALL, "trainer.max_epochs=40", "hydra.run.dir=killed-whole")
    composer(ROOT, folder, "train", "resume=killed")
    check("resume after SIGKILL", differences(folder / "killed-whole", run))


def check_sweep(old: Path, folder: Path, check: Check) -> None:
    """Continue a sweep that lacks a job, and compare its arms."""
    own = ("train", "-m", *SMALL, "trainer.max_epochs=2", "regularizer=none,l1", "seed=0,1", "hydra.sweep.dir=sweep")
    composer(old, folder, *own)
    for number, code in enumerate((old, ROOT)):
        composer(code, folder, "compare", "sweep", "figures=false", f"output=compared{number}")
    tables = ("table.csv", "runs.csv")
    made = [[(folder / f"compared{number}" / name).read_bytes() for name in tables] for number in (0, 1)]
    check("compare a sweep", [] if made[0] == made[1] else list(tables))
    job = next(path for path in sorted((folder / "sweep").iterdir()) if (path / "summary.json").exists())
    before = summary(job)
    shutil.rmtree(job)
    composer(ROOT, folder, *own)
    check("continue a sweep", [] if summary(job) == before else ["summary.json of the job"])


def main() -> int:
    """Run the check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commit", default="50a75f9", help="whose runs are read")
    parser.add_argument("--keep", type=Path, help="keep the runs in this folder")
    arguments = parser.parse_args()
    folder = arguments.keep or Path(tempfile.mkdtemp(prefix="check_old_runs_"))
    folder.mkdir(parents=True, exist_ok=True)
    folder = folder.resolve()
    old = folder / "code"
    git = ["git", "-C", str(ROOT), "worktree"]
    subprocess.run([*git, "add", "--quiet", "--detach", str(old), arguments.commit], check=True)
    # Old code asks for its version under the name that the distribution had then.
    about = old / "composer-0.1.0.dist-info"
    about.mkdir(exist_ok=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: composer\nVersion: 0.1.0\n")
    check = Check()
    try:
        write_music(folder / "music")
        check_resuming(old, folder, check)
        check_store(folder, check)
        check_kill(old, folder, check)
        check_sweep(old, folder, check)
    finally:
        subprocess.run([*git, "remove", "--force", str(old)], check=True)
    print(f"{check.differing} differences from what {arguments.commit} makes of its own runs")
    if not arguments.keep and not check.differing:
        shutil.rmtree(folder)
    return 1 if check.differing else 0


if __name__ == "__main__":
    sys.exit(main())
