"""Evaluation sets on disk: a file, a folder, a run."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from potstill.pipelines import evaluation


def write(path, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)


def test_a_file_a_folder_and_a_run_are_read_with_the_columns_asked_for(tmp_path):
    write(tmp_path / "one.parquet", name=["a"], phash=[b"1"], more=[1])
    write(tmp_path / "two.parquet", name=["b"], phash=[b"2"], more=[2])
    write(tmp_path / "run/samples/chunk-00000.parquet", sample_id=["s2", "s1"], row=[1, 0], phash=[b"2", b"1"])
    write(tmp_path / "run/images/chunk-00000.parquet", caption=["first", "second"])
    (tmp_path / "run/run.json").write_text("{}")
    assert evaluation.load(f"{tmp_path}/two.parquet", ["phash"], "name").to_pydict() == {"phash": [b"2"], "name": ["b"]}
    assert evaluation.load(str(tmp_path), ["phash"], "name")["name"].to_pylist() == ["a", "b"]
    found = evaluation.load(f"{tmp_path}/run", ["phash", "caption"], "sample_id")
    assert found.to_pydict() == {"phash": [b"2", b"1"], "caption": ["second", "first"], "sample_id": ["s2", "s1"]}


def test_the_digest_changes_with_the_content_alone(tmp_path):
    write(tmp_path / "a/one.parquet", name=["a"])
    write(tmp_path / "b/other.parquet", name=["a"])
    write(tmp_path / "c/one.parquet", name=["b"])
    one, same, other = (evaluation.digest(str(tmp_path / name)) for name in "abc")
    assert one == same != other


def test_nothing_to_read_and_missing_columns_are_said(tmp_path):
    with pytest.raises(ValueError, match="no Parquet file at"):
        evaluation.digest(f"{tmp_path}/gone.parquet")
    with pytest.raises(ValueError, match="no Parquet file at"):
        evaluation.files(str(tmp_path))
    write(tmp_path / "one.parquet", name=["a"])
    with pytest.raises(ValueError, match="no column 'phash'; columns there: name"):
        evaluation.load(str(tmp_path), ["phash"], "name")
