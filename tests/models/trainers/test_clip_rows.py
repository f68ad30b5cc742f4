"""Scenes and captions as numbers: what is drawn, what teachers said of it, and what cannot be read."""

import io

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from potstill.config import RequestError
from potstill.models.trainers.clip import ClipRecipe
from potstill.models.trainers.clip_rows import drawn_texts, prepared, vectors
from potstill.models.trainers.parquet import EPOCH
from potstill.models.trainers.pictures import pixels
from potstill.models.trainers.stored import VIEWS, about
from tests.models.trainers.clip_world import recipe, scenes

TEXTS = {"text": ["first", "second"], "more": [["a", None, "b"], ["c"]]}


def rows(epoch=1, **columns):
    count = len(next(iter(columns.values())))
    ids = [f"id{n}" for n in range(count)]
    return pa.table({"sample_id": ids, EPOCH: pa.array([epoch] * count, pa.int64()), **columns})


def at_epoch(table, epoch):
    return table.append_column(EPOCH, pa.array([epoch] * table.num_rows, pa.int64()))


@pytest.fixture(scope="module")
def table():
    return scenes(12, 4)


def made(**changes):
    return ClipRecipe.model_validate(recipe("nowhere", **changes))


def test_each_epoch_draws_one_of_the_captions_by_seed_sample_and_epoch():
    drawn = [drawn_texts(rows(epoch, **TEXTS), ("text", "more"), 5) for epoch in range(1, 41)]
    assert {said[0] for said, _ in drawn} == {"first", "a", "b"}
    assert {(said[0], places[0]) for said, places in drawn} == {("first", 0), ("a", 1), ("b", 3)}
    again = rows(3, **TEXTS)
    assert drawn_texts(again, ("text", "more"), 5) == drawn[2]
    assert drawn_texts(again.take([1, 0]), ("text", "more"), 5)[0] == drawn[2][0][::-1]
    assert any(drawn_texts(rows(epoch, **TEXTS), ("text", "more"), 6) != drawn[epoch - 1] for epoch in range(1, 9))


def test_without_a_seed_it_is_the_first_that_is_not_empty():
    assert drawn_texts(rows(7, text=["", "b"], more=[[" ", "x"], None]), ("text", "more"), None) == (["x", "b"], [2, 0])


def test_a_row_without_a_text_is_named():
    with pytest.raises(ValueError, match="sample id1 has no text in text: leave"):
        drawn_texts(rows(text=["a", " "]), ("text",), 0)


def test_the_vector_is_that_of_the_text_that_was_drawn():
    given = rows(one=[[1.0, 1], [2, 2]], several=[[[3.0, 3], [4, 4]], [[5.0, 5]]])
    assert vectors(given, ("one", "several"), [2, 1]).tolist() == [[4, 4], [5, 5]]
    assert vectors(given, ("one",), [0, 0]).tolist() == [[1, 1], [2, 2]]
    halves = pa.array([[1, 2], [3, 4]], pa.list_(pa.float16(), 2))
    assert vectors(rows(x=halves).slice(1), ("x",), [0]).tolist() == [[3, 4]]
    assert vectors(given, ("one",), [0, 0]).dtype == np.float32


@pytest.mark.parametrize("bad", [None, [], [1.0], [1.0, float("nan")], [float("inf"), 0.0]])
def test_a_row_without_a_sound_embedding_is_named(bad):
    given = rows(x=pa.array([[1.0, 2.0], bad, [3.0, 4.0]], pa.list_(pa.float32())))
    with pytest.raises(ValueError, match="sample id1 has no sound embedding of 2 numbers in x"):
        vectors(given, ("x",), [0, 0, 0])


def test_a_column_that_holds_no_vectors_is_said():
    with pytest.raises(RequestError, match="column 'x' is string"):
        vectors(rows(x=["a"]), ("x",), [0])


def test_pixels_are_those_of_inference_until_a_view_is_asked_for(table):
    plain, data = made(), table["image"][0].as_py()
    one = prepared(plain, at_epoch(table, 1), training=True)
    assert one["pixels"][0].as_py() == np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).tobytes()
    assert len(one["tokens/text"][0]) == 32 and "target" not in one.column_names
    viewed = made(view={"area": [0.3, 0.6]})
    seen = [prepared(viewed, at_epoch(table, epoch), training=True)["pixels"][0].as_py() for epoch in (1, 1, 2)]
    assert seen[0] == seen[1] != seen[2]
    drawn = viewed.view.draw(0, table["sample_id"][0].as_py(), 2, 48, 48)
    assert seen[2] == pixels(data, 48, drawn).tobytes()
    assert prepared(viewed, at_epoch(table, 2), training=False)["pixels"].equals(one["pixels"])


