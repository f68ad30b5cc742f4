"""Clusters of a set, on one level and two: the same for any order, any blocks and any number of workers."""

from functools import partial

import numpy as np
import pyarrow as pa
import pytest

from potstill.pipelines.neighbours import pool as module
from potstill.pipelines.neighbours.directions import directions
from potstill.pipelines.neighbours.kmeans import Centroids
from potstill.pipelines.neighbours.pool import pool
from potstill.pipelines.rowset import RowSet, in_order
from potstill.pipelines.rundir import RunDir
from tests.pipelines.neighbours.worlds import Part, angle, column, cut, id_, mixture

ROWS = 1200
VECTORS = mixture(ROWS, width=16)[0].astype(np.float16)
BACKWARDS = np.arange(ROWS)[::-1]
SHUFFLED = np.random.default_rng(5).permutation(ROWS)


def clustered(rows, k=40, seed=0):
    with pool(rows, "v") as found:
        return found.clustered(found.there, k, seed, "c")


def same(one, other):
    return (
        np.array_equal(one.leaves, other.leaves)
        and np.array_equal(one.labels, other.labels)
        and np.array_equal(one.near, other.near, equal_nan=True)
    )


@pytest.fixture(params=["flat", "cells"])
def levels(request, monkeypatch):
    """On one level, and on two."""
    monkeypatch.setattr(module, "FLAT", 1000 if request.param == "flat" else 5)
    monkeypatch.setattr(module, "SAMPLE", 8)


def test_order_and_blocks_change_nothing(levels):
    whole = clustered(cut(VECTORS, np.arange(ROWS), []))
    assert len(whole.leaves) == 40
    assert same(whole, clustered(cut(VECTORS, BACKWARDS, [1, 700, 0, 13])))
    assert same(whole, clustered(cut(VECTORS, SHUFFLED, [100] * 11)))
    assert not same(whole, clustered(cut(VECTORS, SHUFFLED, []), seed=1))


@pytest.mark.ray
def test_workers_change_nothing(levels, ray_session, tmp_path):
    from potstill.pipelines import stream

    here = clustered(cut(VECTORS, np.arange(ROWS), []))
    over = partial(in_order, stream.over_chunks)
    assert same(here, clustered(cut(VECTORS, SHUFFLED, [200] * 4, over=over, scratch=RunDir(tmp_path))))


def test_every_row_is_at_its_nearest_centroid(levels):
    found = clustered(cut(VECTORS, SHUFFLED, [500]))
    cosines = VECTORS.astype(float) @ found.leaves.T.astype(float)
    cosines /= np.linalg.norm(VECTORS.astype(float), axis=1)[:, None]
    np.testing.assert_allclose(cosines[np.arange(ROWS), found.labels], found.near, atol=1e-6)
    assert (cosines.max(axis=1) > found.near + 1e-6).mean() < 0.05


def test_the_length_and_the_number_format_of_vectors_do_not_matter():
    whole = clustered(cut(VECTORS, np.arange(ROWS), []))
    parts = RowSet.of([id_(i) for i in range(ROWS)], v=column(VECTORS.astype(np.float32) * 4, kind=np.float32))
    assert same(whole, clustered(parts))


def test_rows_without_a_direction_are_in_no_cluster():
    vectors = np.array([[1, 0], [0, 0], [np.nan, 1], [np.inf, 0], [0, 2], [3, 0]])
    found = clustered(cut(vectors, [5, 4, 3, 2, 1, 0], [2], missing=[5]), k=2)
    assert (found.labels >= 0).tolist() == [True, False, False, False, True, False]
    assert np.isnan(found.near).tolist() == [False, True, True, True, False, True]
    np.testing.assert_allclose(found.near[[0, 4]], 1, atol=1e-6)


def test_more_clusters_than_rows_are_one_each(levels):
    found = clustered(cut(angle(0, 40, 80, 120, 160, 200, 240), range(7), [3]), k=50)
    assert sorted(found.labels.tolist()) == list(range(7))
    found = clustered(cut(angle(30), [0], []), k=50)
    assert found.labels.tolist() == [0]


def test_a_block_may_have_no_vector_at_all_and_so_no_type(levels):
    whole = cut(VECTORS, np.arange(ROWS), [])
    untyped = Part(pa.table({"sample_id": [id_(ROWS), id_(ROWS + 1)], "v": pa.nulls(2)}))
    found = clustered(RowSet([*cut(VECTORS, np.arange(ROWS), [700]).blocks, untyped]))
    assert np.array_equal(found.labels, [*clustered(whole).labels, -1, -1])


def test_no_rows_and_no_vectors_make_no_clusters():
    assert len(clustered(RowSet.of([], v=column(np.zeros((0, 3))))).labels) == 0
    assert clustered(cut(np.ones((2, 3)), [0, 1], [1], missing=[0, 1])).labels.tolist() == [-1, -1]


def test_a_column_that_holds_no_vectors_or_of_two_widths_is_refused_by_its_name():
    with pytest.raises(ValueError, match="column 'v': a column of vectors holds fixed-size lists of numbers"):
        clustered(RowSet.of([id_(1)], v=["text"]))
    one, other = cut(np.ones((1, 2)), [0], []), cut(np.ones((1, 3)), [0], [])
    with pytest.raises(ValueError, match=r"column 'v' mixes vectors of \('<f2', 2\) and \('<f2', 3\)"):
        clustered(RowSet([one.blocks[0], other.blocks[0]]))


def test_a_partition_has_the_rows_of_its_clusters_and_those_near_the_border():
    rows = cut(angle(0, 10, 44, 46, 80, 90), range(6), [4])
    with pool(rows, "v") as found:
        centroids = Centroids(directions(angle(5, 85)))
        once = found.assign(np.arange(6), centroids, "once", 0, 2)
        twice = found.assign(np.arange(6), centroids, "twice", np.sin(np.deg2rad(5)), 2)
        skipped = found.assign(np.array([3, -1, -1, -1, -1, 7]), centroids, "some", 0, 2)
        keys = [sorted(set(part.read()["key"].tolist())) for part in once.partitions]
        both = [sorted(set(part.read()["key"].tolist())) for part in twice.partitions]
        assert sorted(keys) == [[0, 1, 2], [3, 4, 5]]
        assert sorted(both) == [[0, 1, 2, 3], [2, 3, 4, 5]]
        assert sorted(part.read()["key"].tolist() for part in skipped.partitions) == [[3], [7]]
        assert skipped.labels.tolist()[1:5] == [-1] * 4
