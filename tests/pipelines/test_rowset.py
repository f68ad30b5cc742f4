"""Rows of a set: the order of their ids, whatever the order and the blocks they came in."""

import numpy as np
import pyarrow as pa
import pytest

from potstill.pipelines.rowset import RowSet, in_order, vectors
from potstill.pipelines.rundir import RunDir


class Part:
    """A block that holds some rows and counts how often it is read."""

    def __init__(self, ids, **columns):
        self.table, self.reads = pa.table({"sample_id": ids, **columns}), 0

    def read(self, columns):
        self.reads += 1
        return self.table.select(["sample_id", *columns])


def id_(number):
    return f"{number:032x}"


VECTOR = pa.list_(pa.float16(), 2)


def test_columns_come_in_the_order_of_the_ids_however_they_were_cut():
    whole = RowSet.of([id_(3), id_(1), id_(2)], size=[30, 10, 20])
    cut = RowSet(
        [Part([id_(3)], size=[30]), Part([], size=pa.array([], pa.int64())), Part([id_(1), id_(2)], size=[10, 20])]
    )
    for rows in (whole, cut):
        assert rows.texts == [id_(1), id_(2), id_(3)]
        assert rows.column("size").to_pylist() == [10, 20, 30]
        assert len(rows) == 3


def test_blocks_are_mapped_in_order_with_the_positions_of_their_rows():
    rows = RowSet([Part([id_(9), id_(4)], size=[9, 4]), Part([id_(5)], size=[5])])
    found = [(places.tolist(), result) for places, result in rows.map(_sum, ["size"], 100)]
    assert found == [([2, 0], 113), ([1], 105)]


def test_several_columns_take_one_reading():
    part = Part([id_(2), id_(1)], size=[20, 10], name=["b", "a"])
    found = RowSet([part]).columns(["name", "size"])
    assert {name: values.to_pylist() for name, values in found.items()} == {"name": ["a", "b"], "size": [10, 20]}
    assert part.reads == 2  # the ids, and all columns at once
    assert RowSet([part]).columns([]) == {}


def _sum(table, more):
    return sum(table["size"].to_pylist()) + more


def test_other_work_runs_where_the_blocks_are_mapped():
    def counted(fn, calls):
        done.append(fn)
        yield from (fn(*call) for call in calls)

    done = []
    assert list(RowSet([], counted).over(divmod, [(7, 2), (9, 4)])) == [(3, 1), (2, 1)]
    assert done[-1] is divmod


def test_numbers_are_nan_where_there_are_none_even_in_a_block_without_a_type():
    rows = RowSet([Part([id_(2)], score=pa.nulls(1)), Part([id_(1)], score=pa.array([0.5], pa.float32()))])
    np.testing.assert_array_equal(rows.numbers("score"), [0.5, np.nan])


def test_features_are_the_vectors_that_are_there_with_their_rows():
    column = pa.array([[1, 2], None, [3, 4]], VECTOR)
    features, at = RowSet.of([id_(7), id_(1), id_(3)], v=column).features("v")
    assert features.tolist() == [[3, 4], [1, 2]]
    assert features.dtype == np.float32
    assert at.tolist() == [1, 2]


def test_vectors_of_a_slice_are_those_of_the_slice_and_a_column_of_texts_is_refused():
    column = pa.array([[1, 2], None, [3, 4], [5, 6]], VECTOR)
    assert vectors(column.slice(1, 2)).tolist() == [[3, 4]]
    assert vectors(pa.nulls(3)).shape == (0, 0)
    with pytest.raises(ValueError, match="fixed-size lists of numbers, this one string"):
        vectors(pa.array(["a"]))


def test_no_rows_are_a_set_too():
    assert len(RowSet([])) == len(RowSet.of([])) == 0
    assert RowSet.of([], a=pa.nulls(0)).column("a").to_pylist() == []
    assert list(RowSet([]).map(_sum, ["size"])) == []


def test_rows_held_in_memory_have_no_scratch_folder(tmp_path):
    assert RowSet([], scratch=RunDir(tmp_path)).has_scratch
    assert not RowSet.of([]).has_scratch
    with pytest.raises(ValueError, match="no scratch folder"):
        RowSet.of([]).scratch  # noqa: B018


def test_results_come_in_the_order_of_the_calls_whatever_ended_first():
    def backwards(fn, calls):
        yield from (fn(*call) for call in reversed(calls))

    assert list(in_order(backwards, divmod, [(7, 2), (9, 4), (5, 5)])) == [(3, 1), (2, 1), (1, 0)]
    assert list(in_order(backwards, divmod, [])) == []
