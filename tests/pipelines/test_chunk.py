"""Chunks: how input is cut, which rows become samples, what of an earlier run still stands."""

import json

import numpy as np
import pyarrow as pa
import pytest

from potstill.config import RequestError
from potstill.pipelines import chunk, schema
from potstill.pipelines.chunk import ConservationError
from potstill.pipelines.rundir import RunDir
from potstill.pipelines.sources.base import Item
from tests.toys import ToyPlan


def plan(*stages, **settings):
    tree = {"source": {"kind": "folder", "path": "/somewhere"}, "stages": list(stages)}
    return ToyPlan.model_validate(tree | settings)


def item(key, rows=1, size=10, version="v"):
    return Item(key=key, version=version, rows=rows, bytes=size)


def cut(items, known=None, **limits):
    return chunk.cut(plan(run=limits), items, known or {})


def keys(chunks):
    return {part.index: "".join(each.key for each in part.items) for part in chunks}


def test_items_fill_chunks_in_order_up_to_the_row_limit():
    chunks = cut([item(key) for key in "abcdefg"], chunk_rows=3)
    assert keys(chunks) == {0: "abc", 1: "def", 2: "g"}
    assert [part.rows for part in chunks] == [3, 3, 1]
    assert (chunks[2].images, chunks[2].samples) == ("images/chunk-00002.parquet", "samples/chunk-00002.parquet")


def test_items_fill_chunks_up_to_the_byte_limit_and_a_larger_one_stands_alone():
    items = [item("a", size=600), item("b", size=400), item("c", size=1), item("d", size=5000), item("e", size=1)]
    assert keys(cut(items, chunk_bytes=1024)) == {0: "abc", 1: "d", 2: "e"}


def test_an_item_of_many_rows_is_never_split():
    assert keys(cut([item("a", 2), item("b", 5), item("c", 2), item("d", 1)], chunk_rows=3)) == {
        0: "a",
        1: "b",
        2: "cd",
    }


def test_no_items_make_no_chunks():
    assert cut([]) == []


def test_known_items_keep_their_chunk_and_new_ones_fill_new_chunks_even_when_there_is_room():
    known = {"b": 0, "d": 0, "f": 4}
    assert keys(cut([item(key) for key in "abcdefg"], known, chunk_rows=2)) == {0: "bd", 4: "f", 5: "ac", 6: "eg"}


def test_items_that_have_gone_leave_their_chunk_and_its_number_is_not_used_again():
    assert keys(cut([item("a"), item("z")], {"a": 0, "b": 0, "c": 7})) == {0: "a", 8: "z"}


def digest(items, **settings):
    return chunk.cut(plan(**settings), items, {})[0].digest


def test_a_digest_changes_with_what_the_input_rows_depend_on_and_with_nothing_else():
    base = digest([item("a")])
    assert digest([item("a")], run={"chunk_rows": 3, "max_error_fraction": 1}, seed=3, name="x") == base
    assert digest([item("a")], source={"kind": "folder", "path": "/moved"}) == base
    assert digest([item("a")], intake={"samples_per_image": 3}) == base
    others = [
        digest([item("a", version="w")]),
        digest([item("a", rows=2)]),
        digest([item("b")]),
        digest([item("a"), item("b")]),
        digest([item("a")], intake={"min_side": 3}),
        digest([item("a")], source={"kind": "folder", "path": "/somewhere", "sidecars": False}),
    ]
    assert len({base, *others}) == 7


def test_the_manifest_comes_back_and_another_source_is_refused(tmp_path):
    run = RunDir(tmp_path)
    assert chunk.read_manifest(run) == {}
    chunks = cut([item(key) for key in "abc"], chunk_rows=2)
    chunk.write_manifest(run, chunks)
    assert chunk.read_manifest(run) == {"a": 0, "b": 0, "c": 1}
    chunk.check_same_source(run, {"a": 0}, chunks)
    chunk.check_same_source(run, {}, chunks)
    with pytest.raises(RequestError, match=r"holds a run over other input .2 items, such as 'x'."):
        chunk.check_same_source(run, {"x": 0, "y": 0}, chunks)


