"""Structureness indicators of Wu and Yang 2020: how much of a piece is repeated, computed from notes.

A segment is fit when much of the piece is like it (Mueller, Jiang and Grosche 2013, "A Robust Fitness Measure for
Capturing Repetitions in Music Recordings"): the harmonic mean of the similarity of its repetitions and of how much they
cover. The indicator of a range of lengths is the fitness of its fittest segment (Wu and Yang 2020, "The Jazz
Transformer on the Front Line"). They take chroma from sound, twice a second, smoothed and in all transpositions; here
the chroma of each second are counted from the notes, so figures compare with our own alone.

    F = frames of a second, M = frames of a segment, S = segments of that length
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from composer.music.notes import NoteArrays

# Lengths of segments in seconds, as published; the last has no end.
RANGES = {"structure_short": (3, 8), "structure_medium": (8, 15), "structure_long": (15, None)}
# A second of a longer piece is not looked at: the work grows with the fourth power of the length.
MAX_FRAMES = 60
# The share of the similarities that count as such; all others cost a path (the values of the FMP notebooks C4S2).
_KEPT, _PENALTY = 0.2, -2.0

Array = NDArray[np.float64]


def structure(piece: NoteArrays) -> dict[str, float]:
    """Return the three indicators, from 0 (no repetition) to 1; without segments longer than the piece."""
    similar = similarity(chroma(piece))
    frames, found = len(similar), {}
    for name, (shortest, longest) in RANGES.items():
        lengths = range(shortest, min(frames if longest is None else longest, frames) + 1)
        if len(lengths):
            found[name] = max(float(fitness(similar, length).max()) for length in lengths)
    return found


def chroma(piece: NoteArrays) -> Array:
    """Return the duration of each pitch class per second (F, 12), rows of length 1; silence matches everything."""
    begin = piece.onset_seconds - piece.onset_seconds[0]
    end = begin + piece.duration_seconds
    frames = min(MAX_FRAMES, int(np.ceil(max(begin[-1], 1e-9))))
    edges = np.arange(frames)[:, None]
    sounding = np.clip(np.minimum(end, edges + 1) - np.maximum(begin, edges), 0, None)
    rows = np.stack([sounding[:, piece.pitch % 12 == k].sum(1) for k in range(12)], axis=1)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.where(norms > 0, rows / np.maximum(norms, 1e-12), 12**-0.5)


def similarity(rows: Array) -> Array:
    """Return cosines (F, F) of frames (F, 12): the highest fifth scaled to 0..1, else a penalty; 1 on the diagonal."""
    cosine = np.clip(rows @ rows.T, 0, 1)
    threshold = np.quantile(cosine, 1 - _KEPT)
    scaled = (cosine - threshold) / (1 - threshold) if threshold < 1 - 1e-12 else np.ones_like(cosine)
    similar = np.where(cosine >= threshold - 1e-12, np.clip(scaled, 0, 1), _PENALTY)
    np.fill_diagonal(similar, 1.0)
    return similar


def fitness(similar: Array, length: int) -> Array:
    """Return the fitness of every segment of a length.

    The path family of the highest score is found by dynamic programming, a frame of the piece after another, for all
    segments at once; the cells of its paths and the frames that they span are counted along the way.

    Args:
        similar: (F, F) as `similarity` gives it.
        length: M.

    Returns:
        (S,) from 0 to 1 for the segments that begin at 0, 1 ... F - M.
    """
    frames = len(similar)
    segments = np.lib.stride_tricks.sliding_window_view(similar, length, axis=1)  # (F, S, M)
    # Of the best path family that ends in each column: score, cells, frames spanned. Column 0 is between two paths.
    empty = np.full((3, frames - length + 1, length + 1), 0.0)
    empty[0] = -np.inf
    before, last = empty.copy(), empty.copy()
    last[:, :, 0] = 0.0
    for n in range(frames):
        now = empty.copy()
        # A path may have ended with the frame before.
        now[:, :, 0] = np.where(last[0, :, -1] > last[0, :, 0], last[:, :, -1], last[:, :, 0]) if n else 0.0
        now[:, :, 1] = now[:, :, 0] + np.stack([segments[n, :, 0], *[np.ones(frames - length + 1)] * 2])
        for column, step in _steps(before, last, length):
            better = step[0] > now[0, :, column:]
            now[:, :, column:] = np.where(better, step, now[:, :, column:])
        now[0, :, 2:] += segments[n, :, 1:]
        before, last = last, now
    score, cells, spanned = np.where(last[0, :, -1] > last[0, :, 0], last[:, :, -1], last[:, :, 0])
    alike = np.maximum(score - length, 0) / np.maximum(cells, 1)
    covered = np.maximum(spanned - length, 0) / frames
    return np.asarray(2 * alike * covered / np.maximum(alike + covered, 1e-16))


def _steps(before: Array, last: Array, length: int) -> list[tuple[int, Array]]:
    """Return the three steps of a path into columns from 2 (or 3) on: a frame and a column, or two of either."""
    if length < 2:
        return []
    one = np.array([0.0, 1.0, 1.0])[:, None, None]
    two = np.array([0.0, 1.0, 2.0])[:, None, None]
    return [(2, last[:, :, 1:-1] + one), (2, before[:, :, 1:-1] + two), (3, last[:, :, 1:-2] + one)]
