"""Statistics of paired differences that remain valid for about five seeds. Needs only numpy.

Sources: Hesterberg 2015, "What Teachers Should Know About the Bootstrap", The American Statistician 69(4) (the expanded
percentile interval); Abramowitz and Stegun 1964, 26.7.3 and 26.7.4 (Student's t); Hedges 1981, "Distribution Theory for
Glass's Estimator of Effect Size", and Lakens 2013, "Calculating and Reporting Effect Sizes" (d_z and its correction);
Holm 1979, "A Simple Sequentially Rejective Multiple Test Procedure".
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CONFIDENCE = 0.95
# Fewer pairs give no estimate of their spread.
FEWEST = 3
# A bootstrap mean never leaves the range of the differences, and that range misses the centre of a symmetric
# distribution with probability 2^(1 - n): 25 % for 3 pairs, 12.5 % for 4. From 5 pairs on it can be an interval.
FEWEST_BOOTSTRAP = 5
# Up to here every resample is counted (6,435 distinct ones for 8 pairs); beyond, they are drawn.
_MAX_EXACT = 8
_SEED = 20220601
# Below this share of the size of the values a standard deviation is rounding.
_ROUNDING = 1e-12


@dataclass(frozen=True, kw_only=True, slots=True)
class Paired:
    """Summary of n paired differences; all figures in the unit of the differences but `effect_size` and `p`."""

    n: int
    mean: float
    sd: float | None
    """Standard deviation of the differences (n - 1); None for one pair."""
    interval: tuple[float, float] | None
    """95 % interval of the mean difference; None for fewer than `FEWEST` pairs."""
    method: str
    """How the interval was made: `bootstrap`, `t`, or empty where there is none or no spread."""
    effect_size: float | None
    """Hedges' g_z: the mean over the standard deviation, corrected for few pairs; None where that is not defined."""
    p: float | None
    """Two-sided p of Student's paired test, for Holm's correction alone."""

    @property
    def covers_zero(self) -> bool:
        """Whether the interval does not rule out that there is no difference; also without an interval."""
        return self.interval is None or self.interval[0] <= 0 <= self.interval[1]


def paired(differences: Sequence[float], resamples: int) -> Paired:
    """Describe paired differences.

    Args:
        differences: one a pair, at least one, finite.
        resamples: bootstrap draws where the resamples are too many to be counted.
    """
    values: Floats = np.asarray(differences, dtype=np.float64)
    n, mean = len(values), float(values.mean())
    sd = float(values.std(ddof=1)) if n > 1 else None
    if n < FEWEST or sd is None:
        return Paired(n=n, mean=mean, sd=sd, interval=None, method="", effect_size=None, p=None)
    if sd <= _ROUNDING * float(np.abs(values).max()):
        # Every pair differs by the same: no spread to divide by.
        p = 1.0 if mean == 0 else 0.0
        return Paired(n=n, mean=mean, sd=0.0, interval=(mean, mean), method="", effect_size=None, p=p)
    bootstrap = n >= FEWEST_BOOTSTRAP
    return Paired(
        n=n,
        mean=mean,
        sd=sd,
        interval=bootstrap_interval(values, resamples) if bootstrap else t_interval(values),
        method="bootstrap" if bootstrap else "t",
        effect_size=mean / sd * hedges_correction(n - 1),
        p=2 * (1 - t_cdf(abs(mean) / (sd / math.sqrt(n)), n - 1)),
    )


