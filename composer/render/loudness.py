"""Loudness after ITU-R BS.1770-4, and normalisation to a loudness without clipping.

    L = frames, C = channels (1 or 2), S = steps of 100 ms, H = hops of 2 ms, T = taps of the weighting filter

The K-weighting filter is a high shelf and a high-pass. The standard gives their coefficients at 48 kHz; those of other
rates are derived by the bilinear transform from the analogue parameters behind them, as in libebur128 and in B. De Man,
Evaluation of Implementations of the EBU R128 Loudness Measurement, AES Convention 145, 2018.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]
# Numerator and denominator, each (3,), of a filter of second order.
Biquad = tuple[NDArray[np.float64], NDArray[np.float64]]

# Loudness of rendered files: as loud as most music for headphones, with room for a piano's attacks.
TARGET_LUFS = -16.0
# Largest absolute sample: about 1 dB below full scale, so that the filter of a player does not clip it.
PEAK = 0.89
_OFFSET = -0.691  # dB, cancels the gain of the weighting at 997 Hz
_ABSOLUTE_GATE = -70.0  # LUFS
_RELATIVE_GATE = -10.0  # LU
_STEPS_PER_SECOND = 10
_STEPS_PER_BLOCK = 4  # blocks of 400 ms that overlap by 75 %
_TRANSFORM = 1 << 16  # frames
_TAP_SECONDS = 0.1  # of the weighting's impulse response, which is then below 1e-9
# The limiter turns the sound down by at most this much; louder peaks lower the gain of the whole.
_MAX_LIMITING_DB = 6.0
_HOPS_PER_STEP = 50  # of 2 ms
_SMOOTHING_HOPS = 40
_ROUNDS = 3
_TOLERANCE_LU = 0.1


def k_weighting(rate: int) -> tuple[Biquad, Biquad]:
    """Return the high shelf and the high-pass of the K-weighting at a rate in frames per second."""
    tangent = math.tan(math.pi * 1681.974450955533 / rate)
    quality, gain = 0.7071752369554196, 10 ** (3.999843853973347 / 20)
    middle = gain**0.4996667741545416
    shelf = np.array(
        [
            gain + middle * tangent / quality + tangent**2,
            2 * (tangent**2 - gain),
            gain - middle * tangent / quality + tangent**2,
        ]
    )
    first = _denominator(tangent, quality)
    tangent, quality = math.tan(math.pi * 38.13547087602444 / rate), 0.5003270373238773
    second = _denominator(tangent, quality)
    # The standard's high-pass has the numerator 1, -2, 1, which is not divided by the denominator's first coefficient.
    return (shelf / first[0], first / first[0]), (np.array([1.0, -2.0, 1.0]), second / second[0])


def _denominator(tangent: float, quality: float) -> NDArray[np.float64]:
    return np.array([1 + tangent / quality + tangent**2, 2 * (tangent**2 - 1), 1 - tangent / quality + tangent**2])


@cache
def _impulse_response(rate: int) -> NDArray[np.float64]:
    """Return the impulse response (T,) of the K-weighting."""
    response = np.zeros(round(_TAP_SECONDS * rate))
    response[0] = 1.0
    for above, below in k_weighting(rate):
        filtered = [0.0, 0.0]
        padded = [0.0, 0.0, *response.tolist()]
        (b0, b1, b2), (_, a1, a2) = above.tolist(), below.tolist()
        for k in range(2, len(padded)):
            value = b0 * padded[k] + b1 * padded[k - 1] + b2 * padded[k - 2] - a1 * filtered[-1] - a2 * filtered[-2]
            filtered.append(value)
        response = np.array(filtered[2:])
    return response


def integrated_loudness(samples: Samples, rate: int) -> float:
    """Return the integrated loudness in LUFS of sound (L, C) at `rate` frames per second.

    Blocks of 400 ms that overlap by 75 % count if they are above -70 LUFS and above 10 LU below the mean of those that
    are. Sound shorter than a block is followed by silence. Minus infinity if no block counts.
    """
    return _gated_loudness(_step_power(samples, rate))


def _gated_loudness(power: NDArray[np.float64]) -> float:
    """Return the integrated loudness of the powers (S,) of successive steps of 100 ms."""
    blocks = np.convolve(power, np.full(_STEPS_PER_BLOCK, 1 / _STEPS_PER_BLOCK), mode="valid")
    counted = blocks[blocks > 10 ** ((_ABSOLUTE_GATE - _OFFSET) / 10)]
    if not len(counted):
        return -math.inf
    counted = counted[counted > counted.mean() * 10 ** (_RELATIVE_GATE / 10)]
    return _OFFSET + 10 * math.log10(counted.mean())


def _step_power(samples: Samples, rate: int) -> NDArray[np.float64]:
    """Return the K-weighted power (S,) of every whole 100 ms, summed over the channels; at least one block of them."""
    step = round(rate / _STEPS_PER_SECOND)
    response = _impulse_response(rate)
    before = len(response) - 1
    # Overlap-save convolution: the first T - 1 results of each transform are wrapped around, and dropped.
    count = (_TRANSFORM - before) // step
    hop, spectrum = count * step, np.fft.rfft(response, _TRANSFORM).astype(np.complex64)
    powers = []
    for start in range(0, len(samples), hop):
        part = samples[max(start - before, 0) : start + hop]
        padded = np.zeros((samples.shape[1], _TRANSFORM), np.float32)
        offset = before - min(start, before)
        padded[:, offset : offset + len(part)] = part.T
        weighted = np.fft.irfft(np.fft.rfft(padded) * spectrum, _TRANSFORM)[:, before : before + hop]
        powers.append((weighted**2).reshape(-1, count, step).mean(axis=2, dtype=np.float64).sum(axis=0))
    steps = max(len(samples) // step, _STEPS_PER_BLOCK)
    found = np.concatenate([*powers, np.zeros(_STEPS_PER_BLOCK)])
    return found[:steps]


def normalize(samples: Samples, rate: int, target: float = TARGET_LUFS, peak: float = PEAK) -> Samples:
    """Return the sound (L, C), changed in place, at `target` LUFS with no sample beyond `peak`.

    Peaks beyond `peak` are turned down by a look-ahead limiter, by 6 dB at most: its gain is the same for all channels
    and moves slowly, within 80 ms to both sides of a peak, so that it adds no distortion that could be heard. Where 6
    dB are not enough, the gain of the whole is lower, and the sound softer than `target`. Silence stays silence; other
    sound without a block above -70 LUFS gets its largest sample to `peak`.
    """
    step, hop = round(rate / _STEPS_PER_SECOND), max(round(rate / _STEPS_PER_SECOND / _HOPS_PER_STEP), 1)
    peaks = _hop_peaks(samples, hop)
    highest = float(peaks.max(initial=0.0))
    if highest == 0:
        return samples
    power = _step_power(samples, rate)
    loudness, most = _gated_loudness(power), 10 ** (_MAX_LIMITING_DB / 20) * peak / highest
    if not math.isfinite(loudness):
        samples *= np.float32(peak / highest)
        return samples
    gain = min(10 ** ((target - loudness) / 20), most)
    # Power of every hop, as its share of a step's loudness.
    owner = np.minimum(np.arange(len(peaks)) * hop // step, len(power) - 1)
    share = peaks**2 / np.maximum(np.bincount(owner, peaks**2, len(power)), 1e-30)[owner]
    for _ in range(_ROUNDS):
        curve = _gain_curve(peaks * gain, peak)
        missing = target - _gated_loudness(power * gain**2 * np.bincount(owner, share * curve**2, len(power)))
        if missing < _TOLERANCE_LU or gain >= most:
            break
        gain = min(gain * 10 ** (missing / 20), most)
    curve = _gain_curve(peaks * gain, peak) * gain
    places = (np.arange(len(curve)) + 0.5) * hop
    for start in range(0, len(samples), rate):
        part = samples[start : start + rate]
        part *= np.interp(np.arange(start, start + len(part)), places, curve).astype(np.float32)[:, None]
    return np.clip(samples, -peak, peak, out=samples)


def _hop_peaks(samples: Samples, hop: int) -> NDArray[np.float64]:
    """Return the largest absolute sample of each hop (H,), of both channels."""
    starts = np.arange(0, len(samples), hop)
    if not len(starts):
        return np.zeros(0)
    above = np.maximum.reduceat(samples, starts).max(axis=1)
    below = np.minimum.reduceat(samples, starts).min(axis=1)
    return np.asarray(np.maximum(above, -below), np.float64)


def _gain_curve(peaks: NDArray[np.float64], peak: float) -> NDArray[np.float64]:
    """Return a slowly moving gain (H,), at most 1, that keeps the peaks (H,) of all hops within `peak`."""
    needed = np.minimum(1.0, peak / np.maximum(peaks, 1e-12))
    if needed.min() >= 1:
        return needed
    # The least gain within reach of the window below: a mean of such gains is at most what each hop in it needs. One
    # hop more, because the gain is interpolated between the middles of two hops.
    reach = _SMOOTHING_HOPS + 1
    held = np.lib.stride_tricks.sliding_window_view(np.pad(needed, reach, constant_values=1.0), 2 * reach + 1)
    window = np.hanning(2 * _SMOOTHING_HOPS + 3)[1:-1]
    padded = np.pad(held.min(axis=1), _SMOOTHING_HOPS, mode="edge")
    curve: NDArray[np.float64] = np.convolve(padded, window / window.sum(), mode="valid")
    return curve
