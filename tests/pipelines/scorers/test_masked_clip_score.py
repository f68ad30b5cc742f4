"""Writing painted over: the colour by hand, and captions that are only read off the picture."""

import io

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from potstill.pipelines.scorers.clip_score import ClipScore
from potstill.pipelines.scorers.masked_clip_score import MaskedClipScore, paint_over


def test_a_box_gets_the_mean_colour_of_the_frame_around_it():
    pixels = np.full((8, 8, 3), 100, np.uint8)
    pixels[2:6, 2:6] = 255
    pixels[1, 1:7] = 40
    painted = np.asarray(paint_over(Image.fromarray(pixels), [(0.25, 0.25, 0.75, 0.75)]))
    frame = (6 * 40 + 14 * 100) / 20
    assert (painted[2:6, 2:6] == round(frame)).all()
    assert (painted[:2] == pixels[:2]).all()


def test_a_box_that_covers_everything_gets_its_own_mean():
    pixels = np.array([[[0, 0, 0], [200, 100, 50]]], np.uint8)
    assert (np.asarray(paint_over(Image.fromarray(pixels), [(0, 0, 1, 1)])) == [100, 50, 25]).all()


def png(image):
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def rows(places, *images):
    ids = [f"masked{number}" for number in range(len(images))]
    data = pa.array([png(image) for image in images], pa.large_binary())
    table = pa.table({"sample_id": ids, "image_id": ids, "image": data, "caption": ["a red square"] * len(ids)})
    scored = ClipScore(text=("caption",)).build()(table)
    for name in ("clip_score", "clip_score_text"):
        table = table.append_column(name, scored[name])
    return table.append_column("text_area_places", pa.array(places, pa.list_(pa.list_(pa.float32(), 4))))


def test_only_pictures_with_writing_are_scored_anew():
    red, blue = Image.new("RGB", (64, 64), "red"), Image.new("RGB", (64, 64), "blue")
    striped = red.copy()
    striped.paste(blue.resize((32, 32)), (16, 16))
    table = rows([None, [], [[0.25, 0.25, 0.75, 0.75]]], red, striped, striped)
    scores = MaskedClipScore().build()(table)["masked_clip_score"]
    before = table["clip_score"].to_pylist()
    assert scores[:2] == before[:2]
    assert scores[2] == pytest.approx(before[0], abs=2e-3)
    assert scores[2] != pytest.approx(before[2], abs=1e-3)


def test_a_row_without_text_has_no_score_and_a_broken_picture_costs_its_own_row():
    table = rows([[[0, 0, 1, 1]]], Image.new("RGB", (32, 32), "red"))
    nothing = table.set_column(5, "clip_score_text", pa.nulls(1)).set_column(4, "clip_score", pa.nulls(1, pa.float32()))
    assert list(MaskedClipScore().build()(nothing)["masked_clip_score"]) == [None]
    broken = table.set_column(2, "image", pa.array([b"x"], pa.large_binary()))
    broken = broken.set_column(1, "image_id", pa.array(["masked-broken"]))
    assert isinstance(MaskedClipScore().build()(broken)["error"][0], Exception)
