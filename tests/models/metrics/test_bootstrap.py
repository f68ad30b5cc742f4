"""The bootstrap of a mean: bounds that can be worked out, groups, and what it refuses."""

from math import isnan

import numpy as np
import pytest

from potstill.models.metrics.bootstrap import Estimate, mean_interval


def test_equal_values_have_an_interval_of_no_width():
    assert mean_interval([0.5] * 7) == Estimate(0.5, 0.5, 0.5, 7)
    assert mean_interval([3]) == Estimate(3, 3, 3, 1)


def test_of_two_values_every_quarter_of_the_resamples_is_an_extreme():
    # means of two draws from {0, 1}: 0, 1/2, 1 with chances 1/4, 1/2, 1/4
    assert mean_interval([0, 1]) == Estimate(0.5, 0, 1, 2)
    assert mean_interval([0, 1], confidence=0.4) == Estimate(0.5, 0.5, 0.5, 2)


def test_the_interval_of_many_rows_is_nearly_the_normal_one():
    values = np.tile([0.0, 1.0], 500)
    found = mean_interval(values, resamples=4000)
    half = 1.96 * 0.5 / 1000**0.5
    assert (found.low, found.high) == pytest.approx((0.5 - half, 0.5 + half), abs=0.004)


def test_rows_of_one_group_are_drawn_together():
    values, groups = [0.0] * 50 + [1.0] * 50, ["a"] * 50 + ["b"] * 50
    assert mean_interval(values, groups=groups) == Estimate(0.5, 0, 1, 100)
    assert mean_interval(values).high < 0.65


def test_a_large_group_weighs_as_many_rows_as_it_has():
    found = mean_interval([0.0, 0.0, 0.0, 1.0], groups=[1, 1, 1, 2])
    assert found == Estimate(0.25, 0, 1, 4)


def test_the_order_of_the_rows_does_not_matter_and_the_seed_does():
    values = np.random.default_rng(0).normal(size=60)
    groups = np.arange(60) % 17
    turned = np.random.default_rng(1).permutation(60)
    assert mean_interval(values[turned], groups=groups[turned].tolist()) == mean_interval(
        values, groups=groups.tolist()
    )
    assert mean_interval(values, seed=1).low != mean_interval(values, seed=2).low


def test_no_value_gives_nan_and_bad_values_are_refused():
    found = mean_interval([])
    assert found.n == 0 and isnan(found.value) and isnan(found.low) and isnan(found.high)
    with pytest.raises(ValueError, match="1 of 2 values are not finite"):
        mean_interval([1, float("nan")])
    with pytest.raises(ValueError, match="resamples is 0"):
        mean_interval([1], resamples=0)
    with pytest.raises(ValueError, match=r"confidence 1\.0"):
        mean_interval([1], confidence=1.0)
    with pytest.raises(ValueError, match="not rows"):
        mean_interval([1, 2], groups=[1])
