"""Intervals: what they cover, that they do not change, and what is said where there is none."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reproductions.harness.statistics import (
    Metric,
    exact,
    over_seeds,
    paired_difference,
    ratio,
    required_n,
    slope,
    trend,
)

SAMPLE = np.random.default_rng(5).normal(2.0, 1.0, size=16)


def test_an_exact_number_has_its_error_as_interval():
    assert exact(3, 0.5) == Metric(3.0, 2.5, 3.5, 0, "exact")
    assert exact(3)[:3] == (3.0, 3.0, 3.0)


def test_an_exact_number_that_is_not_finite_says_so():
    metric = exact(math.inf)
    assert math.isnan(metric.value) and metric.note == "the value is inf"


@pytest.mark.parametrize("error", [-1, math.nan, math.inf])
def test_an_error_bound_is_finite_and_not_negative(error):
    with pytest.raises(ValueError, match="error must be"):
        exact(1, error)


def test_the_interval_is_scipys_bca():
    from scipy.stats import bootstrap

    metric = over_seeds(SAMPLE)
    oracle = bootstrap((SAMPLE,), np.mean, n_resamples=20000, rng=0, method="BCa")
    assert metric.value == pytest.approx(SAMPLE.mean())
    assert metric[1:3] == pytest.approx(tuple(oracle.confidence_interval), abs=0.06)
    assert metric.n == 16 and metric.kind == "sample" and metric.note == ""


def test_the_interval_is_the_same_every_time():
    first = over_seeds(SAMPLE)
    np.random.seed(1)
    over_seeds(SAMPLE[:5])
    assert over_seeds(SAMPLE) == first


def test_sixteen_seeds_cover_about_as_often_as_said():
    rng = np.random.default_rng(0)
    metrics = [over_seeds(rng.normal(size=16), resamples=500) for _ in range(300)]
    assert np.mean([m.low <= 0 <= m.high for m in metrics]) == pytest.approx(0.93, abs=0.04)


def test_a_higher_level_gives_a_wider_interval():
    narrow, wide = over_seeds(SAMPLE, level=0.8), over_seeds(SAMPLE, level=0.99)
    assert wide.low < narrow.low < narrow.high < wide.high


def test_a_statistic_without_axis_gives_the_same():
    with_axis = over_seeds(SAMPLE, np.median)
    without = over_seeds(SAMPLE, lambda values: float(np.median(values)))
    assert with_axis[:4] == pytest.approx(without[:4])
    assert over_seeds(SAMPLE, max).value == SAMPLE.max()


def test_one_seed_has_no_interval():
    metric = over_seeds([1.5])
    assert metric.value == 1.5 and math.isnan(metric.low) and math.isnan(metric.high)
    assert "one seed" in metric.note


def test_equal_seeds_have_an_interval_of_no_width():
    assert over_seeds([2.0] * 5) == Metric(2, 2, 2, 5, "sample", "all 5 seeds gave the same")


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_diverged_seed_is_never_dropped(bad):
    for metric in (
        over_seeds([1, 2, bad]),
        paired_difference([1, 2, bad], [1, 1, 1]),
        ratio([1, 2, 3], [1, bad, 1]),
        trend([[1, 2, 3], [2, bad, 4]]),
        slope([0, 1], [[1, 2, 3], [2, bad, 4]]),
    ):
        assert math.isnan(metric.value) and metric.n == 3
        assert metric.note == "1 of 3 seeds have no finite value"


def test_few_seeds_carry_a_warning():
    assert over_seeds([1, 2, 4]).note == "only 3 seeds: the bootstrap interval is too narrow"
    assert over_seeds(SAMPLE[:8]).note == ""


def test_a_degenerate_bca_falls_back_to_percentile_and_says_so():
    metric = over_seeds([0.0] * 9 + [1e-30], np.median)
    assert "percentile interval" in metric.note
    assert metric.low <= metric.value <= metric.high


def test_no_seeds_is_an_error():
    with pytest.raises(ValueError, match="no seeds"):
        over_seeds([])
    with pytest.raises(ValueError, match=r"shape \(seeds,\)"):
        over_seeds([[1.0, 2.0]])


def test_pairing_removes_what_seeds_share():
    shared = np.linspace(-100, 100, 16)
    metric = paired_difference(shared + SAMPLE, shared)
    assert metric[:4] == pytest.approx(over_seeds(SAMPLE)[:4])
    assert metric.low > 0


def test_pairs_are_the_same_seeds():
    with pytest.raises(ValueError, match="the same seeds"):
        paired_difference([1, 2], [1, 2, 3])


def test_ratio_is_of_means_and_pairs_seeds():
    metric = ratio(3 * SAMPLE, SAMPLE)
    assert metric[:3] == pytest.approx((3, 3, 3))
    assert ratio([1, 3, 2], [2, 2, 2]).value == 1.0


def test_a_ratio_to_nothing_has_no_value():
    metric = ratio([1, 2], [1, -1])
    assert math.isnan(metric.value) and "inf" in metric.note


def test_slope_of_a_line_is_its_slope():
    x = np.array([0.0, 1.0, 5.0])
    metric = slope(x, x[:, None] * SAMPLE + 7)
    assert metric[:4] == pytest.approx(over_seeds(SAMPLE)[:4])


def test_slope_needs_levels_that_differ():
    with pytest.raises(ValueError, match="levels"):
        slope([1, 1], [[1, 2], [3, 4]])
    with pytest.raises(ValueError, match="levels"):
        slope([1, 2, 3], [[1, 2], [3, 4]])


def test_trend_is_the_change_that_speaks_most_against_it():
    levels = np.array([0.0, 3.0, 4.0])[:, None] + 0 * SAMPLE
    assert trend(levels).value == 1 and trend(levels).direction == "increasing"
    falling = trend(-levels, "decreasing")
    assert falling.value == -1 and falling.direction == "decreasing"


def test_one_step_back_breaks_a_trend():
    noise = 0.01 * SAMPLE
    assert trend(np.array([0.0, 3.0, 2.9, 9.0])[:, None] + noise).high < 0


def test_trend_knows_two_directions_and_needs_levels():
    with pytest.raises(ValueError, match="direction"):
        trend([[1, 2], [3, 4]], "up")
    with pytest.raises(ValueError, match="levels >= 2"):
        trend([[1, 2]])


def test_required_n_follows_the_square_root():
    metric = Metric(1.0, 0.0, 2.0, 10, "sample")
    assert required_n(metric, 1.5) == 40  # half the distance: four times the seeds
    assert required_n(metric, 0.5) == 40
    assert required_n(metric, 1.999999) == 11  # at least one more


def test_required_n_uses_the_side_towards_the_boundary():
    skewed = Metric(1.0, 0.9, 3.0, 10, "sample")
    assert required_n(skewed, 2.0) == 40
    assert required_n(skewed, 0.95) == 40


def test_required_n_is_unknown_where_no_number_helps():
    assert required_n(Metric(1.0, 0.0, 2.0, 10, "sample"), 1.0) is None
    assert required_n(exact(1, 1), 1.5) is None
    assert required_n(over_seeds([1.0]), 1.5) is None


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.floats(-10, 10), min_size=2, max_size=12),
    st.floats(0.1, 10),
    st.floats(-5, 5),
)
def test_intervals_move_with_a_change_of_unit(values, scale, shift):
    """Holds for the mean whenever the spread is not lost in rounding."""
    array = np.array(values)
    if np.ptp(array) < 1e-3:
        return
    metric, moved = over_seeds(array), over_seeds(scale * array + shift)
    assert moved.low == pytest.approx(scale * metric.low + shift, abs=1e-6)
    assert moved.high == pytest.approx(scale * metric.high + shift, abs=1e-6)
