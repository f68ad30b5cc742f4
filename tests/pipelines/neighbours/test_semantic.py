"""Columns of a choice: ids of positions, numbers, clusters."""

import numpy as np

from potstill.pipelines.neighbours.semantic import measured, names, numbered
from potstill.pipelines.rowset import RowSet
from tests.pipelines.neighbours.worlds import id_


def test_positions_become_ids_and_nothing_becomes_null():
    rows = RowSet.of([id_(7), id_(300)])
    assert names(rows, np.array([1, -1, 0])).to_pylist() == [id_(300), None, id_(7)][:3]
    assert names(rows, np.array([-1, -1])).to_pylist() == [None, None]
    assert measured(np.array([0.5, np.nan])).to_pylist() == [0.5, None]
    assert numbered(np.array([0, -1, 3], np.int32)).to_pylist() == [0, None, 3]
