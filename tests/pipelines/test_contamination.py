"""What of an evaluation set is too close to a row."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from potstill.pipelines.contamination import Matches, closest, equal, similar
from potstill.pipelines.rowset import RowSet


def low(*counts):
    """Hashes of 64 bits with the lowest so many set; two of them differ in the difference of their counts."""
    return pa.array([None if n is None else ((1 << n) - 1).to_bytes(8, "little") for n in counts], pa.binary(8))


def test_equal_keys_match_the_first_and_null_matches_nothing():
    others = pa.chunked_array([["b", None], ["a", "b"]])
    assert equal(pa.array(["a", "b", None, "c"]), others).tolist() == [2, 0, -1, -1]
    assert equal(pa.nulls(2), others).tolist() == [-1, -1]
    with pytest.raises(ValueError, match="its key is string, that of the rows int64"):
        equal(pa.array([1]), others)


def test_the_nearest_hash_within_the_limit_matches_and_plain_ones_do_not():
    at, apart = similar(low(20, 30, 40, None, 3), pa.chunked_array([low(22, 20), low(36, 2)]), 5, 10)
    assert at.tolist() == [1, -1, 2, -1, -1]
    assert apart.tolist() == [0, -1, 4, -1, -1]


def test_hashes_of_another_width_are_refused():
    wide = pa.chunked_array([pa.array([b"\xff" * 16], pa.binary(16))])
    with pytest.raises(ValueError, match="its hashes have 128 bits, those of the rows 64"):
        similar(low(20), wide, 5, 1)


VECTOR = pa.list_(pa.float32(), 2)


def evaluation_of(tmp_path, vectors, width=2):
    file = tmp_path / "set.parquet"
    pq.write_table(pa.table({"v": pa.array(vectors, pa.list_(pa.float32(), width))}), file)
    return str(file)


def test_the_largest_cosine_is_found_and_rows_without_a_direction_have_none(tmp_path):
    url = evaluation_of(tmp_path, [None, [0, 3], [0, 0], [1, 1], [5, 0]])
    rows = RowSet.of(["d", "c", "b", "a"], v=pa.array([[2, 0], None, [0, 0], [3, 4]], VECTOR))
    at, cosine = closest(rows, "v", url)
    assert at.tolist() == [3, -1, -1, 4]
    np.testing.assert_allclose(cosine, [7 / np.sqrt(50), np.nan, np.nan, 1], atol=1e-6)


def test_vectors_of_another_width_are_refused(tmp_path):
    url = evaluation_of(tmp_path, [[1, 2, 3]], width=3)
    with pytest.raises(ValueError, match="its vectors have 3 numbers, those of the rows 2"):
        closest(RowSet.of(["a"], v=pa.array([[2, 0]], VECTOR)), "v", url)


def test_the_first_match_of_a_row_stands():
    matches = Matches.none(3)
    matches.add(np.array([4, -1, -1]), np.array([True, False, False]), "one")
    matches.add(np.array([5, 6, 7]), np.array([True, True, False]), "two")
    assert (matches.at.tolist(), matches.reasons.tolist()) == ([4, 6, -1], ["one", "two", None])
