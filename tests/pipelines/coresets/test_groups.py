"""Sharing out budgets: by hand, and never more than there is."""

import numpy as np
import pyarrow as pa
import pytest

from potstill.pipelines.coresets.groups import apportion, codes, first, proportional, sizes, water_fill


def test_labels_are_numbered_in_their_order_and_null_belongs_nowhere():
    labels, places = codes(pa.array(["b", None, "a", "b"]))
    assert labels == ["a", "b"]
    assert places.tolist() == [1, -1, 0, 1]
    assert codes(pa.array([7, 3, 7]))[1].tolist() == [1, 0, 1]
    assert codes(pa.array([True, False]))[1].tolist() == [1, 0]
    assert codes(pa.nulls(2))[1].tolist() == [-1, -1]
    assert codes(pa.array([], pa.string()))[1].tolist() == []
    assert sizes(places).tolist() == [1, 2]


@pytest.mark.parametrize("column", [pa.array([0.5]), pa.array([["a"]])])
def test_labels_that_are_lists_or_fractions_are_refused_with_their_type(column):
    with pytest.raises(ValueError, match=str(column.type)):
        codes(column)


@pytest.mark.parametrize(
    ("counts", "budget", "quotas"),
    [
        ([10, 1, 4], 9, [4, 1, 4]),  # 9 // 3 = 3: group 1 gives its one, 8 // 2 = 4, the rest is 4
        ([5, 5, 5], 10, [3, 3, 4]),
        ([2, 0, 3], 99, [2, 0, 3]),
        ([4, 4], 1, [0, 1]),
        ([], 3, []),
    ],
)
def test_a_budget_is_filled_like_water(counts, budget, quotas):
    assert water_fill(np.array(counts, int), budget).tolist() == quotas


def test_shares_by_largest_remainder():
    assert apportion([1, 1, 2], 10).tolist() == [3, 2, 5]  # 2.5, 2.5, 5: the first of equal remainders
    assert apportion([0.5, 0.3, 0.2], 3).tolist() == [1, 1, 1]  # 1.5, 0.9, 0.6
    assert apportion([1, 0], 4).tolist() == [4, 0]


def test_shares_by_weight_stop_at_what_a_group_has_and_the_others_share_the_rest():
    assert proportional(np.array([2.0, 1, 1]), np.array([3, 50, 50]), 12).tolist() == [3, 5, 4]
    assert proportional(np.array([1.0, 0]), np.array([3, 50]), 12).tolist() == [3, 0]
    assert proportional(np.array([1.0, 1]), np.array([9, 9]), 4).tolist() == [2, 2]


def test_the_first_of_each_group_by_key_then_by_position():
    places = np.array([0, 0, 0, 1, -1, 1])
    key = np.array([2, 1, 1, 5, 0, 4])
    assert first(places, np.array([1, 1]), key).tolist() == [False, True, False, False, False, True]
    assert first(places, np.array([9, 9]), key).tolist() == [True, True, True, True, False, True]
    assert not first(np.array([-1]), np.array([], int), np.array([0])).any()
