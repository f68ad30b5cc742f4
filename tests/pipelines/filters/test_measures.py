"""Columns for functions over all rows: groups by any value, null where nothing can be told, and what does not fit."""

import pyarrow as pa
import pytest

from potstill.pipelines.filters.measures import measured
from potstill.pipelines.filters.over_rows import parse

COLUMNS = {
    "s": pa.array([5, 1, 5, None, 2, 9], pa.int8()),
    "h": pa.array([0.5, 0.25, None, float("nan"), 1.0, 0.75], pa.float16()),
    "g": pa.chunked_array([pa.array(["a", "a", "a"]), pa.array(["a", "b", None])]),
    "b": pa.array([True, False, True, True, False, None]),
    "path": pa.array(["x/1.jpg", "x/2.jpg", "x/y/1.jpg", "t.tar#1", "t.tar#2", "top.jpg"]),
    "v": pa.array([[1.0, 2.0]] * 6, pa.list_(pa.float32(), 2)),
    "never": pa.nulls(6),
    "big": pa.array([2**62, 1, 2, 3, 4, 5]),
}
N = None


def values(call):
    tree, measures = parse(f"{call} > 0")
    return measured(measures, COLUMNS, 6)[tree.left.id].to_pylist()


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("rank(s)", [2, 5, 3, N, 4, 1]),
        ("rank(-s)", [3, 1, 4, N, 2, 5]),
        ("rank(s, by=g)", [1, 3, 2, N, 1, N]),
        ("rank(s, by=b)", [1, 2, 2, N, 1, N]),
        ("rank(h)", [3, 4, N, N, 1, 2]),
        ("rank(length(g))", [1, 2, 3, 4, 5, N]),
        ("count()", [6] * 6),
        ("count(by=g)", [4, 4, 4, 4, 1, N]),
        ("count(by=folder(path))", [2, 2, 1, 2, 2, 1]),
        ("count(by=s / 2)", [2, 1, 2, N, 1, 1]),
        ("mean(s)", [4.4] * 6),
        ("mean(s, by=g)", [11 / 3] * 4 + [2, N]),
        ("mean(s > 1)", [0.8] * 6),
        ("std(s, by=b)", [0, 0.5, 0, 0, 0.5, N]),
        ("quantile(s, 0.5)", [5] * 6),
        ("quantile(s, 0, by=g)", [1, 1, 1, 1, 2, N]),
        ("rank(s - mean(s, by=g))", [1, 4, 2, N, 3, N]),
        ("rank(never)", [N] * 6),
        ("mean(never)", [N] * 6),
        ("count(by=never)", [N] * 6),
    ],
)
def test_each_row_gets_the_number_that_is_worked_out_by_hand(call, expected):
    assert values(call) == [pytest.approx(value) if value is not None else None for value in expected]


def test_a_share_of_no_values_is_no_row_and_is_known():
    _, measures = parse("top_fraction(never, 0.5)")
    assert measured(measures, COLUMNS, 6)["top_fraction(never, 0.5)"].to_pylist() == [0] * 6


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("mean(g)", "'g' does not fit its columns: string is no number"),
        ("rank(big)", "'big' does not fit its columns: Integer value 4611686018427387904 not in range"),
        ("rank(v)", r"'v' does not fit its columns: fixed_size_list.* is no number"),
        ("count(by=v)", "by=v does not fit its columns: fixed_size_list.* makes no groups"),
        ("rank(s + g)", "'s \\+ g' does not fit its columns"),
        ("count(by=length(s))", r"'length\(s\)' does not fit its columns"),
    ],
)
def test_columns_that_do_not_fit_are_named(call, error):
    with pytest.raises(ValueError, match=error):
        values(call)
