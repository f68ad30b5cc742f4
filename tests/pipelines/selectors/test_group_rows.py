"""Groups by key: sizes, left-overs, stability."""

import numpy as np
import pytest
from pydantic import ValidationError

from potstill.pipelines.rowset import RowSet
from potstill.pipelines.selectors.group_rows import GroupRows


def grouped(ids, keys, seed=0, **settings):
    stage = GroupRows(**settings)
    rows = RowSet.of(ids, key=keys)
    return {tuple(rows.texts[position] for position in group) for group in stage.groups(rows, seed)}


IDS = [f"{number:032x}" for number in range(11)]
KEYS = ["a"] * 5 + ["b"] * 4 + ["c", None]


def test_groups_hold_rows_of_one_key_up_to_the_size_and_what_is_left_over_is_in_none_below_the_least():
    groups = grouped(IDS, KEYS, by="key", size=2)
    assert sorted(len(group) for group in groups) == [2, 2, 2, 2]
    for group in groups:
        assert len({KEYS[IDS.index(id_)] for id_ in group}) == 1
    assert sorted(len(group) for group in grouped(IDS, KEYS, by="key", size=3)) == [2, 3, 3]
    assert sorted(len(group) for group in grouped(IDS, KEYS, by="key", size=3, least=3)) == [3, 3]


def test_without_a_key_any_rows_come_together():
    assert sorted(len(group) for group in grouped(IDS, KEYS, size=4, least=3)) == [3, 4, 4]
    assert grouped([], [], size=2) == set()


def test_the_order_of_rows_changes_nothing_the_seed_does_and_new_rows_of_one_key_leave_the_others():
    order = np.random.default_rng(3).permutation(len(IDS))
    shuffled = grouped([IDS[at] for at in order], [KEYS[at] for at in order], by="key", size=2)
    assert shuffled == grouped(IDS, KEYS, by="key", size=2)
    assert any(grouped(IDS, KEYS, seed=seed, by="key", size=2) != shuffled for seed in range(1, 5))
    more = grouped([*IDS, "f" * 32], [*KEYS, "a"], by="key", size=2)
    assert {group for group in shuffled if KEYS[IDS.index(group[0])] == "b"} <= more


def test_the_key_may_stand_in_a_json_object():
    metas = ['{"topic": "a"}', '{"topic": "a", "more": 1}', '{"topic": 7}', '{"topic": 7}', "{}", None, "[1]"]
    assert grouped(IDS[:7], metas, by="key", field="topic", size=2) in (
        {(IDS[0], IDS[1]), (IDS[2], IDS[3])}, {(IDS[1], IDS[0]), (IDS[2], IDS[3])},
        {(IDS[0], IDS[1]), (IDS[3], IDS[2])}, {(IDS[1], IDS[0]), (IDS[3], IDS[2])},
    )  # fmt: skip
    with pytest.raises(ValidationError, match="looked for in the column `by`"):
        GroupRows(size=2, field="topic")


def test_a_size_of_one_and_a_least_above_the_size_are_refused():
    with pytest.raises(ValidationError, match="greater than or equal to 2"):
        GroupRows(size=1)
    with pytest.raises(ValidationError, match="least is 5 and size 3"):
        GroupRows(size=3, least=5)
