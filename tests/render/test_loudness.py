"""Loudness after ITU-R BS.1770-4, and normalisation."""

import math

import numpy as np
import pytest

from composer.render import loudness
from composer.render.loudness import PEAK, integrated_loudness, k_weighting, normalize

RATE = 44_100


def sine(level: float, seconds: float, channels: int = 2, rate: int = RATE, frequency: float = 997.0) -> np.ndarray:
    """A sine (L, 2) in the first `channels` channels with its peak at `level` dBFS."""
    wave = 10 ** (level / 20) * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)
    return np.stack([wave, wave if channels == 2 else 0 * wave], axis=1).astype(np.float32)


def test_weighting_at_48_khz_is_that_of_the_standard() -> None:
    (shelf, below), (high_pass, low) = k_weighting(48_000)
    # BS.1770-4, tables 1 and 2.
    assert shelf == pytest.approx([1.53512485958697, -2.69169618940638, 1.19839281085285], abs=1e-10)
    assert below == pytest.approx([1, -1.69065929318241, 0.73248077421585], abs=1e-10)
    assert high_pass == pytest.approx([1, -2, 1])
    assert low == pytest.approx([1, -1.99004745483398, 0.99007225036621], abs=1e-8)


@pytest.mark.parametrize("rate", [22_050, 44_100, 48_000])
def test_a_sine_reads_as_the_standard_says(rate: int) -> None:
    # A sine of 997 Hz at 0 dBFS in one front channel reads -3.01 LKFS.
    assert integrated_loudness(sine(0, 5, channels=1, rate=rate), rate) == pytest.approx(-3.01, abs=0.04)
    assert integrated_loudness(sine(-20, 5, rate=rate), rate) == pytest.approx(-20.0, abs=0.04)


def test_low_frequencies_count_less() -> None:
    assert integrated_loudness(sine(-20, 5, frequency=40), RATE) < integrated_loudness(sine(-20, 5), RATE) - 5


def test_quiet_blocks_are_gated() -> None:
    loud, soft, silent = sine(-20, 4), sine(-50, 8), np.zeros((8 * RATE, 2), np.float32)
    # Without the gates the mean of either would read 4.8 LU less.
    for rest in (soft, silent):
        assert integrated_loudness(np.concatenate([loud, rest]), RATE) == pytest.approx(-20.0, abs=0.4)
    # 6 LU below is within the relative gate, and counts.
    assert integrated_loudness(np.concatenate([loud, sine(-26, 8)]), RATE) < -22.5


def test_parts_of_the_sound_are_joined_without_a_seam() -> None:
    whole = loudness._step_power(sine(-20, 12, frequency=1000), RATE)
    assert len(whole) == 120
    assert whole[3:] == pytest.approx(np.full(117, whole[50]), rel=1e-3)


def test_short_sound_and_silence_are_measured() -> None:
    assert -40 < integrated_loudness(sine(-20, 0.1), RATE) < -20
    for length in (0, 100, 5 * RATE):
        assert integrated_loudness(np.zeros((length, 2), np.float32), RATE) == -math.inf


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("length", [0, 1, 100, 3 * RATE])
def test_silence_stays_silent(length: int) -> None:
    assert not normalize(np.zeros((length, 2), np.float32), RATE).any()


@pytest.mark.parametrize("level", [0, -30, -60])
def test_sound_gets_the_target(level: float) -> None:
    made = normalize(sine(level, 3), RATE)
    assert integrated_loudness(made, RATE) == pytest.approx(-16, abs=0.02)
    assert np.abs(made).max() < PEAK


def test_sound_below_the_gate_gets_the_peak() -> None:
    assert np.abs(normalize(sine(-90, 3), RATE)).max() == pytest.approx(PEAK, rel=1e-3)


def bursts(crest: float) -> np.ndarray:
    """A steady tone with a decaying burst `crest` times as high every half second."""
    time = np.arange(4 * RATE) / RATE
    wave = np.sin(2 * np.pi * 500 * time) * (1 + crest * np.exp(-(time % 0.5) / 0.004))
    return np.stack([0.05 * wave, 0.04 * wave], axis=1).astype(np.float32)


def test_peaks_are_limited_without_distortion() -> None:
    sound = bursts(6)
    made = normalize(sound.copy(), RATE)
    assert integrated_loudness(made, RATE) == pytest.approx(-16, abs=0.3)
    assert np.abs(made).max() <= np.float32(PEAK)
    clipped = np.abs(made) > PEAK - 1e-6
    assert clipped.sum() <= 8  # the gain, not the clip, keeps the peaks
    gain = made[:, 0] / np.where(np.abs(sound[:, 0]) > 1e-3, sound[:, 0], np.nan)
    other = made[:, 1] / np.where(np.abs(sound[:, 1]) > 1e-3, sound[:, 1], np.nan)
    assert np.nanmax(np.abs(gain / other - 1)) < 1e-3
    # It moves by less than 1 dB per 10 ms.
    assert np.nanmin(gain[441:] / gain[:-441]) > 10 ** (-1 / 20)


def test_peaks_far_above_the_rest_lower_the_gain() -> None:
    made = normalize(bursts(60), RATE)
    assert np.abs(made).max() == pytest.approx(PEAK, rel=0.02)
    assert integrated_loudness(made, RATE) < -17
