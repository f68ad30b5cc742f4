"""Numbers over all rows of a group, against values worked by hand, NumPy, and rows in another order."""

import numpy as np
import pytest

from potstill.pipelines.filters import statistics

NAN = float("nan")
VALUES = np.array([5.0, 1.0, 5.0, NAN, 2.0, 9.0, 4.0])
GROUPS = np.array([0, 0, 0, 0, 1, -1, 1])
ONE = np.zeros(7, np.int64)


def test_the_largest_is_first_of_equal_ones_the_earlier_and_a_row_without_value_or_group_has_no_rank():
    assert statistics.ranks(VALUES, GROUPS).tolist() == [1, 3, 2, 0, 2, 0, 1]
    assert statistics.ranks(VALUES, ONE).tolist() == [2, 6, 3, 0, 5, 1, 4]


def test_a_group_is_counted_with_its_rows_without_a_value():
    assert statistics.counts(GROUPS).tolist() == [4, 4, 4, 4, 2, 0, 2]


def test_mean_and_deviation_are_those_of_the_group():
    assert statistics.means(VALUES, GROUPS)[[0, 3, 4]] == pytest.approx([11 / 3, 11 / 3, 3])
    assert statistics.deviations(VALUES, GROUPS)[[0, 3, 4]] == pytest.approx([np.std([5, 1, 5]), np.std([5, 1, 5]), 1])
    assert np.isnan(statistics.means(VALUES, GROUPS)[5]) and np.isnan(statistics.deviations(VALUES, GROUPS)[5])


@pytest.mark.parametrize("share", [0, 0.1, 0.25, 0.5, 0.7, 0.9, 1])
@pytest.mark.parametrize("size", [1, 2, 5, 31])
def test_a_quantile_is_numpys_and_at_a_value_exactly_that_value(share, size):
    values = np.random.default_rng(size).normal(size=size)
    found = statistics.quantiles(values, np.zeros(size, np.int64), share)
    assert found == pytest.approx([np.quantile(values, share)] * size)
    if (size - 1) * round(100 * share) % 100 == 0:
        assert found[0] == np.sort(values)[(size - 1) * round(100 * share) // 100]


def test_infinite_values_have_quantiles_and_ranks():
    values = np.array([-np.inf, 1.0, np.inf, np.inf])
    assert statistics.ranks(values, np.zeros(4, np.int64)).tolist() == [4, 3, 1, 2]
    assert statistics.quantiles(values, np.zeros(4, np.int64), 0.9)[0] == np.inf
    assert statistics.quantiles(values, np.zeros(4, np.int64), 0.0)[0] == -np.inf


@pytest.mark.parametrize(
    ("rows", "share", "quota"),
    [(10, 0.3, 3), (100, 0.29, 29), (30, 0.1, 3), (1, 0.3, 0), (2, 0.3, 1), (1, 0.5, 1), (5, 0, 0), (5, 1, 5)],
)
def test_a_share_is_taken_exactly_and_to_the_nearest_row(rows, share, quota):
    assert statistics.quotas(np.ones(rows), np.zeros(rows, np.int64), share).tolist() == [quota] * rows


def test_a_share_is_of_the_rows_that_have_a_value():
    assert statistics.quotas(VALUES, GROUPS, 1.0).tolist() == [3, 3, 3, 3, 2, 0, 2]


@pytest.mark.parametrize("groups", [np.array([], np.int64), np.array([-1, -1])])
def test_no_rows_and_no_groups_have_no_numbers(groups):
    values = np.ones(len(groups))
    assert not statistics.ranks(values, groups).any() and not statistics.counts(groups).any()
    assert not statistics.quotas(values, groups, 0.5).any()
    for found in (statistics.quantiles(values, groups, 0.5), statistics.means(values, groups)):
        assert len(found) == len(groups) and np.isnan(found).all()


def test_other_orders_of_the_rows_give_the_same_numbers_and_ranks_where_no_values_are_equal():
    rng = np.random.default_rng(0)
    values, groups = rng.permutation(500).astype(float), rng.integers(-1, 9, 500)
    order = rng.permutation(500)
    for measure in (
        lambda v, g: statistics.ranks(v, g),
        lambda v, g: statistics.quantiles(v, g, 0.37),
        lambda v, g: statistics.quotas(v, g, 0.37),
        lambda v, g: statistics.counts(g),
    ):
        np.testing.assert_array_equal(measure(values, groups)[order], measure(values[order], groups[order]))
    np.testing.assert_allclose(
        statistics.deviations(values, groups)[order], statistics.deviations(values[order], groups[order])
    )