def bootstrap_interval(values: Floats, resamples: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the expanded percentile bootstrap interval of the mean of (n,) values.

    The percentile interval is too narrow for small n by the factor sqrt((n - 1) / n) of its variance and by taking the
    normal for Student's t. Hesterberg 2015 widens the tails to Phi(-sqrt(n / (n - 1)) * t), t the quantile of
    n - 1 degrees of freedom, which makes it Student's interval where the bootstrap distribution is normal.
    """
    n = len(values)
    tail = normal_cdf(-math.sqrt(n / (n - 1)) * t_quantile(0.5 + confidence / 2, n - 1))
    if n <= _MAX_EXACT:
        counts, probabilities = _all_resamples(n)
        means = counts @ values / n
    else:
        # Seeded by a constant: the same values give the same interval.
        drawn = np.random.default_rng(_SEED).integers(0, n, (resamples, n))
        means, probabilities = values[drawn].mean(axis=1), np.full(resamples, 1 / resamples)
    return _quantile(means, probabilities, tail), -_quantile(-means, probabilities, tail)


@functools.cache
def _all_resamples(n: int) -> tuple[Floats, Floats]:
    """The distinct resamples of n values: how often each value is drawn (K, n), and their probabilities (K,)."""
    chosen = itertools.combinations_with_replacement(range(n), n)
    counts = np.array([np.bincount(row, minlength=n) for row in chosen], dtype=np.float64)
    factorials = np.array([math.factorial(k) for k in range(n + 1)], dtype=np.float64)
    ways = factorials[n] / factorials[counts.astype(np.int64)].prod(axis=1)
    return counts, ways / float(n) ** n


def _quantile(values: Floats, probabilities: Floats, p: float) -> float:
    """Return the smallest value whose cumulative probability reaches p."""
    order = np.argsort(values, kind="stable")
    reached = np.searchsorted(np.cumsum(probabilities[order]), p)
    return float(values[order[min(int(reached), len(order) - 1)]])


def t_interval(values: Floats, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return Student's interval of the mean of (n,) values: exact for normal values, for any n from 2."""
    n, mean = len(values), float(values.mean())
    half = t_quantile(0.5 + confidence / 2, n - 1) * float(values.std(ddof=1)) / math.sqrt(n)
    return mean - half, mean + half


def normal_cdf(x: float) -> float:
    """Return the standard normal distribution function at x."""
    return 0.5 * math.erfc(-x / math.sqrt(2))


def t_cdf(t: float, df: int) -> float:
    """Return Student's t distribution function for whole degrees of freedom, by its finite series."""
    theta = math.atan2(abs(t), math.sqrt(df))
    sine, cosine = math.sin(theta), math.cos(theta)
    # Abramowitz and Stegun 26.7.3 (odd) and 26.7.4 (even): the probability of [-|t|, |t|].
    term, total = (cosine, 0.0) if df % 2 else (1.0, 0.0)
    for k in range(2 + df % 2, df + 1, 2):
        total += term
        term *= cosine**2 * (k - 1) / k
    inside = 2 / math.pi * (theta + sine * total) if df % 2 else sine * total
    return 0.5 + math.copysign(inside / 2, t)


def t_quantile(p: float, df: int) -> float:
    """Return the p-quantile of Student's distribution (0 < p < 1), by bisection to machine precision."""
    low, high = -1.0, 1.0
    while t_cdf(low, df) > p:
        low *= 2
    while t_cdf(high, df) < p:
        high *= 2
    while (middle := (low + high) / 2) not in (low, high):
        low, high = (middle, high) if t_cdf(middle, df) < p else (low, middle)
    return middle


def hedges_correction(df: int) -> float:
    """Return the factor that makes d with `df` >= 2 degrees of freedom unbiased: Hedges 1981, the exact gamma form."""
    return math.exp(math.lgamma(df / 2) - math.lgamma((df - 1) / 2)) / math.sqrt(df / 2)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's adjusted p-values, in the order given."""
    order = sorted(range(len(p_values)), key=lambda k: p_values[k])
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, k in enumerate(order):
        largest = max(largest, min(1.0, p_values[k] * (len(p_values) - rank)))
        adjusted[k] = largest
    return adjusted


def mean_sd(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and standard deviation (n - 1) of at least one value; None for the deviation of one."""
    array: NDArray[Any] = np.asarray(values, dtype=np.float64)
    return float(array.mean()), float(array.std(ddof=1)) if len(array) > 1 else None