def stored_views(table, flat):
    """Two views of each row with two numbers each."""
    views = [[[10.0 * n, 1], [10.0 * n, 2]] for n in range(table.num_rows)]
    how = [[{"box": [0, 0, 24, 24], "flip": False}, {"box": [8, 8, 40, 40], "flip": True}]] * table.num_rows
    values = pa.array([[x for view in row for x in view] for row in views] if flat else views)
    said = pa.array([[0.5, 0.5]] * table.num_rows)
    return table.append_column("seen", values).append_column("how", pa.array(how, VIEWS)).append_column("said", said)


@pytest.mark.parametrize("flat", [False, True])
def test_stored_views_come_in_turn_with_the_very_view_that_the_student_sees(table, flat):
    stored = stored_views(table, flat)
    told = made(teacher_columns={"image": "seen", "text": "said", "views": "how"})
    tables = [prepared(told, at_epoch(stored, epoch), training=True) for epoch in (1, 2, 3)]
    assert [t["stored/0/image"][1].as_py() for t in tables] == [[10, 1], [10, 2], [10, 1]]
    assert tables[0]["pixels"].equals(tables[2]["pixels"])
    for seen, drawn in zip(tables, stored["how"][1].as_py(), strict=False):
        assert seen["pixels"][1].as_py() == pixels(table["image"][1].as_py(), 48, drawn).tobytes()
    plain = prepared(told, at_epoch(table, 1), training=False)
    assert plain["pixels"].equals(prepared(made(), at_epoch(table, 1), training=True)["pixels"])
    assert "stored/0/image" not in plain.column_names, "evaluation needs no teacher"


def test_teachers_of_other_views_are_refused(table):
    stored = stored_views(table, False)
    other = pa.array([[{"box": [0, 0, 9, 9], "flip": False}] * 2] * table.num_rows, VIEWS)
    told = made(teacher_columns=[{"image": "seen", "text": "said", "views": views} for views in ("how", "other")])
    with pytest.raises(ValueError, match=r"has no views in how, other, or other ones"):
        prepared(told, at_epoch(stored.append_column("other", other), 1), training=True)


def test_a_store_names_its_columns_and_knows_its_factor(table):
    words = about(teacher="x", scale=41.5)
    stored = stored_views(table, True).append_column("teacher_about", pa.array([words] * table.num_rows))
    names = {"seen": "teacher_image", "how": "teacher_views", "said": "teacher_text"}
    stored = stored.rename_columns([names.get(name, name) for name in stored.column_names])
    told = made(teacher_columns="teacher")
    assert set(told.columns()) >= {"teacher_image", "teacher_text", "teacher_views", "teacher_about"}
    assert not set(told.validation_columns()) & set(stored.column_names) - {"sample_id", "image", "caption"}
    ready = prepared(told, at_epoch(stored, 2), training=True)
    assert ready["stored/0/scale"][0].as_py() == 41.5 and ready["stored/0/image"][1].as_py() == [10, 2]
    fixed = prepared(made(teacher_columns={"store": "teacher", "scale": 7}), at_epoch(stored, 2), training=True)
    assert fixed["stored/0/scale"][0].as_py() == 7
    part = stored.set_column(stored.column_names.index("teacher_about"), "teacher_about", [[words] * 11 + [None]])
    with pytest.raises(RequestError, match="1 of 12 rows have nothing in teacher_about"):
        prepared(told, at_epoch(part, 1), training=True)


def test_rows_of_one_value_are_one_group_and_others_alone(table):
    grouped = table.append_column("picture", pa.array(["x", "x", None, None] * 3))
    groups = prepared(made(group="picture"), at_epoch(grouped, 1), training=True)["group"].to_pylist()
    assert groups[0] == groups[1] == groups[4] and len(set(groups)) == 7
    assert len(set(prepared(made(), at_epoch(table, 1), training=True)["group"].to_pylist())) == 12


def test_a_teacher_that_reads_and_sees_otherwise_gets_columns_of_its_own(table):
    told = prepared(made(teacher="tiny"), at_epoch(table, 1), training=True)
    assert len(told["teacher_pixels"][0].as_py()) == 160 * 160 * 3
    assert len(told["teacher_tokens/text"][0]) == 128 and told["teacher_tokens/text"][0][0].as_py() == 101


def test_a_picture_that_does_not_decode_is_named(table):
    broken = table.set_column(1, "image", pa.array([b"no picture"] * table.num_rows))
    with pytest.raises(ValueError, match=f"the picture of sample {table['sample_id'][0]} does not decode"):
        prepared(made(), at_epoch(broken, 1), training=True)


def test_an_unknown_class_is_said(table):
    with pytest.raises(RequestError, match=r"column 'label' holds '\w+', which is not among the 1 classes"):
        prepared(made(classes=["stone"]), at_epoch(table, 1), training=True)
