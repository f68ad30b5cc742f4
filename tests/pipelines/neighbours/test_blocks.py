"""What workers do with a block: which rows have a direction, and centroids on their way to them."""

import numpy as np
import pyarrow as pa
import pytest

from potstill.pipelines.neighbours.blocks import chosen, load, look, save
from potstill.pipelines.neighbours.directions import directions
from potstill.pipelines.neighbours.kmeans import Centroids
from potstill.pipelines.rundir import RunDir
from tests.pipelines.neighbours.worlds import Part, angle, column, id_


@pytest.mark.parametrize("cells", [None, directions(angle(0, 90))], ids=["flat", "cells"])
def test_centroids_come_back_from_a_file_as_they_were(tmp_path, cells):
    centroids, rows = Centroids(directions(angle(10, 30, 80)), cells), directions(angle(5, 40, 90))
    save(RunDir(tmp_path), "a/b", centroids)
    found = load(RunDir(tmp_path), "a/b")
    assert np.array_equal(found.leaves, centroids.leaves)
    assert (found.cells is None) == (cells is None)
    assert found.nearest(rows)[1].ravel().tolist() == [0, 1, 2]


def test_a_look_tells_where_directions_are_which_are_equal_and_how_numbers_are_stored():
    table = pa.table({"v": column([[0, 0], [2, 0], [1, 1], [1, 0], [np.nan, 1]], missing=[2])})
    at, prints, kind = look(table, "v")
    assert at.tolist() == [1, 3]
    assert prints[0] == prints[1]
    assert kind == ("<f2", 2)
    assert look(pa.table({"v": column([[1, 0]], kind=np.float64)}), "v")[2] == ("<f4", 2)
    assert look(pa.table({"v": pa.nulls(3)}), "v")[2] is None


def test_rows_with_a_key_are_handed_out_and_a_block_without_any_is_not_read():
    block = Part(pa.table({"sample_id": [id_(0), id_(1), id_(2)], "v": column([[1, 0], [2, 0], [3, 0]])}))
    at, found = chosen(block, np.array([5, -1, 0]), "v", 2)
    assert at.tolist() == [0, 2]
    assert found.tolist() == [[1, 0], [3, 0]]
    at, found = chosen(Part(None), np.array([-1, -1]), "v", 2)
    assert found.shape == (0, 2)
