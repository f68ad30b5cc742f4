import math

import numpy as np
import pytest

from benchmarks.planted.measure import Confusion, as_markdown, auc, confusion, copies, counted, percent, survivors


def test_a_confusion_table_worked_by_hand():
    flagged = [True, True, True, False, False, True]
    wanted = [True, True, False, True, False, False]
    clean = [False, False, True, False, True, False]
    found = confusion(flagged, wanted, clean)
    assert found == Confusion(hits=2, false_clean=1, false_other=1, missed=1)
    assert (found.precision, found.recall) == (2 / 4, 2 / 3)
    assert found.f1 == pytest.approx(2 * 0.5 * (2 / 3) / (0.5 + 2 / 3)) == 4 / 7


def test_nothing_flagged_and_nothing_wanted_have_no_share():
    nothing = confusion([False], [False], [True])
    assert all(math.isnan(value) for value in (nothing.precision, nothing.recall, nothing.f1))
    missed = confusion([False], [True], [False])
    assert math.isnan(missed.precision)
    assert (missed.recall, missed.f1) == (0, 0)


GROUP = ["g", "g", "g", "h", "h", None, None]
"""An original with two copies, one with one copy, a clean row alone, a flawed row alone."""
MEMBERS = [True, True, True, True, True, True, False]
CLEAN = [True, False, False, True, False, True, False]


@pytest.mark.parametrize(("flagged", "expected"), [
    ([0, 1, 1, 0, 1, 0, 0], Confusion(3, 0, 0, 0)),  # the originals stay
    ([1, 1, 0, 1, 0, 0, 0], Confusion(3, 0, 0, 0)),  # copies stay instead: as good
    ([0, 0, 1, 0, 0, 0, 0], Confusion(1, 0, 0, 2)),  # one copy too many in each group
    ([1, 1, 1, 0, 1, 0, 0], Confusion(3, 1, 0, 0)),  # a whole group gone
    ([0, 1, 1, 0, 1, 1, 1], Confusion(3, 1, 1, 0)),  # rows that are nobody's copy
    ([0, 0, 0, 0, 0, 0, 0], Confusion(0, 0, 0, 3)),
])  # fmt: skip
def test_copies_worked_by_hand(flagged, expected):
    assert copies(flagged, GROUP, MEMBERS, CLEAN) == expected


def test_a_copy_of_a_kind_that_is_not_claimed_may_go_or_stay():
    groups, members, clean = ["g"] * 3, [True, True, False], [True, False, False]
    assert copies([False, True, True], groups, members, clean) == Confusion(1, 0, 0, 0)
    assert copies([False, True, False], groups, members, clean) == Confusion(1, 0, 0, 0)
    assert copies([True, True, False], groups, members, clean) == Confusion(1, 0, 0, 0), "the third stands for both"
    assert copies([False, False, True], groups, members, clean) == Confusion(0, 0, 0, 1), "the claimed copy was missed"


def test_the_auc_by_hand():
    # pairs (good, bad): 3>2, 3>1, 2=2, 2>1, 4>2, 4>1 -> 5.5 of 6
    assert auc([3, 2, 4], [2, 1]).value == pytest.approx(5.5 / 6)
    assert auc([1, 1], [1, 1, 1]).value == 0.5
    assert auc([0], [1]).value == 0
    assert math.isnan(auc([], [1.0]).value)


def test_the_auc_equals_the_count_of_pairs_and_its_error_the_spread_over_draws():
    rng = np.random.default_rng(0)
    values = []
    for _ in range(300):
        good, bad = rng.normal(1, 1, 40).round(1), rng.normal(0, 1, 25).round(1)
        found = auc(good, bad)
        pairs = np.sign(good[:, None] - bad[None, :])
        assert found.value == pytest.approx((pairs.mean() + 1) / 2)
        values.append((found.value, found.error))
    spread = np.std([value for value, _ in values])
    assert np.mean([error for _, error in values]) == pytest.approx(spread, rel=0.15)


def test_a_kept_original_stands_for_its_group_and_else_the_copy_most_like_it():
    groups, ranks = ["g", "g", "g", "h", "h", "i"], [3, 0, 1, 2, 0, None]
    assert survivors([1, 1, 1, 1, 0, 1], groups, ranks) == [False, True, False, True, False, False]
    assert survivors([1, 0, 1, 0, 0, 0], groups, ranks) == [False, False, True, False, False, False]
    assert survivors([1, 1], ["g", "g"], [2, 2]) == [True, False]


def test_words_of_the_tables():
    assert as_markdown(("a", "b"), [("x", 0.12345), ("y", math.nan), ("z", 3)]) == (
        "| a | b |\n| --- | --- |\n| x | 0.123 |\n| y | - |\n| z | 3 |"
    )
    assert (percent(1, 3), percent(0, 0)) == ("33.3 %", "-")
    assert counted({"a": 1, "c": 5, "b": 5}) == "b 5, c 5, a 1"
