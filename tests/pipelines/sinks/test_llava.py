import json

import pyarrow as pa
import pytest

from potstill.pipelines.rundir import RunDir
from potstill.pipelines.sinks.llava import Llava
from potstill.pipelines.sources.jsonl import Jsonl
from tests.pipelines.sinks.rows import HOSTILE, kept


@pytest.fixture
def run(tmp_path):
    return RunDir(tmp_path / "run")


def fill(run, parts):
    for chunk, table in parts.items():
        Llava().write_part(run, chunk, table)
    Llava().finish(run, list(parts), {})
    return run.read_json("llava/llava.json")


def test_records_have_id_image_and_a_conversation_and_images_lie_beside(run):
    table = kept(2)
    first, second = fill(run, {0: table})
    names = [
        f"images/{id}.{extension}" for id, extension in zip(table["image_id"].to_pylist(), ("jpg", "png"), strict=True)
    ]
    assert first == {
        "id": "s0000",
        "image": names[0],
        "conversations": [
            {"from": "human", "value": "<image>\nquestion 0"},
            {"from": "gpt", "value": "answer 0"},
        ],
    }
    assert second["image"] == names[1]
    assert [run.read_bytes(f"llava/{name}") for name in names] == table["image"].to_pylist()


def test_parts_are_joined_in_the_order_of_chunks_and_are_read_again_by_our_own_source(run):
    table = kept(5)
    fill(run, {3: table.slice(3), 0: table.slice(0, 3)})
    source = Jsonl(path=run.path("llava/llava.json"))
    rows = [row for item in source.items(2, 1 << 20) for row in source.read(item)]
    assert [row.instruction for row in rows] == [f"question {number}" for number in range(5)]
    assert [row.image for row in rows] == table["image"].to_pylist()


def test_a_row_without_a_question_shows_its_caption(run):
    table = kept(1)
    for name in ("instruction", "response"):
        table = table.set_column(table.column_names.index(name), name, pa.nulls(1, pa.string()))
    (record,) = fill(run, {0: table})
    assert [turn["value"] for turn in record["conversations"]] == ["<image>", "caption 0"]


def test_a_run_again_removes_records_and_pictures_that_are_gone(run):
    fill(run, {0: kept(2), 1: kept(1, start=2)})
    Llava().write_part(run, 1, kept(0))
    Llava().finish(run, [0], {})
    assert len(run.read_json("llava/llava.json")) == 2
    assert len(run.list("llava/images")) == 2
    assert fill(run, {0: kept(0)}) == []
    assert run.list("llava/images") == []


def test_one_picture_of_two_samples_is_written_once(run):
    table = pa.concat_tables([kept(1), kept(1)])
    assert len(fill(run, {0: table})) == 2
    assert len(run.list("llava/images")) == 1


def test_hostile_text_stays_data(run):
    table = kept(1).set_column(kept(1).column_names.index("instruction"), "instruction", pa.array([HOSTILE]))
    (record,) = fill(run, {0: table})
    assert record["conversations"][0]["value"] == f"<image>\n{HOSTILE}"
    assert json.loads(run.read_bytes("llava/part-00000.jsonl")) == record
