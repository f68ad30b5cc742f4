"""A teacher that is stored says what a teacher beside the student says, of the very same views."""

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import xxhash
from PIL import Image, ImageDraw

from potstill.config import RequestError
from potstill.models.trainers.classifier_task import load_classifier
from potstill.models.trainers.launch import train, validate_recipe
from potstill.models.trainers.pictures import View, pixels
from potstill.pipelines.scorers.teacher_classes import TeacherClasses

SHAPES = ("disc", "square", "cross")
VIEW = {"area": [0.5, 1.0], "flip": 0.5}


def picture(rng, shape):
    side, at = 40, int(rng.integers(4, 14))
    image = Image.new("RGB", (side, side + 8), tuple(int(x) for x in rng.integers(0, 90, 3)))
    pen, box = ImageDraw.Draw(image), (at, at, at + 20, at + 20)
    colour = tuple(int(x) for x in rng.integers(150, 256, 3))
    if shape == "disc":
        pen.ellipse(box, fill=colour)
    elif shape == "square":
        pen.rectangle(box, fill=colour)
    else:
        pen.line((at, at, at + 20, at + 20), fill=colour, width=5)
        pen.line((at, at + 20, at + 20, at), fill=colour, width=5)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    labels = [SHAPES[k] for k in rng.integers(0, 3, 24)]
    images = [picture(rng, label) for label in labels]
    ids = [xxhash.xxh3_128_hexdigest(data) for data in images]
    return pa.table({"sample_id": ids, "image_id": ids, "image": pa.array(images, pa.large_binary()), "label": labels})


def recipe(folder, **changes):
    base = {
        "kind": "classifier",
        "data": {"path": str(folder), "window": 24},
        "network": {"architecture": "resnet10t", "size": 32},
        "classes": list(SHAPES),
        "losses": [{"kind": "cross_entropy"}],
        "batch_size": 12,
        "steps": 4,
        "saving": {"log_every": 1},
    }
    return validate_recipe(base | changes, "recipe")


