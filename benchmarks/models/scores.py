"""Whole held-out pieces under the best weights of a run: nats per note and beat, bits per second, by piece."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.models.adaptation import Mixing, measure
from benchmarks.models.jobs import Job


def whole_pieces(job: Job, part: str = "test") -> dict[str, Any]:
    """Return the figures of `composer evaluate` for whole pieces (docs/evaluate.md), kept next to the run."""
    path = job.sibling("scores.json")
    if not path.exists():
        from composer.commands.evaluate import evaluate
        from composer.composing.composer import Composer

        results = evaluate(Composer.load(str(job.folder), "best"))
        kept = {"whole_pieces": results["whole_pieces"], "baselines": results["baselines"]}
        kept |= {key: value for key, value in results.items() if key.startswith(("loss", "accuracy", "ece", "bits"))}
        path.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["whole_pieces"][part]
    return found


def mixtures(jobs: Sequence[Job], part: str) -> list[float]:
    """Return the loss of each run mixed with the counts of its training windows, kept next to the runs.

    The gate is fitted on the run's validation windows. Where these are what is scored, the runs are folds of one piece,
    and each has the mean of the gates of the other folds.
    """
    path = jobs[0].folder.parent / f"mixture-{jobs[0].folder.name}.json"
    if not path.exists():
        mixing = [Mixing(job.folder) for job in jobs]
        gates = [own.gate() for own in mixing]
        if part == "val":
            total = np.sum(gates, axis=0)
            gates = [(total - own) / (len(gates) - 1) for own in gates]
        found = [{"loss": own.loss(part, weights)} for own, weights in zip(mixing, gates, strict=True)]
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return [each["loss"] for each in json.loads(path.read_text(encoding="utf-8"))]


def adaptation(job: Job) -> dict[str, dict[str, float]]:
    """Return loss and calibration error of a run by each way of `adaptation.measure`, kept next to the run."""
    path = job.sibling("adaptation.json")
    if not path.exists():
        path.write_text(json.dumps(measure(job.folder), indent=1) + "\n", encoding="utf-8")
    found: dict[str, dict[str, float]] = json.loads(path.read_text(encoding="utf-8"))
    return found
