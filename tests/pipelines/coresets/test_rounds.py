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
    with Shards(ROWS, "e", 1, None, 10**9) as shards:
        near, gap = standing(shards, mask)
    return {k_centre: near.min(), herding: -gap, facility_location: near.mean()}[rule]


def within(shards, fn, *args):
    """``fn`` of opened shards."""
    with shards:
        return fn(shards, *args)


@pytest.mark.parametrize("rule", [k_centre, herding, facility_location])
@pytest.mark.parametrize("key", [None, "c"])
def test_two_rounds_keep_at_least_three_quarters_of_the_gain_over_random(rule, key):
    sample = chosen(RNG.permutation(600)[:300])
    central = within(Shards(ROWS, "e", 1, None, 10**9), picked, BUDGET, rule, sample)
    order = within(Shards(ROWS, "e", 5, key, 10**9), picked, BUDGET, rule, sample)
    assert len(set(order.tolist())) == BUDGET
    random = np.mean([value(rule, chosen(RNG.permutation(600)[:BUDGET])) for _ in range(20)])
    assert (value(rule, chosen(order)) - random) / (value(rule, chosen(central)) - random) > 0.75


def test_groups_are_picked_each_by_itself_whatever_the_shards():
    args = (picked_by_group, LABELS, np.full(12, 2), k_centre)
    one, many = (within(Shards(ROWS, "e", count, "c", 10**9), *args) for count in (1, 5))
    assert one.tolist() == many.tolist()
    assert LABELS[one].tolist() == np.repeat(np.arange(12), 2).tolist()
    mine = np.flatnonzero(LABELS == 0)
    alone = within(Shards(rows(len(mine), e=vectors(VALUES[mine])), "e", 1, None, 10**9), picked, 2, k_centre, None)
    assert mine[alone].tolist() == one[:2].tolist()


@pytest.mark.parametrize("count", [1, 3])
def test_no_rows_no_picks(count):
    empty = Shards(rows(0, e=vectors(np.zeros((0, 3)))), "e", count, None, 10)
    assert within(empty, picked, 5, herding, np.zeros(0, bool)).tolist() == []
    assert within(empty, picked_by_group, np.zeros(0, int), np.zeros(0, int), herding).tolist() == []


def test_how_the_chosen_stand_for_all_by_hand():
    shards = Shards(rows(3, e=vectors([[2, 0], [0, 5], [-1, 0]])), "e", 1, None, 100)
    near, gap = within(shards, standing, np.array([True, False, False]))
    assert near.tolist() == [1, 0, -1]
    assert gap == pytest.approx(np.hypot(1, 1 / 3))  # mean of all (0, 1/3), of the chosen (1, 0)
