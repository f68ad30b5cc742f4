"""The filter over all rows: sets worked by hand, ties by id, nulls, and no dependence on how rows arrive."""

import pickle

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from potstill.pipelines.filters.filter import Filter
from potstill.pipelines.rowset import RowSet
from potstill.pipelines.selectors.set_filter import SetFilter


def id_(number):
    return f"{number:032x}"


def chosen(keep, ids=None, **columns):
    """Number of the id -> reason, None for a kept row."""
    numbers = ids or list(range(len(next(iter(columns.values())))))
    rows = RowSet.of([id_(number) for number in numbers], **columns)
    choice = SetFilter(keep=keep).select(rows, 0)
    assert choice.keep.tolist() == [reason is None for reason in choice.reasons]
    return dict(zip(sorted(numbers), choice.reasons.tolist(), strict=True))


def kept(keep, **columns):
    return [number for number, reason in chosen(keep, **columns).items() if reason is None]


SCORE = [0.1, 0.9, 0.5, 0.5, 0.7, 0.3, 0.5, 0.2, 0.8, 0.4]


def test_a_fraction_is_exactly_so_many_rows_and_of_equal_ones_those_of_lower_id():
    assert kept("top_fraction(s, 0.3)", s=SCORE) == [1, 4, 8]
    assert kept("top_fraction(s, 0.5)", s=SCORE) == [1, 2, 3, 4, 8]
    assert kept("top(s, 4)", s=SCORE) == [1, 2, 4, 8]
    assert kept("top(s, 99)", s=SCORE) == list(range(10))


def test_each_group_has_its_own_top():
    source = ["a/1", "a/2", "a/3", "a/4", "b/1", "b/2", "b/3", "b/4", "b/5", "c/1"]
    assert kept("top_fraction(s, 0.5, by=folder(source))", s=SCORE, source=source) == [1, 2, 4, 6, 8, 9]
    assert kept("top(s, 1, by=folder(source))", s=SCORE, source=source) == [1, 8, 9]


def test_two_filters_over_the_same_rows_meet_each_other_by_and_or_not():
    other = [1, 1, 0, 1, 0, 0, 0, 0, 1, 0]
    assert kept("top_fraction(s, 0.3) and o == 1", s=SCORE, o=other) == [1, 8]
    assert kept("top_fraction(s, 0.3) or o == 1", s=SCORE, o=other) == [0, 1, 3, 4, 8]
    assert kept("not top_fraction(s, 0.3)", s=SCORE) == [0, 2, 3, 5, 6, 7, 9]
    assert kept("s > mean(s) + std(s)", s=SCORE) == [1, 8]


def test_a_row_is_dropped_for_the_first_condition_and_every_condition_sees_all_rows():
    found = chosen({"low": "s >= quantile(s, 0.5)", "rare": "count(by=g) > 1"}, s=[1, 2, 3, 4], g=["x", "x", "x", "y"])
    assert found == {0: "low", 1: "low", 2: None, 3: "rare"}


def test_null_is_unknown_as_in_a_filter_and_counts_for_nothing():
    keep = {"low": "top_fraction(s, 0.5)", "few": "count(by=g) > 1"}
    found = chosen(keep, s=[None, float("nan"), 3.0, 4.0, 5.0, 6.0], g=["x"] * 5 + [None])
    assert found == {0: "low_unknown", 1: "low_unknown", 2: "low", 3: "low", 4: None, 5: "few_unknown"}
    assert kept("s is None or top(s, 1)", s=[None, 1, 2]) == [0, 2]


def test_the_order_and_the_blocks_in_which_rows_come_do_not_matter():
    rng = np.random.default_rng(3)
    score, group = rng.integers(0, 20, 200).astype(float), rng.integers(0, 5, 200)
    keep = {"low": "top_fraction(s, 0.37, by=g)", "far": "abs_ >= 0 or s < quantile(s, 0.9)"}
    first = chosen(keep, s=score, g=group, abs_=score - 3)
    for _ in range(3):
        order = rng.permutation(200)
        assert chosen(keep, order.tolist(), s=score[order], g=group[order], abs_=score[order] - 3) == first
    order = rng.permutation(200)
    blocks = [
        RowSet.of([id_(at) for at in part], s=score[part], g=group[part], abs_=score[part] - 3).blocks[0]
        for part in np.split(order, [13, 140])
    ]
    assert dict(enumerate(SetFilter(keep=keep).select(RowSet(blocks), 0).reasons)) == first


def test_without_functions_over_rows_it_decides_as_a_filter_does():
    keep = {"low": "a > 1", "odd": "b in (0, 2) or length(t) > 2"}
    columns = {"a": [0, 3, None, 2], "b": [0, 1, 2, None], "t": ["abc", "", None, "abcd"]}
    filtered = Filter(keep=keep).decide({name: pa.array(values) for name, values in columns.items()}, 4)
    assert list(chosen(keep, **columns).values()) == filtered.tolist()


def test_it_gives_the_numbers_that_it_decided_by():
    rows = RowSet.of([id_(2), id_(1)], s=[1.0, 3.0])
    evidence = SetFilter(keep="s > mean(s) and top(s, 1)").select(rows, 0).evidence
    assert {name: values.to_pylist() for name, values in evidence.items()} == {"mean(s)": [2, 2], "rank(s)": [1, 2]}


def test_it_reads_the_columns_that_its_conditions_and_functions_name():
    keep = {"x": "rank(a - mean(b, by=folder(c))) < d", "y": "count() > 3"}
    assert SetFilter(keep=keep).reads() == ("a", "b", "c", "d")


def test_no_rows_have_no_reasons():
    assert chosen("s > mean(s) and top(s, 1)", s=[]) == {}
    assert SetFilter(keep="top(s, 1)").decide({"s": pa.nulls(0, pa.float32())}, 0).tolist() == []


@pytest.mark.parametrize("keep", [{}, "", "rank(a", {"x": "median(a) > 1"}, {"x": "a > 1", "y": "top(a, 0.5)"}, 3])
def test_a_wrong_condition_is_refused_when_the_stage_is_made(keep):
    with pytest.raises(ValidationError):
        SetFilter.model_validate({"keep": keep})


def test_columns_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match="'t' does not fit its columns: string is no number"):
        SetFilter(keep="top(t, 1)").decide({"t": pa.array(["x"])}, 1)


def test_it_goes_to_workers_and_back_after_it_was_used():
    used = SetFilter(keep="top(a, 1)")
    used.reads()
    assert pickle.loads(pickle.dumps(used)) == SetFilter(keep="top(a, 1)")
