"""Complexity of clusters, their quotas, and the rows that fill them."""

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from potstill.pipelines.neighbours.concepts import Budget, cluster_quotas, complexity, rows_of, within
from potstill.pipelines.neighbours.directions import directions
from tests.pipelines.neighbours.worlds import angle


def distance(degrees):
    return 1 - np.cos(np.deg2rad(degrees))


def test_complexity_is_how_far_the_others_are_times_how_wide_the_cluster_is():
    leaves = directions(angle(0, 90, 120))
    labels, near = np.array([0, 0, 1, 1]), np.cos(np.deg2rad([10, 20, 30, 30]))
    found = complexity(leaves, labels, near)
    inter = [(distance(90) + distance(120)) / 2, (distance(90) + distance(30)) / 2]
    intra = [(distance(10) + distance(20)) / 2, distance(30)]
    np.testing.assert_allclose(found, [*np.multiply(inter, intra), 0], atol=1e-6)


def test_an_only_cluster_is_not_complex():
    assert complexity(directions(angle(0)), np.array([0, 0]), np.array([0.5, 1])).tolist() == [0]


def test_only_the_nearest_centroids_count():
    ring = np.arange(0, 360, 10)
    found = complexity(directions(angle(*ring)), np.arange(36), np.full(36, 0.5))
    nearest = [distance(10 * step) for step in range(1, 11)]
    np.testing.assert_allclose(found, 0.5 * np.mean(nearest), atol=1e-6)


def test_quotas_follow_the_softmax_of_the_complexities():
    shares = np.exp([1, 2, 3]) / np.exp([1, 2, 3]).sum()
    found = cluster_quotas(np.array([0.1, 0.2, 0.3]), np.array([900, 900, 900]), 1000, 0.1)
    assert found.sum() == 1000
    assert abs(found - shares * 1000).max() > 1, "the least of 166 binds for the first"
    assert found[0] == 166
    np.testing.assert_allclose(found[1:], (shares * 1000)[1:] - (166 - shares[0] * 1000) / 2, atol=1)
    even = cluster_quotas(np.array([0.2, 0.2, 0.2]), np.array([900, 900, 900]), 1000, 0.1)
    assert even.tolist() == [334, 333, 333]


def test_quotas_stay_within_what_clusters_have_and_fill_any_budget():
    sizes, hard = np.array([5, 0, 1, 40]), np.array([0.9, 0, 0.5, 0.1])
    for budget in range(1, 47):
        found = cluster_quotas(hard, sizes, budget, 0.1)
        assert found.sum() == budget
        assert (found <= sizes).all()
        assert (found >= 0).all()


def test_within_a_cluster_the_first_of_an_order_are_taken():
    labels = np.array([0, 1, 0, 1, 0])
    keep = within(labels, np.array([4, 3, 2, 1, 0]), np.array([2, 1]))
    assert keep.tolist() == [False, False, True, True, True]


def test_a_budget_is_a_number_of_rows_or_a_share_of_them():
    budget = TypeAdapter(Budget)
    assert rows_of(budget.validate_python(3), 10) == 3
    assert rows_of(budget.validate_python(1), 10) == 1
    assert rows_of(budget.validate_python(0.25), 10) == 3
    assert rows_of(budget.validate_python(1.0), 10) == 10
    assert rows_of(30, 10) == 10
    assert rows_of(0.001, 10) == 1
    assert rows_of(0.5, 0) == 0
    for bad in (0, -1, 0.0, 1.5):
        with pytest.raises(ValidationError):
            budget.validate_python(bad)
