"""Parts of which none shares a group with another."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from potstill.pipelines.rowset import RowSet
from potstill.pipelines.selectors.split import Split


def id_(number):
    return f"{number:032x}"


def parts(groups, others=None, unit=None, ids=None, seed=0):
    ids = ids or [id_(number) for number in range(len(groups))]
    columns = {"group": pa.array(groups, pa.string())}
    if others is not None:
        columns["other"] = pa.array(others, pa.string())
    rows = RowSet.of(ids, **columns)
    found = (unit or Split(by=tuple(columns))).select(rows, seed)
    return dict(zip(rows.texts, found.columns["split"].to_pylist(), strict=True)), found


KEYS = st.one_of(st.none(), st.sampled_from("abcdefgh"))
ROWS = st.lists(st.tuples(KEYS, KEYS), max_size=30)


@settings(deadline=None)
@given(ROWS, st.randoms())
def test_no_group_is_cut_and_the_order_of_rows_changes_nothing(rows, random):
    groups, others = [row[0] for row in rows], [row[1] for row in rows]
    found, _ = parts(groups, others)
    for keys in (groups, others):
        for key in set(keys) - {None}:
            assert len({found[id_(place)] for place, other in enumerate(keys) if other == key}) == 1
    places = list(range(len(rows)))
    random.shuffle(places)
    shuffled = parts([groups[p] for p in places], [others[p] for p in places], ids=[id_(p) for p in places])[0]
    assert shuffled == found


@settings(deadline=None)
@given(st.lists(KEYS, max_size=20), st.lists(KEYS, max_size=20))
def test_rows_that_are_added_move_no_group_and_no_row(before, added):
    old, _ = parts(before)
    new, _ = parts(before + added)
    assert {name: new[name] for name in old} == old


def test_the_shares_are_those_asked_for_and_another_seed_draws_anew():
    unit = Split(by="group", parts={"train": 8, "test": 2})
    names = [f"g{number}" for number in range(5000)]
    one, _ = parts(names, unit=unit)
    two, _ = parts(names, unit=unit, seed=1)
    assert list(one.values()).count("test") == pytest.approx(1000, abs=120)
    assert 0.25 < np.mean([one[name] != two[name] for name in one]) < 0.4


def test_parts_that_are_not_kept_are_dropped_with_their_name():
    names = [f"g{number}" for number in range(100)]
    found, choice = parts(names, unit=Split(by="group", keep=("train",)))
    assert choice.keep.tolist() == [part == "train" for part in found.values()]
    assert set(choice.reasons[~choice.keep]) == {"in_val", "in_test"}
    assert parts(names)[1].keep.all()


def test_rows_are_split_by_picture_unless_told_otherwise_and_none_are_fine():
    assert Split().reads() == ("image_id",)
    assert parts([])[0] == {}


@pytest.mark.parametrize(
    ("settings_", "says"),
    [
        ({"keep": ("train", "dev")}, "keep names dev, but the parts are train, val, test"),
        ({"parts": {"train": 1}}, "at least 2 items"),
        ({"parts": {"train": 1, "test": 0}}, "greater than 0"),
        ({"parts": {"Train set": 1, "test": 1}}, "match pattern"),
    ],
)
def test_impossible_parts_are_refused(settings_, says):
    with pytest.raises(ValidationError, match=says):
        Split(**settings_)
