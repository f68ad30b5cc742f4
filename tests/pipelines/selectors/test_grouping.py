"""What all groupings promise: one row goes on, it names its members, no row is in two groups."""

from typing import Literal

import pytest

from potstill.pipelines.rowset import RowSet
from potstill.pipelines.selectors.grouping import Grouping

ROWS = RowSet.of(["b", "a", "d", "c"])


class Fixed(Grouping):
    kind: Literal["fixed"] = "fixed"
    given: tuple[tuple[int, ...], ...]

    def reads(self):
        return ()

    def groups(self, rows, seed):
        return self.given


def test_the_first_of_a_group_goes_on_and_every_member_names_the_group():
    choice = Fixed(name="g", given=((2, 0),)).select(ROWS, 0)
    assert choice.keep.tolist() == [False, False, True, False]
    assert choice.columns["g_ids"].to_pylist() == [["c", "a"], None, ["c", "a"], None]
    assert choice.reasons.tolist() == ["grouped", "alone", "grouped", "alone"]


def test_without_groups_every_row_is_alone():
    choice = Fixed(given=()).select(ROWS, 0)
    assert not choice.keep.any()
    assert set(choice.reasons) == {"alone"}


def test_a_row_in_two_groups_is_a_mistake_of_the_stage():
    with pytest.raises(ValueError, match="put row a into two groups"):
        Fixed(given=((0, 1), (2, 0))).select(ROWS, 0)
