"""The content hash: blind to order and chunks, awake to every value. The product's columns and types."""

import random

import numpy as np
import pyarrow as pa
import pytest

from potstill.pipelines import chunk
from potstill.pipelines.product import content_sum, product_rows, product_schema
from potstill.pipelines.rundir import RunDir
from tests.pipelines.test_chunk import commit, images, load, plan

HALF = pa.list_(pa.float16(), 2)
TABLE = pa.table(
    {
        "sample_id": ["a", "b", "c", "d"],
        "source": ["p", "q", "r", "s"],
        "image": [b"1", b"2", b"3", b"4"],
        "text": ["", None, "x", "y"],
        "n": pa.array([0, None, 2, 3], pa.int32()),
        "score": pa.array([0.0, None, float("nan"), 0.5], pa.float32()),
        "half": pa.array([0.0, None, 2.0, 0.5], pa.float16()),
        "flag": [False, None, True, True],
        "vector": pa.array([[0, 0], None, [1, 2], [3, 4]], HALF),
        "many": pa.array([[], None, [1], [1, 2]], pa.list_(pa.int64())),
        "words": pa.array([["ab", "c"], None, ["a", "bc"], ["", "x"]], pa.list_(pa.string(), 2)),
    }
)
WHOLE = content_sum(TABLE)


def test_the_order_of_rows_and_columns_and_the_division_into_chunks_do_not_change_it():
    order = random.Random(0).sample(range(4), 4)
    assert content_sum(TABLE.take(order)) == WHOLE
    assert content_sum(TABLE.select(TABLE.column_names[::-1])) == WHOLE
    for at in range(5):
        parts = [TABLE.slice(0, at), TABLE.slice(at)]
        assert sum(content_sum(part) for part in parts) % 2**128 == WHOLE
        assert content_sum(pa.concat_tables(parts)) == WHOLE


def test_a_value_is_the_same_wherever_it_stands_in_memory():
    middle = TABLE.slice(1, 2)
    fresh = pa.table(middle.to_pydict(), schema=TABLE.schema)
    assert content_sum(middle) == content_sum(fresh) == content_sum(middle.take([0, 1]))


@pytest.mark.parametrize("name", [name for name in TABLE.column_names if name not in ("source", "image")])
def test_any_other_value_in_any_row_changes_it(name):
    field, column = TABLE.schema.field(name), TABLE[name].to_pylist()
    lists = {str(column): column}
    for row in range(4):
        for other in range(4):
            changed = [*column[:row], column[other], *column[row + 1 :]]
            lists[str(changed)] = changed
    index = TABLE.column_names.index(name)
    sums = {content_sum(TABLE.set_column(index, field, pa.array(values, field.type))) for values in lists.values()}
    assert len(sums) == len(lists) == (9 if name == "flag" else 13)
    assert WHOLE in sums


def test_null_zero_and_empty_are_three_things():
    for kind, values in {
        pa.string(): [None, ""],
        pa.int32(): [None, 0],
        pa.float32(): [None, 0.0],
        HALF: [None, [0, 0]],
    }.items():
        a, b = (content_sum(pa.table({"x": pa.array([value], kind)})) for value in values)
        assert a != b


def test_a_value_does_not_run_over_into_the_next_column_or_row():
    def of(**columns):
        return content_sum(pa.table(columns))

    assert len({of(a=["x"], b=["yz"]), of(a=["xy"], b=["z"]), of(a=["xyz"], b=[""]), of(a=["yz"], b=["x"])}) == 4
    assert of(a=["x", "y"], b=["1", "2"]) != of(a=["x", "y"], b=["2", "1"])


def test_a_row_more_or_twice_changes_it_and_no_rows_are_zero():
    assert content_sum(TABLE.slice(0, 0)) == 0
    assert len({WHOLE, content_sum(TABLE.slice(0, 3)), content_sum(pa.concat_tables([TABLE, TABLE.slice(0, 1)]))}) == 3


def test_the_place_a_picture_came_from_is_no_content():
    assert content_sum(TABLE.set_column(1, "source", pa.array(["z"] * 4))) == WHOLE
    assert content_sum(TABLE.drop_columns(["image"])) == WHOLE


@pytest.fixture
def run(tmp_path):
    run = RunDir(tmp_path)
    run.write_table("images/chunk-00000.parquet", images(("a", None, 0), ("b", "t", 0)))
    run.write_table("images/chunk-00001.parquet", images(("c", None, 0)))
    return run


def test_the_product_has_the_input_columns_then_those_of_the_stages_in_their_order(run):
    made = plan({"kind": "toy"}, {"kind": "gate"})
    commit(run, made, load(run, made), toy=[1, 2], _done_toy=[True, True])
    to = product_schema(run, made, made.fingerprints(), [0, 1])
    assert to.names[0] == "sample_id"
    assert to.names[-2:] == ["toy", "gate_reason"]
    rows = product_rows(run, made, made.fingerprints(), 0, [], np.array([False, True]), to)
    assert rows["image_id"].to_pylist() == ["b"]
    assert (rows["toy"].to_pylist(), rows["gate_reason"].to_pylist(), rows["caption"].to_pylist()) == (
        [2],
        [None],
        ["t"],
    )
    assert rows.schema == to


def clip(model):
    return plan({"kind": "clip_score", "model": model})


def embed(run, made, index, dim):
    prints = made.fingerprints()
    table = chunk.load(run, made, prints, index, []).select(["sample_id", "image_id", "row", "error"])
    vectors = pa.array([[float(n)] * dim for n in range(table.num_rows)], pa.list_(pa.float16(), dim))
    table = table.append_column("clip_score_image", vectors)
    table = table.append_column("_done_clip_score", pa.array([True] * table.num_rows))
    chunk.commit(run, made, prints, index, table)


def test_the_width_of_an_embedding_is_that_of_the_model_in_the_plan_though_an_older_one_still_lies_about(
    run, monkeypatch
):
    from potstill.pipelines.scorers.clip_score import ClipScore

    monkeypatch.setattr(ClipScore, "identity", lambda self: {})
    embed(run, clip("tiny"), 0, 4)
    embed(run, clip("ViT-B-32"), 1, 8)
    made = clip("ViT-B-32")
    to = product_schema(run, made, made.fingerprints(), [0, 1])
    assert to.field("clip_score_image").type == pa.list_(pa.float16(), 8)
    assert "clip_score_text" not in to.names
    rows = product_rows(run, made, made.fingerprints(), 0, [], np.array([True, True]), to)
    assert rows["clip_score_image"].to_pylist() == [None, None]
