"""Beat tracking of performed music from its onsets.

Tempo from the autocorrelation of the onsets, then the sequence of beats that best fits strong onsets while each
interval stays near the one before, by dynamic programming: D. Ellis, Beat Tracking by Dynamic Programming, Journal of
New Music Research 36(1), 2007. The original works on audio with one global tempo; here the exact onsets of
notes are known, and the tempo is a state of the search, so that it may vary.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_FRAMES_PER_SECOND = 100
# Width of an onset: about the asynchrony of two hands that play together.
_BLUR_SECONDS = 0.02
# Standard deviation of the tempo from the file's tempo, in octaves. Recordings state 120 per minute, which is also the
# tempo that people prefer to tap.
_PREFERENCE_OCTAVES = 0.6
_MIN_BEAT_SECONDS, _MAX_BEAT_SECONDS = 0.25, 1.5
# Range of intervals between beats, as shares of the piece's beat, and the cost of a change of interval: this times its
# squared logarithm.
_MIN_INTERVAL, _MAX_INTERVAL = 0.75, 1.33
_CHANGE_COST = 300.0
_DEVIATION_COST = 40.0  # the same for an interval that differs from the piece's beat
# Onset strength, in standard deviations, above which a beat improves the score.
_MIN_ONSET_STRENGTH = 1.0
_MAX_MINUTES = 120


def track_beats(onsets: Array, weights: Array, stated_seconds: float) -> Array:
    """Return the times of beats, in seconds, from before the first onset until after the last.

    Args:
        onsets: (N,) onsets in seconds, sorted.
        weights: (N,) accent strength of each.
        stated_seconds: a beat's length by the file's tempo.
    """
    stated_seconds = min(max(stated_seconds, _MIN_BEAT_SECONDS), _MAX_BEAT_SECONDS)
    start, end = float(onsets[0]), float(onsets[-1])
    if end - start < _MAX_BEAT_SECONDS or end - start > 60 * _MAX_MINUTES:
        return np.arange(start, end + 2 * stated_seconds, stated_seconds)
    strength = _strength(onsets - start, weights)
    period = _beat_period(strength, stated_seconds)
    beats = _best_beats(strength, period)
    beats = start + beats / _FRAMES_PER_SECOND
    # Extended to both ends at the tempo found there.
    first, last = float(beats[1] - beats[0]), float(beats[-1] - beats[-2])
    before = np.arange(beats[0] - first, start - 1.5 * first, -first)[::-1]
    after = np.arange(beats[-1] + last, end + 1.5 * last, last)
    return np.concatenate([before, beats, after])


def _strength(onsets: Array, weights: Array) -> Array:
    """Return the onset strength (F,) of each frame: every onset is a bell of the same width."""
    curve = np.zeros(int(onsets[-1] * _FRAMES_PER_SECOND) + 2 * _FRAMES_PER_SECOND)
    np.add.at(curve, np.rint(onsets * _FRAMES_PER_SECOND).astype(int), weights)
    # Simultaneous notes are one accent: their weight grows less than their number.
    curve = np.sqrt(curve)
    width = _BLUR_SECONDS * _FRAMES_PER_SECOND
    offsets = np.arange(-int(4 * width), int(4 * width) + 1)
    smooth = np.convolve(curve, np.exp(-0.5 * (offsets / width) ** 2), mode="same")
    return np.asarray(smooth / smooth.std(), np.float64)


def _beat_period(strength: Array, stated_seconds: float) -> float:
    """Return the beat period in frames that fits the whole piece best."""
    lags = np.arange(int(_MIN_BEAT_SECONDS * _FRAMES_PER_SECOND), int(_MAX_BEAT_SECONDS * _FRAMES_PER_SECOND))
    size = 1 << int(2 * len(strength) - 1).bit_length()
    spectrum = np.fft.rfft(strength - strength.mean(), size)
    correlation = np.fft.irfft(np.abs(spectrum) ** 2, size)
    # The multiples of a beat must fit too.
    score = correlation[lags] + 0.5 * correlation[np.minimum(2 * lags, len(strength) - 1)]
    octaves = np.log2(lags / (stated_seconds * _FRAMES_PER_SECOND))
    preferred = np.maximum(score, 0) * np.exp(-0.5 * (octaves / _PREFERENCE_OCTAVES) ** 2)
    return float(lags[int(np.argmax(preferred))])


def _best_beats(strength: Array, period: float) -> Array:
    """Return the frames (B,) of the best sequence of beats, at least two."""
    intervals = np.arange(round(_MIN_INTERVAL * period), round(_MAX_INTERVAL * period) + 1)
    # (P, P): from the interval of a column to that of a row.
    change = _CHANGE_COST * np.log(intervals[:, None] / intervals[None, :]) ** 2
    # Weighted by its duration, so that more beats are not an advantage.
    weight = intervals / period
    deviation = _DEVIATION_COST * np.log(weight) ** 2
    gain = strength - _MIN_ONSET_STRENGTH
    score = np.zeros((len(strength), len(intervals)))
    came_from = np.full(score.shape, -1, dtype=np.int16)
    rows = np.arange(len(intervals))
    for frame in range(len(strength)):
        back = frame - intervals
        steps = np.where(back[:, None] >= 0, score[np.maximum(back, 0)] - change, 0.0)
        best = steps.argmax(axis=1)
        score[frame] = steps[rows, best] + gain[frame] * weight - deviation
        came_from[frame] = np.where(back >= 0, best, -1)
    ends = score[-round(_MAX_INTERVAL * period) :]
    frame, row = (int(place) for place in np.unravel_index(int(ends.argmax()), ends.shape))
    frame += len(strength) - len(ends)
    beats = [frame]
    while came_from[frame, row] >= 0:
        frame, row = frame - int(intervals[row]), int(came_from[frame, row])
        beats.append(frame)
    if len(beats) < 2:
        beats.append(beats[0] - round(period))
    return np.array(beats[::-1], dtype=np.float64)
