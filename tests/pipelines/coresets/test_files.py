"""Parquet files that a plan names."""

import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from potstill.pipelines.coresets.files import digest, matrix, parquet_files


def write(path, value=1):
    pq.write_table(pa.table({"a": [value]}), path)


def test_a_file_or_a_folder_of_files_by_name(tmp_path):
    for name in ("b.parquet", "a.parquet", "notes.txt"):
        write(tmp_path / name)
    assert [file.name for file in parquet_files(str(tmp_path))] == ["a.parquet", "b.parquet"]
    assert parquet_files(str(tmp_path / "b.parquet")) == [tmp_path / "b.parquet"]


def test_a_path_without_files_is_refused_with_its_name(tmp_path):
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(FileNotFoundError, match=str(path)):
            parquet_files(str(path))


def test_the_digest_follows_the_content_and_not_the_time(tmp_path):
    file = tmp_path / "a.parquet"
    write(file)
    before = digest(str(file))
    os.utime(file, (1, 1))
    assert digest(str(file)) == before
    write(file, 2)
    assert digest(str(file)) != before


@pytest.mark.parametrize("kind", [pa.list_(pa.float32()), pa.large_list(pa.float64()), pa.list_(pa.float16(), 2)])
def test_lists_of_any_kind_are_a_matrix(kind):
    values = np.array([[1, 2], [3, 4]], np.float16)
    column = pa.array([list(row) for row in values], kind)
    assert matrix(pa.chunked_array([column.slice(0, 1), column.slice(1, 1)])).tolist() == [[1, 2], [3, 4]]
    assert matrix(column[:0]).shape[0] == 0


def test_ragged_null_and_plain_columns_are_refused():
    with pytest.raises(ValueError, match=r"these have \[1, 2\]"):
        matrix(pa.array([[1.0], [1.0, 2.0]]))
    with pytest.raises(ValueError, match="None"):
        matrix(pa.array([[1.0], None]))
    with pytest.raises(ValueError, match="int64"):
        matrix(pa.array([1]))
