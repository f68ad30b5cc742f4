"""The random subset: size, stability, fairness."""

import numpy as np
import pytest
from pydantic import ValidationError

from potstill.pipelines.rowset import RowSet
from potstill.pipelines.selectors.random_subset import RandomSubset

IDS = [f"{number:032x}" for number in range(400)]


def chosen(ids, budget, seed=0):
    rows = RowSet.of(ids)
    return set(np.array(rows.texts)[RandomSubset(budget=budget).select(rows, seed).keep])


def test_it_keeps_exactly_the_budget_or_all_when_there_are_fewer():
    assert len(chosen(IDS, 30)) == 30
    assert chosen(IDS[:5], 30) == set(IDS[:5])
    assert chosen([], 3) == set()


def test_the_order_of_the_rows_changes_nothing_and_a_smaller_budget_keeps_a_subset():
    shuffled = list(np.random.default_rng(1).permutation(IDS))
    assert chosen(shuffled, 50) == chosen(IDS, 50)
    assert chosen(IDS, 20) < chosen(IDS, 50)


def test_another_seed_gives_another_subset_and_no_id_is_favoured():
    assert chosen(IDS, 50, seed=1) != chosen(IDS, 50, seed=2)
    counts = np.zeros(len(IDS))
    for seed in range(200):
        counts += RandomSubset(budget=100).select(RowSet.of(IDS), seed).keep
    assert counts.mean() == pytest.approx(50)
    assert counts.std() < 3 * np.sqrt(200 * 0.25 * 0.75)


def test_a_budget_below_one_is_refused_with_its_value():
    with pytest.raises(ValidationError, match="greater than 0"):
        RandomSubset(budget=0)
