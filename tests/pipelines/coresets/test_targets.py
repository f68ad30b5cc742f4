"""The ends of a transport: target vectors from files, means of classes, costs."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from potstill.pipelines.coresets.targets import costs, means, read_vectors


def write(path, vectors, name="e"):
    pq.write_table(pa.table({name: pa.array(vectors, pa.list_(pa.float32()))}), path)


def test_vectors_of_all_files_are_read_at_unit_length_and_nulls_left_out(tmp_path):
    write(tmp_path / "a.parquet", [[3, 4], None])
    write(tmp_path / "b.parquet", [[0, 2]])
    assert read_vectors(str(tmp_path), "e") == pytest.approx(np.array([[0.6, 0.8], [0, 1]]))


def test_a_missing_column_other_widths_and_no_vectors_are_refused(tmp_path):
    write(tmp_path / "a.parquet", [[3, 4]])
    with pytest.raises(ValueError, match="no column 'f'; columns: e"):
        read_vectors(str(tmp_path), "f")
    write(tmp_path / "b.parquet", [[3, 4, 5]])
    with pytest.raises(ValueError, match=r"lengths \[2, 3\]"):
        read_vectors(str(tmp_path), "e")
    write(tmp_path / "a.parquet", [None])
    write(tmp_path / "b.parquet", [])
    with pytest.raises(ValueError, match=r"lengths \[\]"):
        read_vectors(str(tmp_path), "e")


def test_means_of_classes_are_of_unit_length_in_the_order_of_their_numbers():
    features = np.array([[1, 0], [0, 1], [0, 1], [0.6, 0.8]], np.float32)
    found, place = means(features, np.array([5, 2, 5, 5]))
    assert place.tolist() == [1, 0, 1, 1]
    assert found == pytest.approx(np.array([[0, 1], np.array([1.6, 1.8]) / np.hypot(1.6, 1.8)]))


def test_rows_that_are_each_their_own_class_are_their_own_means():
    features = np.array([[1, 0], [0, 1]], np.float32)
    found, place = means(features, np.array([1, 0]))
    assert found[place].tolist() == features.tolist()


def test_costs_and_their_limits(tmp_path):
    write(tmp_path / "t", [[1, 0], [0, 2]])
    path = str(tmp_path / "t")
    assert costs(np.array([[1.0, 0], [-1, 0]]), path, "e", 10**6).tolist() == [[0, 1], [2, 1]]
    assert costs(np.zeros((0, 0)), path, "e", 1).shape == (0, 2)
    with pytest.raises(ValueError, match=f"3 numbers, those of {path} 2"):
        costs(np.ones((1, 3)), path, "e", 10**6)
    with pytest.raises(ValueError, match="between 2 points and 2 targets needs 128 bytes, max_bytes allows 127"):
        costs(np.eye(2), path, "e", 127)
