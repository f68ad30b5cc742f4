"""Calibration error and temperature, worked out by hand."""

from math import isnan

import numpy as np
import pytest

from potstill.models.metrics.calibration import LEAST, MOST, calibration_error, fit_temperature


def test_a_model_that_is_right_as_often_as_it_says_has_no_error():
    assert calibration_error(np.full(4, 0.75), np.array([1, 1, 1, 0])) == pytest.approx(0)
    assert calibration_error(np.ones(3), np.ones(3)) == 0


def test_the_error_is_the_weighted_gap_of_the_bins():
    # bins of a half: (0.2, 0.4) with none right, gap 0.3; (0.9, 0.7) with both right, gap 0.2
    confidences, right = np.array([0.2, 0.4, 0.9, 0.7]), np.array([0, 0, 1, 1])
    assert calibration_error(confidences, right, bins=2) == pytest.approx((2 * 0.3 + 2 * 0.2) / 4)
    # one bin: mean confidence 0.55, half are right
    assert calibration_error(confidences, right, bins=1) == pytest.approx(0.05)


def test_bins_of_equal_width_are_open_on_the_left():
    # 0.5 belongs to the first of two bins and 0 to the first as well
    confidences, right = np.array([0.0, 0.5, 0.6]), np.array([0, 1, 0])
    assert calibration_error(confidences, right, bins=2) == pytest.approx((abs(0.5 - 1) + 0.6) / 3)


def test_bins_of_equal_mass_follow_the_confidences():
    confidences, right = np.array([0.90, 0.92, 0.96, 0.98]), np.array([0, 0, 1, 1])
    assert calibration_error(confidences, right, bins=2) == pytest.approx(0.94 - 0.5)
    assert calibration_error(confidences, right, bins=2, binning="mass") == pytest.approx((1.82 + 0.06) / 4)


def test_equal_confidences_share_a_bin_so_that_their_order_does_not_matter():
    confidences, right = np.full(10, 0.5), np.arange(10) % 2
    for turned in (right, np.sort(right)):
        assert calibration_error(confidences, turned, bins=5, binning="mass") == pytest.approx(0)


def test_no_rows_have_no_error_and_bad_values_are_refused():
    assert isnan(calibration_error(np.zeros(0), np.zeros(0)))
    with pytest.raises(ValueError, match=r"to 1\.5; give probabilities"):
        calibration_error(np.array([0.1, 1.5]), np.array([0, 1]))
    with pytest.raises(ValueError, match="give probabilities"):
        calibration_error(np.array([np.nan]), np.array([0]))
    with pytest.raises(ValueError, match="must be rows"):
        calibration_error(np.zeros(2), np.zeros(3))
    with pytest.raises(ValueError, match="bins 0"):
        calibration_error(np.zeros(2), np.zeros(2), bins=0)


def test_the_temperature_of_two_classes_by_hand():
    # logits (2, 0), right in 3 of 4 rows: 1 / (1 + exp(-2 / T)) = 3/4, so T = 2 / ln 3
    logits, labels = np.tile([2.0, 0.0], (4, 1)), np.array([0, 0, 0, 1])
    assert fit_temperature(logits, labels) == pytest.approx(2 / np.log(3))
    assert fit_temperature(logits + 50, labels) == pytest.approx(2 / np.log(3))


@pytest.mark.parametrize("scale", [1e-1, 1, 30])
def test_scaled_logits_have_a_scaled_temperature_at_which_the_slope_is_zero(scale):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(400, 5))
    labels = np.array([rng.choice(5, p=np.exp(row) / np.exp(row).sum()) for row in logits])
    found = fit_temperature(scale * logits, labels)
    assert found == pytest.approx(scale * fit_temperature(logits, labels), rel=1e-6)
    scaled = logits * scale / found
    shares = np.exp(scaled) / np.exp(scaled).sum(axis=1, keepdims=True)
    assert (shares * scaled).sum(axis=1).mean() == pytest.approx(scaled[np.arange(400), labels].mean(), abs=1e-8)


def test_rows_that_do_not_determine_it_give_a_bound_or_one():
    logits = np.array([[3.0, 0.0], [0.0, 3.0]])
    assert fit_temperature(logits, np.array([0, 1])) == pytest.approx(LEAST)
    assert fit_temperature(logits, np.array([1, 0])) == pytest.approx(MOST)
    assert fit_temperature(np.zeros((2, 3)), np.array([0, 1])) == 1
    assert fit_temperature(np.array([[1e4, -1e4]] * 4), np.array([0, 0, 0, 1])) == pytest.approx(MOST)


def test_logits_must_be_finite_and_some():
    for logits, labels in (([[np.inf, 0]], [0]), (np.zeros((0, 2)), []), (np.zeros((2, 2)), [0])):
        with pytest.raises(ValueError, match="logits must be finite"):
            fit_temperature(np.asarray(logits), np.asarray(labels))
