"""Stored embeddings are those of the model for the views that are stored with them."""

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from potstill.models.clip import load_clip
from potstill.models.trainers.pictures import pixels
from potstill.pipelines.scorers.teacher_clip import TeacherClip
from tests.conftest import ROOT

FILES = sorted((ROOT / "samples").glob("*.jpg"))[:4]


@pytest.fixture(scope="module")
def rows():
    images = [Path(file).read_bytes() for file in FILES]
    ids = [f"{n:032x}" for n in range(4)]
    texts = ["a red car", "", "a red car", "two dogs"]
    return pa.table({"sample_id": ids, "image_id": ids, "image": pa.array(images, pa.large_binary()), "caption": texts})


def test_vectors_are_the_models_for_the_stored_views(rows):
    views = {"count": 3, "area": [0.4, 1.0], "flip": 0.5, "seed": 1}
    stage = TeacherClip(name="teacher", text=["caption"], views=views, batch_size=5)
    said = stage.build()(rows)
    assert said["error"] == [None] * 4
    clip = load_clip("tiny")
    about = json.loads(said["teacher_about"][0])
    drawn = said["teacher_views"].to_pylist()
    for row in range(4):
        data = rows["image"][row].as_py()
        cut = [torch.from_numpy(pixels(data, about["size"], view).copy()) for view in drawn[row]]
        wanted = clip.embed(cut).numpy()
        found = said["teacher_image"][row].reshape(3, about["width"])
        assert np.allclose(found, wanted, atol=2e-3)
    assert np.allclose(said["teacher_text"][3], clip.encode_texts(["two dogs"])[0], atol=2e-3)
    assert said["teacher_text"][1] is None
    assert np.array_equal(said["teacher_text"][0], said["teacher_text"][2])
    assert about["scale"] == pytest.approx(float(clip.model.logit_scale.exp().item()))
    other = TeacherClip(name="teacher", text=["caption"], views=views | {"seed": 2}).build()(rows)
    assert other["teacher_views"].to_pylist() != drawn


def test_a_picture_that_does_not_decode_is_an_error_of_its_row(rows):
    images = [rows["image"][0].as_py(), b"", rows["image"][2].as_py(), io.BytesIO(b"\xff\xd8").getvalue()]
    bad = rows.set_column(2, "image", pa.array(images, pa.large_binary()))
    said = TeacherClip(name="teacher", text=["caption"]).build()(bad)
    assert [error is None for error in said["error"]] == [True, False, True, False]
    assert said["teacher_image"][1] is None and said["teacher_about"][3] is None
    every = TeacherClip(name="teacher", text=["caption"]).build()(bad.take([1, 3]))
    assert all(isinstance(error, OSError) for error in every["error"])
