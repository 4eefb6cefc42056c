"""Rhythm before and after encoding: the share of inter-onset intervals on the grid of 1/12 beat."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from composer.config.data import TimeUnit
from composer.data.vocabulary import Vocabulary
from composer.music.events import Piece
from composer.music.rhythm import grid_share, intervals, onset_beats


@dataclass(frozen=True, slots=True)
class Rhythm:
    """Shares of inter-onset intervals on the grid of 1/12 beat.

    Attributes:
        original: in the music as it was read.
        encoded: the same after encoding and decoding.
    """

    original: float
    encoded: float

    def __str__(self) -> str:
        return f"{self.original:.0%} of inter-onset intervals on the 1/12-beat grid, {self.encoded:.0%} after encoding"


def measure_rhythm(pieces: Iterable[Piece], vocabulary: Vocabulary) -> Rhythm | None:
    """Measure the effect of encoding on the rhythm of pieces whose events are in the vocabulary's unit.

    An interval in seconds is converted to beats with the tempo at the note's place in the original.

    Returns:
        None where no piece has two onsets, or the files have no beats (SMPTE frames).
    """
    original, encoded = [], []
    for piece in pieces:
        if piece.timing.smpte:
            continue
        original.append(intervals(onset_beats(piece)))
        encoded.append(_encoded_intervals(piece, vocabulary))
    before = grid_share(np.concatenate(original)) if original else None
    after = grid_share(np.concatenate(encoded)) if encoded else None
    return None if before is None else Rhythm(before, after or 0.0)


def _encoded_intervals(piece: Piece, vocabulary: Vocabulary) -> NDArray[np.float64]:
    """Return the intervals in beats between the onsets of a piece after encoding and decoding."""
    events = piece.events
    decoded = np.asarray(vocabulary.time_values)[vocabulary.time_classes(events.delta_time)]
    note_on = events.velocity > 0
    onsets, first = np.unique(np.round(np.cumsum(decoded)[note_on], 9), return_index=True)
    gaps = np.diff(onsets)
    if events.time_unit is TimeUnit.beats:
        return gaps
    return np.asarray(gaps / piece.tempo_map.seconds_per_beat(piece.beats()[note_on][first[1:]]))
