"""Markdown tables, and the places in docs/ that they are written to.

<!-- figures: NAME -->
... written by benchmarks/models, not by hand ...
<!-- end of figures -->
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.models.jobs import ROOT, Job
from composer.evaluation.statistics import paired

_RESAMPLES = 10_000


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table."""
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def spread(values: Sequence[float], digits: int = 3) -> str:
    """Return mean and standard deviation (n - 1) in words."""
    if not len(values):
        return "-"
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    return f"{np.mean(values):.{digits}f} ± {np.std(values, ddof=1):.{digits}f}"


def difference(values: Sequence[float], digits: int = 3) -> str:
    """Return the mean of paired differences with its 95 % interval (`composer/evaluation/statistics.py`)."""
    if not len(values):
        return "-"
    found = paired(values, _RESAMPLES)
    mean = f"{found.mean:+.{digits}f}"
    if found.interval is None:
        return mean
    low, high = found.interval
    return f"{mean} [{low:+.{digits}f}, {high:+.{digits}f}]"


def provenance(jobs: Sequence[Job]) -> str:
    """Return what made the runs: the digest of code and configs (`code_sha256`), versions, dates and time."""
    done = [job for job in jobs if job.done]
    manifests = [job.manifest for job in done]
    if not manifests:
        return ""
    code = sorted({found["code_sha256"][:8] for found in manifests})
    versions = manifests[-1]["versions"]
    days = sorted({found["started"][:10] for found in manifests})
    minutes = sum(job.summary["seconds"] for job in done) / 60
    when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    return (
        f"*{len(done)} runs, {minutes:.0f} minutes of one core, {when}; table of commit {_commit()}, code "
        f"{', '.join(code)}; Python "
        f"{versions['python']}, torch {versions['torch']}, pytorch-lightning {versions['pytorch-lightning']}.*"
    )


def _commit() -> str:
    """Return the commit of the checkout, shortened."""
    asked = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def write(document: str, name: str, text: str) -> None:
    """Put a text into its place in a document.

    Raises:
        ValueError: the document has no such place.
    """
    path = ROOT / "docs" / document
    old = path.read_text(encoding="utf-8")
    place = re.compile(rf"(<!-- figures: {re.escape(name)} -->\n).*?(<!-- end of figures -->)", re.DOTALL)
    if not place.search(old):
        raise ValueError(f"{path}: has no place <!-- figures: {name} -->")
    path.write_text(place.sub(lambda found: f"{found[1]}\n{text}\n\n{found[2]}", old), encoding="utf-8")


def read_column(path: Path, column: str) -> list[float]:
    """Return a column of a run's `metrics.csv`; empty cells are left out."""
    head, *rows = path.read_text(encoding="utf-8").splitlines()
    number = head.split(",").index(column)
    return [float(cell) for row in rows if (cell := row.split(",")[number])]
