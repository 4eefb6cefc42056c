"""Struck notes as arrays: what music is compared by, whatever the order of a chord's messages.

N = struck notes of a piece
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from composer.music.events import Piece
from composer.music.markings import Markings


@dataclass(frozen=True, slots=True)
class Strikes:
    """Struck notes by onset, and by pitch within an onset.

    Attributes:
        name: of the piece.
        pitch: (N,) MIDI numbers.
        velocity: (N,) from 1 to 127.
        onset_seconds: (N,) from the beginning of the piece, which a part of it keeps.
        duration_seconds: (N,) until the next message of the same pitch; what still sounds ends with the last event.
        event: (N,) number of the strike among the piece's events.
        onset_beats, duration_beats: (N,) as the times in seconds, in beats, through the piece's tempo map.
        markings: tempo, metre and key of the piece.
    """

    name: str
    pitch: NDArray[np.int64]
    velocity: NDArray[np.int64]
    onset_seconds: NDArray[np.float64]
    duration_seconds: NDArray[np.float64]
    event: NDArray[np.int64]
    onset_beats: NDArray[np.float64]
    duration_beats: NDArray[np.float64]
    markings: Markings

    def __len__(self) -> int:
        return len(self.pitch)

    def __getitem__(self, part: slice | NDArray[np.bool_]) -> Strikes:
        return replace(
            self,
            pitch=self.pitch[part],
            velocity=self.velocity[part],
            onset_seconds=self.onset_seconds[part],
            duration_seconds=self.duration_seconds[part],
            onset_beats=self.onset_beats[part],
            duration_beats=self.duration_beats[part],
            event=self.event[part],
        )


def struck(piece: Piece) -> Strikes:
    """Return the notes of a piece, paired with their ends as `render.notes` does, through its tempo map."""
    events = piece.events
    seconds, beats = piece.seconds(), piece.beats()
    # Events by pitch, in their order: the one after a strike ends it if it is of the same pitch.
    by_pitch = np.argsort(events.pitch, kind="stable")
    same = events.pitch[by_pitch[1:]] == events.pitch[by_pitch[:-1]]
    end = np.full(len(events), len(events) - 1, np.int64)
    end[by_pitch[:-1][same]] = by_pitch[1:][same]
    on = np.flatnonzero(events.velocity > 0)
    order = on[np.lexsort((events.pitch[on], seconds[on]))]
    return Strikes(
        piece.name,
        events.pitch[order].astype(np.int64),
        events.velocity[order].astype(np.int64),
        seconds[order],
        seconds[end[order]] - seconds[order],
        order,
        beats[order],
        beats[end[order]] - beats[order],
        piece.markings,
    )


def excerpts(pieces: list[Strikes], notes: int, most: int) -> list[Strikes]:
    """Parts of so many notes, end to end, of each piece: all, or `most` of them spread evenly over all.

    A piece that is shorter is one part if it has at least half as many notes.
    """
    parts = []
    for piece in pieces:
        whole = len(piece) // notes * notes
        parts += [piece[begin : begin + notes] for begin in range(0, whole, notes)]
        if not whole and 2 * len(piece) >= notes:
            parts.append(piece)
    if len(parts) > most:
        parts = [parts[k] for k in np.linspace(0, len(parts) - 1, most).round().astype(int)]
    return parts
