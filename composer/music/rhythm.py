"""Rhythm: the share of inter-onset intervals that lie on a grid of the beat; bars and beats.

    inter-onset interval  beats from one onset to the next; simultaneous notes are one onset
    on the grid           within `TOLERANCE_BEATS` of a multiple of 1/12 beat, which holds sixteenths and triplets;
                          an interval drawn at random is on it with a probability of 0.12

A score keeps to the grid of its file's beats, a recorded performance does not.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from composer.music.events import Piece
from composer.music.markings import Markings

# Units of a time signature that make one beat of a compound metre (6/8, 9/8, 12/8).
_COMPOUND = 3
# Places of the grid per beat.
GRID = 12
# Classes of the position in a bar of up to 8 beats.
BAR_CLASSES = 8 * GRID
# Also holds thirty-second notes: the grid that separates scores from performances.
FINE_GRID = 24
TOLERANCE_BEATS = 0.005
# Grids for onsets in places per beat, the coarsest first; the distance from a place that still counts as on it, and
# the lowest share of a piece's notes on the grid.
GRIDS = (4, 12, 24)
PLACE_TOLERANCE_BEATS = 0.01
MIN_GRID_SHARE = 0.99
# Lowest share of intervals on the fine grid at which music is a score; chance is 0.24.
MIN_SCORE_SHARE = 0.5

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class BarPlaces:
    """Places of notes in their bars, by the metre of the piece; in quarter notes.

    Attributes:
        start: (N,) places of the starts of the bars; below 0 where a piece begins with an upbeat.
        offset: (N,) from the start of the bar to the note.
        length: (N,) lengths of the bars.
        beat: (N,) length of the metre's beat: one unit of the time signature, or three in a compound metre.
    """

    start: Array
    offset: Array
    length: Array
    beat: Array

    @property
    def on_beat(self) -> NDArray[np.bool_]:
        """Mask (N,) of the notes on a beat of their bar."""
        return np.asarray(np.abs(self.offset - np.rint(self.offset / self.beat) * self.beat) <= TOLERANCE_BEATS)

    @property
    def on_bar(self) -> NDArray[np.bool_]:
        """Mask (N,) of the notes at the start of a bar."""
        return np.asarray(np.minimum(self.offset, self.length - self.offset) <= TOLERANCE_BEATS)


def bar_places(markings: Markings, places: Array) -> BarPlaces:
    """Return the places in their bars of notes at places (N,) in beats; see `Markings.bar_offsets`.

    Args:
        markings: of the piece; without a time signature bars are of four quarter notes.
        places: in quarter notes from the start of the piece, in order.
    """
    end = float(places[-1]) if len(places) else 0.0
    offset, meters = markings.bars_at(places, end)
    numerator, denominator = meters.T
    compound = (denominator >= 8) & (numerator > _COMPOUND) & (numerator % _COMPOUND == 0)
    beat = np.where(compound, _COMPOUND, 1) * 4 / denominator
    # A place a rounding error before a bar's start belongs to that bar.
    length = numerator * 4 / denominator
    offset = np.where(length - offset < TOLERANCE_BEATS, 0.0, offset)
    return BarPlaces(places - offset, offset, length, beat)


def intervals(onsets: Array) -> Array:
    """Return the intervals between successive different onsets (N,), which need not be sorted."""
    return np.diff(np.unique(np.round(onsets, 9)))


def on_grid(beats: Array, divisions: int = GRID, tolerance: float = TOLERANCE_BEATS) -> NDArray[np.bool_]:
    """Return the mask (N,) of the intervals (N,), in beats, on a grid of `divisions` per beat."""
    return np.asarray(np.abs(beats * divisions - np.rint(beats * divisions)) <= tolerance * divisions)


def grid_share(beats: Array, divisions: int = GRID) -> float | None:
    """Return the share of intervals (N,) in beats that are on the grid; None without any."""
    return float(on_grid(beats, divisions).mean()) if len(beats) else None


def is_score(pieces: Iterable[Piece]) -> bool:
    """Return whether music keeps to the grid of its files' beats: a score, not a performance."""
    found = [intervals(onset_beats(piece)) for piece in pieces if piece.timing.smpte is None]
    share = grid_share(np.concatenate(found), FINE_GRID) if found else None
    return share is not None and share >= MIN_SCORE_SHARE


def grid_of(places: Array) -> int | None:
    """Return the coarsest of `GRIDS` that fits the onsets, in places per beat; None if none fits.

    Args:
        places: (N,) onsets in beats from the start of their piece.
    """
    for divisions in GRIDS:
        if len(places) and float(on_grid(places, divisions, PLACE_TOLERANCE_BEATS).mean()) >= MIN_GRID_SHARE:
            return divisions
    return None


def onset_beats(piece: Piece) -> Array:
    """Return the onsets of the notes of a piece, in beats."""
    return np.asarray(piece.beats()[piece.events.velocity > 0])
