"""One summary figure: the distance of composed pieces from human music, in standard deviations of human excerpts.

For each figure, |x - mean| / spread: the mean is that of human excerpts of as many notes, the spread the standard
deviation among them, at least the figure's `MIN_SPREADS`. It is a z-score against human music, capped so that one
figure cannot decide alone; the distance is the mean over the figures, the excerpts and the pieces. What human excerpts
have among themselves, each compared with the others, is the distance to aim at: 0 would be average in every figure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
# The figures of one piece or excerpt.
Row = Mapping[str, float]

# Figures that enter, with the least spread among human excerpts, in the unit of the file: few excerpts may agree by
# chance. Those of `_LOGARITHMIC` are compared as log2, so that half is as far as twice.
MIN_SPREADS = {
    "on_grid": 0.05,
    "on_beat": 0.05,
    "on_bar": 0.05,
    "groove_similarity": 0.05,
    "repetition": 0.1,
    "repetition_rhythm": 0.1,
    "pitch_class_entropy": 0.2,
    "pitch_range": 4.0,
    "scale_consistency": 0.05,
    "polyphony": 0.2,
    "note_density": 0.2,
    "silence": 0.03,
    "pitch_outside": 0.02,
    "velocity_unheard": 0.02,
    "surprise": 2.0,
    "interval_8": 0.1,
}
# Figures that compare with the training music: only held-out music shows what to expect.
_OF_HELD_OUT = ("surprise", "interval_8", "pitch_outside", "velocity_unheard")
_LOGARITHMIC = ("polyphony", "note_density")
# Cap on the distance of one figure, in spreads.
MAX_SPREADS = 10.0
# Copying less than held-out music does counts half.
_COPIES = "interval_8"
_COPIES_LESS = 0.5
# Held-out excerpts from which they alone are the music that pieces are compared with.
MIN_HELD_OUT = 4


@dataclass(frozen=True, slots=True)
class Distance:
    """Distance of pieces from human music.

    Attributes:
        value: in spreads of human excerpts.
        among: the same of the human excerpts, each from the others; None for a single one.
        to: the music: `held_out`; `held_out and training` where few excerpts are held out; `training`.
        by_figure: spreads by figure, each at most `MAX_SPREADS`; `value` is their mean.
    """

    value: float
    among: float | None
    to: str
    by_figure: dict[str, float]

    @property
    def farthest(self) -> list[str]:
        """The figures, the farthest first."""
        return sorted(self.by_figure, key=lambda key: -self.by_figure[key])


class HumanMusic:
    """The figures of human excerpts: their means and spreads."""

    def __init__(self, training: Sequence[Row], held_out: Sequence[Row]) -> None:
        """Compute.

        Args:
            training: figures of excerpts of the training music, at least one here or in `held_out`.
            held_out: of held-out music.
        """
        unheld = [{key: row[key] for key in row if not held_out or key not in _OF_HELD_OUT} for row in training]
        self.rows = list(held_out) if len(held_out) >= MIN_HELD_OUT else [*held_out, *unheld]
        self.to = "held_out" if len(held_out) >= MIN_HELD_OUT else "held_out and training" if held_out else "training"
        groups = [np.array([_vector(row) for row in rows]) for rows in (training, held_out) if rows]
        self.spreads = np.maximum(_pooled(groups), list(MIN_SPREADS.values()))
        self.matrix = np.array([_vector(row) for row in self.rows])
        self.centre = _mean(self.matrix)

    def distance(self, pieces: Sequence[Sequence[Row]]) -> Distance | None:
        """Measure pieces, at least one, by the figures of their excerpts, at least one of each.

        Returns:
            None where they share no figure with the human music.
        """
        means = _mean(np.array([_mean(self._apart([_vector(row) for row in rows], self.centre)) for rows in pieces]))
        by_figure = {key: float(value) for key, value in zip(MIN_SPREADS, means, strict=True) if np.isfinite(value)}
        if not by_figure:
            return None
        return Distance(float(np.mean(list(by_figure.values()))), self.among(), self.to, by_figure)

    def among(self) -> float | None:
        """Return the mean distance of each excerpt from the mean of the others; None for fewer than two."""
        if len(self.rows) < 2:
            return None
        found = []
        for k, row in enumerate(self.matrix):
            apart = self._apart([row], _mean(np.delete(self.matrix, k, axis=0)))
            found.append(float(np.nanmean(apart)))
        return float(np.mean(found))

    def _apart(self, rows: Sequence[Array], centre: Array) -> Array:
        """Return distances (P, F) from the centre (F,) in spreads, capped; NaN where either lacks a figure."""
        z = (np.array(rows) - centre) / self.spreads
        copies = list(MIN_SPREADS).index(_COPIES)
        z[:, copies] = np.where(z[:, copies] < 0, z[:, copies] * _COPIES_LESS, z[:, copies])
        return np.asarray(np.minimum(np.abs(z), MAX_SPREADS))


def _vector(row: Row) -> Array:
    values = np.array([row.get(key, np.nan) for key in MIN_SPREADS])
    logarithmic = [key in _LOGARITHMIC for key in MIN_SPREADS]
    return np.where(logarithmic, np.log2(np.maximum(values, 1e-3)), values)


def _mean(rows: Array) -> Array:
    """Return means (F,) of rows (P, F) over the pieces that have the figure; NaN where none has."""
    known = np.isfinite(rows)
    total = np.where(known, rows, 0.0).sum(0)
    return np.where(known.any(0), total / np.maximum(known.sum(0), 1), np.nan)


def _pooled(groups: Sequence[Array]) -> Array:
    """Return standard deviations (F,) about the mean of each group; 0 where no group has two values."""
    squares, degrees = np.zeros(len(MIN_SPREADS)), np.zeros(len(MIN_SPREADS))
    for rows in groups:
        known = np.isfinite(rows)
        squares += np.where(known, (rows - _mean(rows)) ** 2, 0.0).sum(0)
        degrees += np.maximum(known.sum(0) - 1, 0)
    return np.asarray(np.sqrt(squares / np.maximum(degrees, 1)))
