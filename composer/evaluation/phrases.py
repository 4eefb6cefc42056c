"""Phrases: repeated figures, phrase ends and the ending of a piece.

N = struck notes of a piece
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from composer.music.notes import NoteArrays
from composer.music.rhythm import GRID, bar_places
from composer.music.tonality import estimate_tonic

# Intervals per figure.
FIGURE_INTERVALS = 8
# A last note this much longer than the piece's median note is long.
_LONG = 2.0
# Semitones of the tonic triad above the tonic.
_TRIADS = {False: (0, 4, 7), True: (0, 3, 7)}


def repetition(piece: NoteArrays, *, rhythm: bool) -> float | None:
    """Return the share of a piece's figures that occur in it more than once, transposed or not.

    A figure is 8 successive intervals, so 9 notes, between the struck notes by onset and pitch; figures begin at every
    note and may overlap.

    Args:
        piece: of a part with beats, for the rhythm.
        rhythm: count a figure only if its 8 times between notes come back too, in twelfths of a beat, rounded.

    Returns:
        None for fewer than two figures.
    """
    columns = [np.diff(piece.pitch)]
    if rhythm:
        columns.append(np.rint(np.diff(piece.onset_beats) * GRID).astype(np.int64))
    rows = np.ascontiguousarray(np.stack(columns, axis=1))
    figures = [rows[k : k + FIGURE_INTERVALS].tobytes() for k in range(len(rows) - FIGURE_INTERVALS + 1)]
    if len(figures) < 2:
        return None
    counts = Counter(figures)
    return sum(counts[figure] > 1 for figure in figures) / len(figures)


def cadence(piece: NoteArrays) -> float | None:
    """Return the share of phrase ends that rest on the tonic triad.

    A phrase ends with an onset that is followed by a longer wait than the onsets before and after it: the attack-point
    rule, GPR 2b, of Lerdahl and Jackendoff 1983, "A Generative Theory of Tonal Music". It rests on the tonic triad if
    every note of that onset belongs to it, in the key that the pitch classes of this piece or excerpt suggest
    (Krumhansl and Schmuckler).

    Returns:
        None where no phrase ends.
    """
    onsets, group = np.unique(np.round(piece.onset_beats, 6), return_inverse=True)
    waits = np.diff(onsets)
    ends = np.flatnonzero((waits[1:-1] > waits[:-2]) & (waits[1:-1] > waits[2:])) + 1
    if not len(ends):
        return None
    tonic, minor = _tonic(piece)
    foreign = ~np.isin((piece.pitch - tonic) % 12, _TRIADS[minor])
    outside = np.bincount(group, weights=foreign, minlength=len(onsets))
    return float((outside[ends] == 0).mean())


def ending(piece: NoteArrays) -> float:
    """Return which of three signs of an ending the last notes of a whole piece show, as a share of the three.

    The longest of them is at least twice as long as the piece's median note; they stand at the start of a bar; the
    lowest of them is the tonic of the piece's key.

    Args:
        piece: from its first note to its last, at least one.
    """
    last = piece.onset_beats >= piece.onset_beats[-1] - 1e-6
    long = piece.duration_beats[last].max() >= _LONG * np.median(piece.duration_beats)
    strong = bar_places(piece.markings, piece.onset_beats[-1:]).on_bar[0]
    home = piece.pitch[last].min() % 12 == _tonic(piece)[0]
    return (bool(long) + bool(strong) + bool(home)) / 3


def _tonic(piece: NoteArrays) -> tuple[int, bool]:
    sounding = np.bincount(piece.pitch % 12, weights=piece.duration_beats, minlength=12)
    return estimate_tonic(np.asarray(sounding, np.float64))
