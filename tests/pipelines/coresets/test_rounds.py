"""Two rounds over shards come near to one round over all, and far ahead of chance."""

import numpy as np
import pyarrow as pa
import pytest

from potstill.pipelines.coresets.greedy import facility_location, herding, k_centre
from potstill.pipelines.coresets.rounds import picked, picked_by_group, standing
from potstill.pipelines.coresets.vectors import Shards
from tests.pipelines.selectors.sets import rows, vectors

RNG = np.random.default_rng(0)
LABELS = RNG.integers(12, size=600)
VALUES = (RNG.normal(size=(12, 6))[LABELS] + 0.3 * RNG.normal(size=(600, 6))).astype(np.float32)
ROWS = rows(600, e=vectors(VALUES), c=pa.array(LABELS))
BUDGET = 24


def chosen(order):
    mask = np.zeros(600, bool)
    mask[order] = True
    return mask


def value(rule, mask):
    near, gap = standing(Shards(ROWS, "e", 1, None, 10**9), mask)
    return {k_centre: near.min(), herding: -gap, facility_location: near.mean()}[rule]


@pytest.mark.parametrize("rule", [k_centre, herding, facility_location])
@pytest.mark.parametrize("key", [None, "c"])
def test_two_rounds_keep_at_least_three_quarters_of_the_gain_over_random(rule, key):
    sample = chosen(RNG.permutation(600)[:300])
    central = value(rule, chosen(picked(Shards(ROWS, "e", 1, None, 10**9), BUDGET, rule, sample)))
    order = picked(Shards(ROWS, "e", 5, key, 10**9), BUDGET, rule, sample)
    assert len(set(order.tolist())) == BUDGET
    random = np.mean([value(rule, chosen(RNG.permutation(600)[:BUDGET])) for _ in range(20)])
    assert (value(rule, chosen(order)) - random) / (central - random) > 0.75


def test_groups_are_picked_each_by_itself_whatever_the_shards():
    quotas = np.full(12, 2)
    one, many = (picked_by_group(Shards(ROWS, "e", n, "c", 10**9), LABELS, quotas, k_centre) for n in (1, 5))
    assert one.tolist() == many.tolist()
    assert LABELS[one].tolist() == np.repeat(np.arange(12), 2).tolist()
    alone = picked(
        Shards(rows((LABELS == 0).sum(), e=vectors(VALUES[LABELS == 0])), "e", 1, None, 10**9), 2, k_centre, None
    )
    assert np.flatnonzero(LABELS == 0)[alone].tolist() == one[:2].tolist()


def test_no_rows_no_picks():
    empty = Shards(rows(0, e=vectors(np.zeros((0, 3)))), "e", 3, None, 10)
    assert picked(empty, 5, herding, np.zeros(0, bool)).tolist() == []
    assert picked_by_group(empty, np.zeros(0, int), np.zeros(0, int), herding).tolist() == []


def test_how_the_chosen_stand_for_all_by_hand():
    shards = Shards(rows(3, e=vectors([[2, 0], [0, 5], [-1, 0]])), "e", 1, None, 100)
    near, gap = standing(shards, np.array([True, False, False]))
    assert near.tolist() == [1, 0, -1]
    assert gap == pytest.approx(np.hypot(1, 1 / 3))  # mean of all (0, 1/3), of the chosen (1, 0)