@pytest.fixture(scope="module")
def folder(rows, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    pq.write_table(rows, folder / "rows.parquet")
    return folder


@pytest.fixture(scope="module")
def teacher(folder, tmp_path_factory):
    return train(recipe(folder), str(tmp_path_factory.mktemp("teacher")))["model"]


def stored(rows, teacher, folder, **settings):
    stage = TeacherClasses(name="teacher", model=teacher, top_k=2, views={"count": 2, "seed": 3, **VIEW}, **settings)
    written = stage.build()(rows)
    assert written.pop("error") == [None] * rows.num_rows
    kinds = stage.writes()
    for name, values in written.items():
        rows = rows.append_column(name, pa.array(values, kinds[name]))
    folder.mkdir(exist_ok=True)
    pq.write_table(rows, folder / "rows.parquet")
    return folder


def losses(out):
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [(line.get("loss/topk_kl", line.get("loss/kd")), line["grad/norm"]) for line in lines]


def test_replayed_views_give_the_loss_of_a_teacher_that_is_there(rows, folder, teacher, tmp_path):
    """With all classes but one kept, and the last as the rest, nothing is lost but float16's rounding."""
    kept = stored(rows, teacher, tmp_path / "store", batch_size=7)
    replayed = {"losses": [{"kind": "topk_kl", "mask": "all"}], "teacher_columns": "teacher"}
    train(recipe(kept, **replayed, seed=3), str(tmp_path / "replayed"))
    there = {"losses": [{"kind": "kd", "temperature": 1.0}], "teacher": teacher, "view": VIEW}
    train(recipe(folder, **there, seed=3), str(tmp_path / "there"))
    one, two = losses(tmp_path / "replayed"), losses(tmp_path / "there")
    assert len(one) == len(two) == 4
    assert np.allclose(one, two, rtol=1e-2)


def test_views_are_those_of_the_seed_and_stand_in_the_rows(rows, teacher, tmp_path):
    table = pq.read_table(stored(rows, teacher, tmp_path / "store") / "rows.parquet").to_pylist()
    for row in table:
        size = Image.open(io.BytesIO(row["image"])).size
        drawn = [View(**VIEW).draw(3, row["sample_id"], epoch, *size) for epoch in (1, 2)]
        assert [{"box": list(d["box"]), "flip": d["flip"]} for d in drawn] == row["teacher_views"]
    assert len({json.dumps(row["teacher_views"]) for row in table}) == 24


def test_numbers_are_those_of_the_model(rows, teacher, tmp_path):
    table = pq.read_table(stored(rows, teacher, tmp_path / "store", temperature=2.0) / "rows.parquet")
    model, _ = load_classifier(Path(teacher))
    row = table.to_pylist()[5]
    for view in range(2):
        x = torch.from_numpy(pixels(row["image"], 32, row["teacher_views"][view]).copy()).permute(2, 0, 1)[None]
        with torch.no_grad():
            logp, idx = (model.eval()(x)[0] / 2.0).log_softmax(-1).topk(2)
        assert row["teacher_idx"][view * 2 : view * 2 + 2] == idx[0].tolist()
        assert row["teacher_logp"][view * 2 : view * 2 + 2] == pytest.approx(logp[0].tolist(), rel=2e-3)


def test_a_picture_that_does_not_decode_is_an_error_of_its_row(rows, teacher):
    bad = rows.slice(0, 3).set_column(
        2, "image", pa.array([rows["image"][0].as_py(), b"no picture", rows["image"][2].as_py()], pa.large_binary())
    )
    written = TeacherClasses(name="teacher", model=teacher, top_k=2).build()(bad)
    assert [error is None for error in written["error"]] == [True, False, True]
    good = TeacherClasses(name="teacher", model=teacher, top_k=2).build()(rows.slice(2, 1))
    assert written["teacher_idx"][1] is None
    assert written["teacher_idx"][2].tolist() == good["teacher_idx"][0].tolist()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda t: t.set_column(
                t.column_names.index("teacher_about"), "teacher_about", pa.array([None] * 24, pa.string())
            ),
            "24 of 24 rows have nothing in teacher_about",
        ),
        (
            lambda t: t.set_column(
                t.column_names.index("teacher_about"),
                "teacher_about",
                pa.array(['{"a": 1}', *t["teacher_about"].to_pylist()[1:]]),
            ),
            "differs between rows",
        ),
        (lambda t: t.drop_columns(["teacher_logp"]), "has no column 'teacher_logp'"),
        (
            lambda t: t.set_column(
                t.column_names.index("teacher_logp"), "teacher_logp", pa.array([[0.0] * 4] * 24, pa.list_(pa.float16()))
            ),
            "is no log-probability: the best 2 classes of a row sum to 2",
        ),
    ],
)
def test_a_store_that_is_not_whole_is_refused(rows, teacher, tmp_path, spoil, message):
    kept = stored(rows, teacher, tmp_path / "store")
    pq.write_table(spoil(pq.read_table(kept / "rows.parquet")), kept / "rows.parquet")
    plan = {"losses": [{"kind": "topk_kl", "mask": "all"}], "teacher_columns": "teacher"}
    with pytest.raises(RequestError, match=message):
        train(recipe(kept, **plan), str(tmp_path / "out"))


def test_other_classes_or_another_size_than_the_stored_are_refused(rows, teacher, tmp_path):
    kept = stored(rows, teacher, tmp_path / "store")
    plan = {"losses": [{"kind": "topk_kl", "mask": "all"}], "teacher_columns": "teacher"}
    with pytest.raises(RequestError, match="was stored with classes"):
        train(recipe(kept, **plan, classes=["square", "disc", "cross"]), str(tmp_path / "a"))
    with pytest.raises(RequestError, match="was stored with size 32, and the recipe has 48"):
        train(recipe(kept, **plan, network={"architecture": "resnet10t", "size": 48}), str(tmp_path / "b"))


def test_more_classes_than_the_model_has_are_refused(teacher, tmp_path):
    with pytest.raises(RequestError, match="top_k 3 of a model with 3 classes"):
        TeacherClasses(name="teacher", model=teacher, top_k=3).build()
    with pytest.raises(RequestError, match=r"holds no config\.json"):
        TeacherClasses(name="teacher", model=str(tmp_path)).identity()
