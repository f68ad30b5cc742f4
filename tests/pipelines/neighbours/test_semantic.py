"""The order of preference, and ids of positions."""

import numpy as np

from potstill.pipelines.neighbours.semantic import measured, names, numbered, preference
from potstill.pipelines.rowset import RowSet
from tests.pipelines.neighbours.worlds import id_


def test_the_larger_goes_first_then_the_lower_id_nulls_last():
    rows = RowSet.of([id_(i) for i in range(5)], score=[0.5, None, 2.0, 0.5, -1.0])
    assert preference(rows, "score").tolist() == [2, 0, 3, 4, 1]
    assert preference(rows, None).tolist() == [0, 1, 2, 3, 4]


def test_positions_become_ids_and_nothing_becomes_null():
    rows = RowSet.of([id_(7), id_(300)])
    assert names(rows, np.array([1, -1, 0])).to_pylist() == [id_(300), None, id_(7)][:3]
    assert names(rows, np.array([-1, -1])).to_pylist() == [None, None]
    assert measured(np.array([0.5, np.nan])).to_pylist() == [0.5, None]
    assert numbered(np.array([0, -1, 3], np.int32)).to_pylist() == [0, None, 3]
