"""Reading of `metrics.csv`, the figures of a run by epoch. Needs neither torch nor TensorBoard."""

from __future__ import annotations

import csv
import hashlib
import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from composer.errors import ComposerError
from composer.files import read_regular
from composer.runs.layout import METRICS

# A row has some 500 bytes.
_MAX_BYTES = 256 << 20


def digest(folder: Path) -> str:
    """Return the SHA-256 of a run's `metrics.csv`.

    Raises:
        ComposerError: the file cannot be read.
    """
    return hashlib.sha256(read_regular(folder / METRICS, _MAX_BYTES)).hexdigest()


def read_metrics(folder: Path, sha256: object = None) -> dict[str, NDArray[np.float64]]:
    """Return the columns of a run's `metrics.csv` by key, one element per epoch; NaN where a metric was not taken.

    Args:
        folder: the run directory.
        sha256: of the file, as `summary.json` has it; None where it is not known.

    Raises:
        ComposerError: the file is missing or damaged, or is not the one that the digest is of.
    """
    path = folder / METRICS
    content = read_regular(path, _MAX_BYTES)
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise ComposerError(f"{path}: damaged (not the file that the run ended with, by its checksum)")
    try:
        header, *rows = list(csv.reader(io.StringIO(content.decode("utf-8"), newline=""), strict=True))
        lengths = {len(row) for row in rows}
        if lengths != {len(header)}:
            raise ValueError(
                f"rows of {', '.join(map(str, sorted(lengths))) or 'no'} cells below a head of {len(header)}"
            )
        table = np.array([[float(cell or "nan") for cell in row] for row in rows], dtype=np.float64)
        columns = {name: table[:, k] for k, name in enumerate(header)}
        if len(columns) < len(header):
            raise ValueError("two columns have one name")
        if not np.array_equal(columns["epoch"], np.arange(1, len(rows) + 1)):
            raise ValueError("its epochs are not 1, 2, 3 ...")
    except KeyError as error:
        raise ComposerError(f"{path}: damaged (no column {error})") from error
    except (ValueError, csv.Error) as error:
        raise ComposerError(f"{path}: damaged ({error})") from error
    return columns