def images(*rows):
    """Rows of (image id, caption, whether it is bad)."""
    error = {"stage": "intake", "type": "X", "message": "m", "attempts": 1}
    records = [
        {"image_id": id_, "source": f"s{n}", "caption": caption, "error": error if bad else None, "image": b"x"}
        for n, (id_, caption, bad) in enumerate(rows)
    ]
    return pa.Table.from_pylist(records, schema=schema.IMAGES)


def test_a_skeleton_has_the_good_rows_once_each_and_their_place_among_the_images():
    table = chunk.skeleton(images(("a", None, 0), ("b", None, 1), ("a", None, 0), ("c", "t", 0)), [2], 1)
    assert table["image_id"].to_pylist() == ["a", "c"]
    assert table["row"].to_pylist() == [0, 3]
    assert len(set(table["sample_id"].to_pylist())) == 2


def test_several_samples_of_a_row_stand_together_with_ids_of_their_own():
    table = chunk.skeleton(images(("a", None, 0), ("b", None, 0)), [], 3)
    assert table["row"].to_pylist() == [0, 0, 0, 1, 1, 1]
    assert len(set(table["sample_id"].to_pylist())) == 6
    one = chunk.skeleton(images(("a", None, 0), ("b", None, 0)), [], 1)
    assert one["sample_id"].to_pylist() == table["sample_id"].to_pylist()[::3]


def test_a_sample_id_is_of_the_content_alone():
    def ids(*rows):
        return chunk.skeleton(images(*rows), [], 1)["sample_id"].to_pylist()

    a, b = ids(("a", None, 0), ("b", "t", 0))
    assert ids(("b", "t", 0), ("z", None, 1), ("a", None, 0)) == [b, a]
    assert len({a, *ids(("a", "", 0), ("a", "t", 0), ("t", "a", 0))}) == 4


def test_no_good_rows_make_an_empty_skeleton():
    assert chunk.skeleton(images(("a", None, 1)), [], 4).num_rows == 0


TOY, GATE = {"kind": "toy"}, {"kind": "gate"}


@pytest.fixture
def stood(tmp_path):
    """A run directory in which a chunk of rows a, b, c went through toy and gate, and b failed in toy."""
    run = RunDir(tmp_path)
    run.write_table("images/chunk-00000.parquet", images(("a", None, 0), ("b", None, 0), ("c", None, 0)))
    made = plan(TOY, GATE)
    table = load(run, made)
    error = {"stage": "toy", "type": "E", "message": "m", "attempts": 1}
    commit(run, made, table, toy=[1, None, 3], _done_toy=[True, None, True], gate_reason=["odd", None, None],
           _done_gate=[True, None, True], error=[None, error, None])  # fmt: skip
    return run


def load(run, made, duplicates=(), columns=None):
    return chunk.load(run, made, made.fingerprints(), 0, duplicates, columns)


def commit(run, made, table, **columns):
    kept = table.select(["sample_id", "image_id", "row", "error"])
    for name, values in columns.items():
        array = pa.array(values, schema.ERROR_TYPE) if name == "error" else pa.array(values)
        kept = kept.drop_columns([name]) if name in kept.column_names else kept
        kept = kept.append_column(name, array)
    chunk.commit(run, made, made.fingerprints(), 0, kept)


def test_what_was_committed_is_loaded_with_the_input_columns(stood):
    table = load(stood, plan(TOY, GATE))
    assert table["toy"].to_pylist() == [1, None, 3]
    assert table["gate_reason"].to_pylist() == ["odd", None, None]
    assert [error and error["stage"] for error in table["error"].to_pylist()] == [None, "toy", None]
    assert table["_input_source"].to_pylist() == ["s0", "s1", "s2"]
    assert "_input_image" not in table.column_names
    assert chunk.blocked(table, plan(TOY).stages[0]).tolist() == [False, True, False]


