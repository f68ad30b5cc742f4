"""Calibration numbers, worked out by hand."""

from math import isnan

import pytest

from potstill.models.metrics.judge_calibration import (
    Agreement,
    Detection,
    agreement,
    correlation,
    detection,
    position_bias,
)


def test_agreement_and_kappa():
    assert agreement(["a", "b", "tie"], ["a", "b", "tie"]) == Agreement(3, 1, 1)
    # shares of a and b: 3/4 and 1/4 against 2/4 and 2/4; by chance 3/8 + 1/8 = 1/2 agree; (3/4 - 1/2) / (1/2) = 1/2
    assert agreement(["a", "a", "a", "b"], ["a", "a", "b", "b"]) == Agreement(4, 0.75, 0.5)
    assert agreement([1, 2], [2, 1]) == Agreement(2, 0, -1)


def test_rows_without_a_verdict_or_a_label_do_not_count():
    assert agreement(["a", None, "b"], ["a", "a", None]).pairs == 1
    nothing = agreement([None], ["a"])
    assert nothing.pairs == 0
    assert isnan(nothing.share) and isnan(nothing.kappa)
    assert isnan(agreement(["a", "a"], ["a", "a"]).kappa)


def test_a_judge_that_always_prefers_the_first_has_bias_one():
    assert position_bias(["A", "A"], ["A", "A"]) == 1
    assert position_bias(["B"], ["B"]) == -1


def test_an_honest_judge_has_no_bias_whatever_the_quality():
    assert position_bias(["A", "A", "B", "C"], ["B", "B", "A", "C"]) == 0


def test_bias_in_part_and_ties_do_not_dilute_it():
    assert position_bias(["A", "A", "C"], ["A", "B", "C"]) == pytest.approx((3 - 1) / 4)
    assert position_bias(["A", None], ["A", "B"]) == 1
    assert isnan(position_bias(["C"], ["C"])) and isnan(position_bias([], []))


def test_detection():
    flagged, planted = [True, True, False, None, False], [True, False, True, True, False]
    assert detection(flagged, planted) == Detection(1 / 2, 1 / 3)
    assert detection(planted, planted) == Detection(1, 1)
    empty = detection([False], [False])
    assert isnan(empty.precision) and isnan(empty.recall)


def test_lists_of_different_lengths_are_refused():
    for function in (agreement, position_bias, detection):
        with pytest.raises(ValueError, match="argument 2"):
            function(["A"], [])


def test_correlation_is_pearsons_over_the_rows_that_have_both():
    assert correlation([1, 2, 3, None], [2, 4, 6, 1]) == pytest.approx(1)
    assert correlation([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)
    # deviations -1, 0, 1 and -1, 1, 0: 1 / 2
    assert correlation([1, 2, 3], [1, 3, 2]) == pytest.approx(0.5)
    assert isnan(correlation([1, 1], [1, 2]))
    assert isnan(correlation([1, None], [1, 2]))
