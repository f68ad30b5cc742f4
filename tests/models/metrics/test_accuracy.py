"""Top-k accuracy with ties, worked out by hand."""

from math import isnan

import numpy as np
import pytest
import torch

from potstill.models.metrics.accuracy import mean_per_class, top_k

SCORES = np.array([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2], [0.2, 0.3, 0.5]])


def test_the_right_class_is_among_the_best_k_or_not():
    labels = np.array([1, 1, 0])
    assert top_k(SCORES, labels).tolist() == [1, 0, 0]
    assert top_k(SCORES, labels, 2).tolist() == [1, 1, 0]
    assert top_k(SCORES, labels, 3).tolist() == [1, 1, 1]
    assert top_k(SCORES, labels, 9).tolist() == [1, 1, 1]


def test_equal_scores_share_the_credit():
    assert top_k(np.zeros((1, 4)), np.array([2])).tolist() == [0.25]
    assert top_k(np.zeros((1, 4)), np.array([2]), 3).tolist() == [0.75]
    # one class is above, two are equal: the second of three places goes to each of them half of the time
    assert top_k(np.array([[9.0, 1.0, 1.0]]), np.array([1]), 2).tolist() == [0.5]
    assert top_k(np.array([[9.0, 1.0, 1.0]]), np.array([1])).tolist() == [0]


def test_the_credit_of_all_classes_adds_up_to_k():
    scores = np.random.default_rng(0).integers(0, 3, (1, 7)).repeat(7, axis=0)
    for k in (1, 2, 5):
        assert top_k(scores, np.arange(7), k).sum() == pytest.approx(k)


def test_tensors_do_as_well():
    assert top_k(torch.tensor(SCORES), torch.tensor([1, 0, 2])).tolist() == [1, 1, 1]


def test_infinite_scores_are_ordered_and_nan_is_refused():
    assert top_k(np.array([[-np.inf, 0.0, np.inf]]), np.array([2])).tolist() == [1]
    with pytest.raises(ValueError, match="1 of 1 rows"):
        top_k(np.array([[np.nan, 0.0]]), np.array([1]))


@pytest.mark.parametrize(
    ("labels", "k", "message"),
    [([0, 1], 1, r"got \(3, 3\) and \(2,\)"), ([0, 1, 3], 1, "classes from 0 to 2"), ([0, -1, 1], 1, "from -1"),
     ([0, 1, 2], 0, "k is 0")],
)  # fmt: skip
def test_what_does_not_fit_is_refused(labels, k, message):
    with pytest.raises(ValueError, match=message):
        top_k(SCORES, np.array(labels), k)


def test_no_rows_have_no_hits():
    assert top_k(np.zeros((0, 3)), np.zeros(0, int)).shape == (0,)
    assert isnan(mean_per_class(np.zeros(0), np.zeros(0)))


def test_each_class_weighs_the_same():
    # class 0: 3 of 4 right; class 7: none of 1
    assert mean_per_class(np.array([1, 1, 1, 0, 0]), np.array([0, 0, 0, 0, 7])) == pytest.approx((0.75 + 0) / 2)
    assert mean_per_class(np.array([1.0, 0.5]), np.array(["b", "a"])) == pytest.approx(0.75)
