import io
import json
import tarfile

import pyarrow as pa
import pytest

from potstill.pipelines.rundir import RunDir
from potstill.pipelines.sinks.webdataset import WebDatasetTars
from potstill.pipelines.sources.webdataset import WebDataset
from tests.pipelines.sinks.rows import HOSTILE, kept


@pytest.fixture
def run(tmp_path):
    return RunDir(tmp_path / "run")


def members(run, name="webdataset/part-00000.tar"):
    with tarfile.open(fileobj=io.BytesIO(run.read_bytes(name))) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}


def test_each_sample_is_a_picture_a_text_and_numbers(run):
    table = kept(2)
    WebDatasetTars().write_part(run, 0, table)
    found = members(run)
    assert list(found) == ["s0000.jpg", "s0000.txt", "s0000.json", "s0001.png", "s0001.txt", "s0001.json"]
    assert found["s0000.jpg"] == table["image"][0].as_py()
    assert found["s0000.txt"] == b"caption 0"
    numbers = json.loads(found["s0000.json"])
    assert numbers["clip_score"] == 0.25
    assert numbers["licence"] == "CC-BY-4.0"
    assert not {"image", "clip_embedding"} & set(numbers)


def test_columns_and_embeddings_can_be_chosen(run):
    WebDatasetTars(columns=("caption", "image")).write_part(run, 0, kept(1))
    assert json.loads(members(run)["s0000.json"]) == {"caption": "caption 0"}
    WebDatasetTars(embeddings=True).write_part(run, 0, kept(1))
    assert json.loads(members(run)["s0000.json"])["clip_embedding"] == [0.5] * 4


def test_without_a_caption_the_text_is_question_and_answer(run):
    table = kept(1).set_column(kept(1).column_names.index("caption"), "caption", pa.nulls(1, pa.string()))
    WebDatasetTars().write_part(run, 0, table)
    assert members(run)["s0000.txt"] == b"question 0\nanswer 0"


def test_the_same_rows_give_the_same_bytes_at_any_time(run):
    WebDatasetTars().write_part(run, 0, kept(3))
    first = run.read_bytes("webdataset/part-00000.tar")
    WebDatasetTars().write_part(run, 0, kept(3))
    assert run.read_bytes("webdataset/part-00000.tar") == first


def test_what_is_written_is_read_again_by_our_own_source(run):
    table = kept(5, captions=HOSTILE)
    WebDatasetTars().write_part(run, 0, table)
    source = WebDataset(path=run.path("webdataset"))
    rows = [row for item in source.items(2, 1 << 20) for row in source.read(item)]
    assert [row.image for row in rows] == table["image"].to_pylist()
    assert [row.caption for row in rows] == [HOSTILE] * 5
    assert [row.response for row in rows] == table["response"].to_pylist()


def test_a_run_again_removes_parts_that_are_gone(run):
    sink = WebDatasetTars()
    for chunk in (0, 1, 2):
        sink.write_part(run, chunk, kept(1))
    sink.write_part(run, 1, kept(0))
    sink.finish(run, [0, 1], {})
    assert run.list("webdataset") == ["part-00000.tar"]


def test_a_hash_is_written_in_hex(run):
    hashes = pa.array([bytes([1, 255]), None], pa.binary(2))
    WebDatasetTars().write_part(run, 0, kept(2).append_column("phash", hashes))
    found = members(run)
    assert [json.loads(found[f"s000{row}.json"])["phash"] for row in (0, 1)] == ["01ff", None]
