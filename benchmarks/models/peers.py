"""A peer of other libraries (`benchmarks/peer.py`) on the chorales and the performances, with our kinds of network.

A job is one training of the peer, for as many seconds of processor time as our LSTM took on the same music and with as
many parameters, in the environment that `COMPOSER_PEER_PYTHON` names (the extra `peer`); without it, this one.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.models import music as files
from benchmarks.models import sets
from benchmarks.models.choice import slug
from benchmarks.models.jobs import ROOT, Job
from benchmarks.models.recipes import KINDS
from benchmarks.models.scores import whole_pieces
from benchmarks.models.tables import difference, table

TOKENIZERS = {"remi": "REMI", "midilike": "MIDI-Like"}
MUSIC = {
    "chorales": "chorales",
    **{f"maestro{number}": name for number, name in enumerate(files.PERFORMANCES, 1)},
}


@dataclass(frozen=True)
class PeerJob(Job):
    """A training of the peer; its file is next to `folder`."""

    @property
    def done(self) -> bool:
        """Whether its figures are there."""
        return self.figures_path.exists()

    @property
    def figures_path(self) -> Path:
        """The file of its figures."""
        return self.sibling("json")

    @property
    def figures(self) -> dict[str, Any]:
        """Its figures."""
        found: dict[str, Any] = json.loads(self.figures_path.read_text(encoding="utf-8"))
        return found

    def run(self) -> bool:
        """Train, score and compose."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        python = os.environ.get("COMPOSER_PEER_PYTHON", sys.executable)
        command = [python, str(ROOT / "benchmarks" / "peer.py"), *self.overrides, "--output", str(self.figures_path)]
        with self.sibling("log").open("w", encoding="utf-8") as log:
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, env=environment, check=False)
        return self.done


def jobs(folder: Path, music: Path) -> list[Job]:
    """Return the trainings; none before those of `sets` are done, whose time and size they take."""
    made = folder.parent / "music"
    places = {"chorales": "chorales"}
    places |= {f"maestro{k}": str(place) for k, place in enumerate(files.folds(made, music), 1)}
    found: list[Job] = []
    for name, place in places.items():
        plan = folder.parent / "sets" / name / "matched.json"
        ours = Job(folder.parent / "sets" / name / f"{slug(sets.BASE)}-seed0", ())
        if not plan.exists() or not ours.done:
            continue
        size = json.loads(plan.read_text(encoding="utf-8"))[sets.BASE]["parameters"]
        for tokenizer in TOKENIZERS:
            asked = ["--data", place, "--tokenizer", tokenizer, "--parameters", str(size), "--clock", "cpu"]
            asked += ["--seconds", f"{ours.summary['seconds']:.0f}"]
            found.append(PeerJob(folder / f"{name}-{tokenizer}", tuple(asked)))
    return found


def tables(done: list[Job]) -> dict[str, str]:
    """Return the text of docs/benchmarks.md."""
    folder = done[0].folder.parent.parent
    rows: list[tuple[str, ...]] = []
    versions: dict[str, Any] = {}
    for name, title in MUSIC.items():
        plan = json.loads((folder / "sets" / name / "matched.json").read_text(encoding="utf-8"))
        base: dict[str, Any] | None = None
        for kind in KINDS:
            job = Job(folder / "sets" / name / f"{slug(kind)}-seed0", ())
            if not job.done:
                continue
            found = whole_pieces(job)
            base = found if kind == sets.BASE else base
            quality = job.summary["quality"]
            told = f"{job.summary['seconds']:.0f}"
            rows.append(_row(title, kind, plan[kind]["parameters"], told, found, base, quality))
            title = ""
        for tokenizer, label in TOKENIZERS.items():
            peer = next((job for job in done if job.folder.name == f"{name}-{tokenizer}"), None)
            if not isinstance(peer, PeerJob):
                continue
            figures = peer.figures
            versions = figures["versions"]
            found = dict(figures["test"])
            found["by_piece"] = [{**piece, "piece": piece["name"]} for piece in found["pieces"]]
            told = f"{figures['cpu_seconds_trained']:.0f}"
            quality = figures["composed"]["quality"]
            rows.append(_row(title, f"GPT-2, {label}", figures["parameters"], told, found, base, quality))
    head = (
        *("music", "network", "parameters", "seconds", "nats per note", "minus the LSTM's, by piece"),
        *("bits per second", "distance", "on the grid"),
    )
    named = [f"{name} {versions.get(name)}" for name in ("miditok", "transformers", "torch")]
    return {"peers": f"{table(head, rows)}\n\n*{', '.join(named)}.*"}


def _row(
    title: str,
    network: str,
    parameters: int,
    seconds: str,
    found: dict[str, Any],
    base: dict[str, Any] | None,
    quality: dict[str, Any] | None,
) -> tuple[str, ...]:
    differences = "-"
    if base is not None and found is not base and len(found["by_piece"]) > 2:
        ours, theirs = per_note(base), per_note(found)
        if ours.keys() == theirs.keys():
            differences = difference([theirs[name] - ours[name] for name in sorted(ours)], 2)
    distance = quality["distance"] if quality else None
    grid = quality["composed"].get("on_grid") if quality else None
    return (
        *(title, network, f"{parameters:,}", seconds, f"{found['nats_per_note']:.2f}", differences),
        f"{found['bits_per_second']:.1f}",
        "-" if distance is None or not math.isfinite(distance) else f"{distance:.2f}",
        "-" if grid is None else f"{grid:.2f}",
    )


def per_note(found: dict[str, Any]) -> dict[str, float]:
    """Return the nats per note of each piece, by its name."""
    return {Path(str(piece["piece"])).stem: piece["nats"] / piece["notes"] for piece in found["by_piece"]}
