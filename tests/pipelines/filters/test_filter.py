"""The filter: the first failing condition names the reason."""

import pyarrow as pa
import pytest
from pydantic import ValidationError

from potstill.pipelines.filters.filter import Filter


def decide(keep, **columns):
    rows = len(next(iter(columns.values())))
    return Filter(keep=keep).decide({name: pa.array(values) for name, values in columns.items()}, rows).tolist()


def test_a_row_is_dropped_for_the_first_condition_it_fails_in_the_order_of_the_plan():
    keep = {"low": "a > 1", "high": "a < 5", "ugly": "b > 0"}
    assert decide(keep, a=[0, 3, 9, 3, 0], b=[1, 1, 0, 0, 0]) == ["low", None, "high", "ugly", "low"]
    turned = dict(reversed(keep.items()))
    assert decide(turned, a=[0, 3, 9, 3, 0], b=[1, 1, 0, 0, 0]) == ["low", None, "ugly", "ugly", "ugly"]


def test_a_condition_that_cannot_be_told_drops_the_row_and_says_that_it_is_unknown():
    assert decide({"low": "a > 1", "odd": "b == 0"}, a=[None, 2, 2, None], b=[0, None, 0, 1]) == [
        "low_unknown",
        "odd_unknown",
        None,
        "low_unknown",
    ]


def test_a_failed_condition_stands_before_a_later_unknown_one():
    assert decide({"low": "a > 1", "odd": "b == 0"}, a=[0], b=[None]) == ["low"]


def test_a_null_can_be_let_through_on_purpose():
    assert decide("a is None or a > 1", a=[None, 0, 2]) == [None, "failed", None]


def test_not_a_number_fails_every_comparison_and_is_dropped():
    assert decide({"low": "a > 1"}, a=[float("nan"), 2.0]) == ["low", None]


def test_one_condition_may_stand_alone_and_its_reason_is_failed():
    assert Filter(keep="a > 1").keep == {"failed": "a > 1"}
    assert decide("a > 1", a=[1, 2]) == ["failed", None]


def test_no_rows_have_no_reasons():
    assert Filter(keep="a > 1").decide({"a": pa.nulls(0)}, 0).tolist() == []


def test_it_reads_the_columns_that_its_conditions_name():
    assert Filter(keep={"x": "b > a", "y": "length(c) > 2 and a > 0"}).reads() == ("a", "b", "c")


@pytest.mark.parametrize("keep", [{}, "", "a >", {"x": "f(a)"}, {"x": "a > 1", "y": "a.b"}, 3])
def test_a_wrong_condition_is_refused_when_the_filter_is_made(keep):
    with pytest.raises(ValidationError):
        Filter.model_validate({"keep": keep})


def test_it_goes_to_workers_and_back_after_it_was_used():
    import pickle

    used = Filter(keep="a > 1")
    used.reads()
    assert pickle.loads(pickle.dumps(used)) == Filter(keep="a > 1")
