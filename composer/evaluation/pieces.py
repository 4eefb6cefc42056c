"""Figures by piece, and what they say of other pieces: the mean over pieces with its interval."""

from __future__ import annotations

import csv
import io
from typing import Any

from composer.evaluation.statistics import paired

# By their number, the figures of each piece.
ByPiece = dict[int, dict[str, Any]]

_NOT_AVERAGED = ("piece", "windows", "perplexity", "seconds")


def over_pieces(by_piece: ByPiece, resamples: int) -> dict[str, dict[str, Any]]:
    """The mean of each figure over pieces, each of which counts once, with a 95 % interval.

    The interval is a bootstrap over pieces from five on, Student's for three and four, and none for fewer
    (`compare/statistics.py`): windows of one piece are too alike to be drawn one by one.

    Args:
        by_piece: as `Scores.pieces` gives them.
        resamples: draws of the bootstrap where the resamples are too many to be counted.
    """
    found = {}
    keys = [key for key in next(iter(by_piece.values()), {}) if not key.startswith(_NOT_AVERAGED)]
    for key in keys:
        values = [figures[key] for figures in by_piece.values() if figures[key] is not None]
        if not values:
            continue
        said = paired(values, resamples)
        interval = None if said.interval is None else list(said.interval)
        found[key] = {"pieces": said.n, "mean": said.mean, "sd": said.sd, "interval": interval, "method": said.method}
    return found


def table(parts: dict[str, ByPiece]) -> str:
    """A CSV table with a row for each split and piece, of the figures of the pieces by split."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    columns = list(next((figures for by_piece in parts.values() for figures in by_piece.values()), {}))
    writer.writerow(["split", "number", *columns])
    for split, by_piece in parts.items():
        for number, figures in by_piece.items():
            cells = ["" if figures[column] is None else figures[column] for column in columns]
            writer.writerow([split, number, *cells])
    return out.getvalue()
