"""Paired statistics against tables, a slow reference, and simulated coverage."""

import itertools
import math

import numpy as np
import pytest

from composer.evaluation.statistics import (
    bootstrap_interval,
    hedges_correction,
    holm,
    mean_sd,
    normal_cdf,
    paired,
    t_cdf,
    t_interval,
    t_quantile,
)


# Values of the usual printed tables.
@pytest.mark.parametrize(
    ("p", "df", "t"),
    [
        (0.975, 1, 12.706),
        (0.975, 2, 4.303),
        (0.975, 3, 3.182),
        (0.975, 4, 2.776),
        (0.975, 9, 2.262),
        (0.975, 30, 2.042),
        (0.95, 5, 2.015),
        (0.995, 4, 4.604),
        (0.5, 7, 0.0),
        (0.025, 4, -2.776),
    ],
)
def test_students_quantiles_are_those_of_the_tables(p: float, df: int, t: float) -> None:
    assert t_quantile(p, df) == pytest.approx(t, abs=5e-4)
    assert t_cdf(t_quantile(p, df), df) == pytest.approx(p, abs=1e-12)


def test_students_distribution_in_closed_form() -> None:
    for t in (-3.0, -0.5, 0.0, 1.0, 8.0):
        assert t_cdf(t, 1) == pytest.approx(0.5 + math.atan(t) / math.pi, abs=1e-14)
        assert t_cdf(t, 2) == pytest.approx(0.5 + t / (2 * math.sqrt(2 + t * t)), abs=1e-14)
    assert t_cdf(1.5, 100_000) == pytest.approx(normal_cdf(1.5), abs=1e-5)


def test_the_normal_distribution() -> None:
    assert normal_cdf(0) == 0.5
    assert normal_cdf(1.959963985) == pytest.approx(0.975, abs=1e-9)


def test_five_values_have_this_interval() -> None:
    # The tail is Phi(-sqrt(5/4) * 2.776) = 0.00096: more than the 1 in 3125 resamples of five times the smallest,
    # less than the 6 in 3125 with at most one value above it.
    assert bootstrap_interval(np.array([1.0, 2, 3, 4, 5]), 1000) == pytest.approx((1.2, 4.8))


@pytest.mark.parametrize("n", [5, 6])
def test_counted_resamples_agree_with_writing_them_all_down(n: int) -> None:
    values = np.random.default_rng(n).normal(size=n)
    means = np.sort([np.mean(resample) for resample in itertools.product(values, repeat=n)])
    tail = normal_cdf(-math.sqrt(n / (n - 1)) * t_quantile(0.975, n - 1))
    k = math.ceil(tail * len(means)) - 1
    assert bootstrap_interval(values, 1000) == pytest.approx((means[k], means[-1 - k]))


def test_drawn_resamples_are_the_same_each_time() -> None:
    values = np.random.default_rng(0).normal(size=12)
    assert bootstrap_interval(values, 2000) == bootstrap_interval(values, 2000)
    low, high = bootstrap_interval(values, 100_000)
    assert (low, high) == pytest.approx(t_interval(values), abs=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("n", [3, 4, 5, 6, 8])
def test_the_interval_covers_the_truth_about_as_often_as_it_says(n: int) -> None:
    rng = np.random.default_rng(n)
    intervals = [paired(list(rng.normal(1, 2, n)), 1000).interval for _ in range(3000)]
    covered = np.mean([low <= 1 <= high for low, high in intervals])
    assert 0.91 <= covered <= 0.97


def test_why_three_values_get_students_interval() -> None:
    # The bootstrap cannot leave the range of the values, which misses the centre in a quarter of all cases.
    rng = np.random.default_rng(1)
    intervals = [bootstrap_interval(rng.normal(size=3), 1000) for _ in range(2000)]
    assert np.mean([low <= 0 <= high for low, high in intervals]) < 0.8


def test_a_pair_or_two_have_no_interval() -> None:
    one, two = paired([0.5], 1000), paired([0.1, 0.3], 1000)
    assert (one.n, one.mean, one.sd, one.interval, one.effect_size) == (1, 0.5, None, None, None)
    assert two.sd == pytest.approx(math.sqrt(0.02))
    assert two.interval is None
    assert two.covers_zero


def test_the_figures_of_five_differences() -> None:
    result = paired([0.01, 0.02, 0.03, 0.04, 0.05], 1000)
    assert (result.n, result.method) == (5, "bootstrap")
    assert result.mean == pytest.approx(0.03)
    assert result.sd == pytest.approx(0.0158114, abs=1e-7)
    assert result.interval == pytest.approx((0.012, 0.048))
    # d_z = 1.897, times the correction of 4 degrees of freedom, 0.798.
    assert result.effect_size == pytest.approx(1.5138, abs=1e-4)
    # t = 4.243 with 4 degrees of freedom.
    assert result.p == pytest.approx(0.01324, abs=1e-5)
    assert not result.covers_zero


def test_equal_differences_divide_by_nothing() -> None:
    zero, same = paired([0.0] * 5, 1000), paired([0.3 - 0.1, 0.2, 0.5 - 0.3], 1000)
    assert (zero.sd, zero.interval, zero.effect_size, zero.p) == (0.0, (0.0, 0.0), None, 1.0)
    assert zero.covers_zero
    assert (same.sd, same.effect_size, same.p) == (0.0, None, 0.0)
    assert not same.covers_zero


def test_small_sample_correction_is_near_its_approximation() -> None:
    assert hedges_correction(4) == pytest.approx(math.sqrt(2 / math.pi))
    for df in (9, 19, 99):
        assert hedges_correction(df) == pytest.approx(1 - 3 / (4 * df - 1), abs=5e-4)


def test_holms_correction() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.9]) == [1.0, 1.0]


def test_mean_and_standard_deviation() -> None:
    assert mean_sd([1.0, 2.0, 3.0]) == (2.0, 1.0)
    assert mean_sd([4.0]) == (4.0, None)
