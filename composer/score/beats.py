"""The beat of performed music: where a listener would tap, found from the onsets alone.

Tempo from the autocorrelation of the onsets, then the sequence of taps that lies best on strong onsets while each
interval stays near the one before, by dynamic programming: D. Ellis, Beat Tracking by Dynamic Programming, Journal of
New Music Research 36(1), 2007. There it reads audio, and the tempo is one for all; the notes' own onsets are cleaner,
and here the tempo is a state, so that a player may hurry and linger.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_FRAMES_PER_SECOND = 100
# An onset's trace: about as far as hands are apart when they mean to be together.
_BLUR_SECONDS = 0.02
# How far (in octaves) the beat readily is from the tempo that the file states. Recordings state 120 a minute, which is
# also the tempo that people tap most readily.
_PREFERENCE_OCTAVES = 0.6
_SHORTEST_SECONDS, _LONGEST_SECONDS = 0.25, 1.5
# Intervals between taps that are tried, as shares of the piece's, and what a change of interval costs: this times its
# squared logarithm.
_FASTEST, _SLOWEST = 0.75, 1.33
_STEADINESS = 300.0
_FAITHFULNESS = 40.0  # likewise, for an interval that is not the piece's
# A tap must lie on an onset stronger than this (in standard deviations) to be a gain.
_SILENT_TAP = 1.0
_LONGEST_MINUTES = 120


def track_beats(onsets: Array, weights: Array, stated_seconds: float) -> Array:
    """Times of beats, in seconds, from before the first onset until after the last.

    Args:
        onsets: (N,) strikes in seconds, sorted.
        weights: (N,) how strongly each is heard.
        stated_seconds: a beat's length by the file's tempo.
    """
    stated_seconds = min(max(stated_seconds, _SHORTEST_SECONDS), _LONGEST_SECONDS)
    start, end = float(onsets[0]), float(onsets[-1])
    if end - start < _LONGEST_SECONDS or end - start > 60 * _LONGEST_MINUTES:
        return np.arange(start, end + 2 * stated_seconds, stated_seconds)
    strength = _strength(onsets - start, weights)
    period = _beat_period(strength, stated_seconds)
    taps = _taps(strength, period)
    beats = start + taps / _FRAMES_PER_SECOND
    # On to both ends at the tempo that was found there.
    first, last = float(beats[1] - beats[0]), float(beats[-1] - beats[-2])
    before = np.arange(beats[0] - first, start - 1.5 * first, -first)[::-1]
    after = np.arange(beats[-1] + last, end + 1.5 * last, last)
    return np.concatenate([before, beats, after])


def _strength(onsets: Array, weights: Array) -> Array:
    """(F,) onsets as a curve over frames, each a bell of the same width."""
    curve = np.zeros(int(onsets[-1] * _FRAMES_PER_SECOND) + 2 * _FRAMES_PER_SECOND)
    np.add.at(curve, np.rint(onsets * _FRAMES_PER_SECOND).astype(int), weights)
    # Many notes at once are one accent, not so many.
    curve = np.sqrt(curve)
    width = _BLUR_SECONDS * _FRAMES_PER_SECOND
    offsets = np.arange(-int(4 * width), int(4 * width) + 1)
    smooth = np.convolve(curve, np.exp(-0.5 * (offsets / width) ** 2), mode="same")
    return np.asarray(smooth / smooth.std(), np.float64)


def _beat_period(strength: Array, stated_seconds: float) -> float:
    """Frames from beat to beat that the whole piece keeps best."""
    lags = np.arange(int(_SHORTEST_SECONDS * _FRAMES_PER_SECOND), int(_LONGEST_SECONDS * _FRAMES_PER_SECOND))
    size = 1 << int(2 * len(strength) - 1).bit_length()
    spectrum = np.fft.rfft(strength - strength.mean(), size)
    correlation = np.fft.irfft(np.abs(spectrum) ** 2, size)
    # A beat is heard from its multiples too: they must carry it.
    score = correlation[lags] + 0.5 * correlation[np.minimum(2 * lags, len(strength) - 1)]
    octaves = np.log2(lags / (stated_seconds * _FRAMES_PER_SECOND))
    preferred = np.maximum(score, 0) * np.exp(-0.5 * (octaves / _PREFERENCE_OCTAVES) ** 2)
    return float(lags[int(np.argmax(preferred))])


def _taps(strength: Array, period: float) -> Array:
    """(B,) frames of the best sequence of taps, at least two."""
    intervals = np.arange(round(_FASTEST * period), round(_SLOWEST * period) + 1)
    # (P, P): from the interval of a column to that of a row.
    change = _STEADINESS * np.log(intervals[:, None] / intervals[None, :]) ** 2
    # By the time that it stands for, so that more taps are no gain by themselves.
    worth = intervals / period
    strangeness = _FAITHFULNESS * np.log(worth) ** 2
    gain = strength - _SILENT_TAP
    score = np.zeros((len(strength), len(intervals)))
    came_from = np.full(score.shape, -1, dtype=np.int16)
    rows = np.arange(len(intervals))
    for frame in range(len(strength)):
        back = frame - intervals
        steps = np.where(back[:, None] >= 0, score[np.maximum(back, 0)] - change, 0.0)
        best = steps.argmax(axis=1)
        score[frame] = steps[rows, best] + gain[frame] * worth - strangeness
        came_from[frame] = np.where(back >= 0, best, -1)
    ends = score[-round(_SLOWEST * period) :]
    frame, row = (int(place) for place in np.unravel_index(int(ends.argmax()), ends.shape))
    frame += len(strength) - len(ends)
    taps = [frame]
    while came_from[frame, row] >= 0:
        frame, row = frame - int(intervals[row]), int(came_from[frame, row])
        taps.append(frame)
    if len(taps) < 2:
        taps.append(taps[0] - round(period))
    return np.array(taps[::-1], dtype=np.float64)
