"""Quotas: whole numbers closest to shares of a budget, within bounds."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from potstill.pipelines.neighbours.quotas import quotas


def array(*numbers):
    return np.array(numbers)


def test_quotas_worked_by_hand():
    assert quotas(array(0.5, 0.3, 0.2), 10, array(0, 0, 0), array(9, 9, 9)).tolist() == [5, 3, 2]
    # 8, 1, 1 with at most 4: four are left over and go to the others in equal parts
    assert quotas(array(0.8, 0.1, 0.1), 10, array(0, 0, 0), array(4, 9, 9)).tolist() == [4, 3, 3]
    # at least 3 for the last takes two from the others, one each
    assert quotas(array(0.6, 0.3, 0.1), 10, array(0, 0, 3), array(9, 9, 9)).tolist() == [5, 2, 3]


def test_what_rounding_leaves_over_goes_to_the_largest_remainder_of_equal_ones_to_the_first():
    assert quotas(array(0.26, 0.37, 0.37), 10, array(0, 0, 0), array(9, 9, 9)).tolist() == [2, 4, 4]
    assert quotas(array(1, 1, 1) / 3, 8, array(0, 0, 0), array(9, 9, 9)).tolist() == [3, 3, 2]


def test_the_whole_budget_and_none():
    assert quotas(array(0.9, 0.1), 5, array(0, 0), array(2, 3)).tolist() == [2, 3]
    assert quotas(array(0.9, 0.1), 0, array(0, 0), array(2, 3)).tolist() == [0, 0]
    assert quotas(array(1.0), 3, array(0), array(7)).tolist() == [3]


def test_bounds_that_do_not_allow_the_budget_are_refused_with_the_numbers():
    with pytest.raises(ValueError, match="a budget of 6 does not fit between 0 and 5"):
        quotas(array(0.5, 0.5), 6, array(0, 0), array(2, 3))


groups = st.lists(st.tuples(st.integers(1, 100), st.integers(0, 2), st.integers(0, 4)), min_size=1, max_size=4)


@settings(deadline=None, max_examples=150)
@given(groups, st.floats(0, 1))
def test_no_other_whole_numbers_are_closer(drawn, place):
    shares = np.array([share for share, _, _ in drawn]) / sum(share for share, _, _ in drawn)
    least, most = np.array([low for _, low, _ in drawn]), np.array([low + more for _, low, more in drawn])
    budget = round(least.sum() + place * (most.sum() - least.sum()))
    found = quotas(shares, budget, least, most)
    assert found.sum() == budget
    assert ((least <= found) & (found <= most)).all()
    spans = [range(low, high + 1) for low, high in zip(least, most, strict=True)]
    every = np.array([numbers for numbers in product(*spans) if sum(numbers) == budget])
    assert ((found - shares * budget) ** 2).sum() <= ((every - shares * budget) ** 2).sum(axis=1).min() + 1e-6