def test_columns_can_be_restricted_and_what_has_run_is_always_told(stood):
    table = load(stood, plan(TOY, GATE), columns=["gate_reason"])
    assert "toy" not in table.column_names
    assert {"gate_reason", "_done_toy", "_done_gate", "error"} <= set(table.column_names)


def test_a_changed_stage_counts_as_not_run_with_its_errors_and_so_does_what_reads_it(stood):
    table = load(stood, plan({**TOY, "offset": 1}, GATE))
    assert not {"toy", "_done_toy", "gate_reason", "_done_gate"} & set(table.column_names)
    assert table["error"].null_count == 3


def test_a_changed_later_stage_leaves_the_earlier_one_and_its_errors(stood):
    table = load(stood, plan(TOY, {"kind": "toy", "name": "other"}, {**GATE, "size": "other"}))
    assert table["toy"].to_pylist() == [1, None, 3]
    assert "gate_reason" not in table.column_names
    assert table["error"].null_count == 2


def test_rows_that_left_or_moved_take_their_columns_along_by_id(stood):
    stood.write_table("images/chunk-00000.parquet", images(("new", None, 0), ("c", None, 0), ("a", None, 0)))
    table = load(stood, plan(TOY, GATE))
    assert table["toy"].to_pylist() == [None, 3, 1]
    assert table["_done_toy"].to_pylist() == [None, True, True]
    assert table["error"].null_count == 3


def test_a_commit_of_one_stage_keeps_the_columns_of_the_others_by_id(stood):
    made = plan(TOY, GATE, {"kind": "toy", "name": "third"})
    table = load(stood, made).take([2, 0, 1])
    commit(stood, made, table, third=[30, 10, None], _done_third=[True, True, None])
    after = load(stood, made)
    assert after["sample_id"].to_pylist() == load(stood, made)["sample_id"].to_pylist()
    assert (after["toy"].to_pylist(), after["third"].to_pylist()) == ([1, None, 3], [10, None, 30])
    assert [error and error["stage"] for error in after["error"].to_pylist()] == [None, "toy", None]
    stored = json.loads(stood.read_schema("samples/chunk-00000.parquet").metadata[chunk.FINGERPRINTS])
    assert stored == made.fingerprints()


def test_a_commit_does_not_keep_what_no_longer_stands(stood):
    made = plan({**TOY, "offset": 1}, GATE)
    commit(stood, made, load(stood, made), toy=[2, 3, 4], _done_toy=[True, True, True])
    table = load(stood, made)
    assert table["toy"].to_pylist() == [2, 3, 4]
    assert "gate_reason" not in table.column_names
    assert table["error"].null_count == 3


def test_the_same_sample_twice_is_refused(stood):
    made = plan(TOY, GATE)
    table = load(stood, made).take([0, 0, 1])
    with pytest.raises(ConservationError, match="chunk 0: 1 samples came twice"):
        commit(stood, made, table)


def test_columns_of_samples_that_are_not_in_the_chunk_are_of_no_effect(stood):
    table = stood.read_table("samples/chunk-00000.parquet")
    foreign = table.set_column(0, "sample_id", pa.array(["x", "y", "z"])).replace_schema_metadata(table.schema.metadata)
    stood.write_table("samples/chunk-00000.parquet", foreign)
    loaded = load(stood, plan(TOY, GATE))
    assert loaded["toy"].null_count == loaded["_done_toy"].null_count == loaded["error"].null_count == 3


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 64])
def test_packed_decisions_come_back(count):
    kept = np.random.default_rng(count).random(count) < 0.5
    assert chunk.unpack(chunk.pack(kept), count).tolist() == kept.tolist()
