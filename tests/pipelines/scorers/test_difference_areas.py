"""Areas that differ: the grid, the choice by hand, and real pictures that differ in one place."""

from io import BytesIO

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from potstill.pipelines.scorers.boxes import cut, least_alike, overlap, windows
from potstill.pipelines.scorers.difference_areas import DifferenceAreas
from tests.conftest import ROOT


def test_the_grid_covers_the_picture_for_every_side():
    grid = windows([0.5, 1])
    assert len(grid) == 9 + 1
    assert grid[:, :2].min() == 0
    assert grid[:, 2:].max() == 1
    assert grid[0].tolist() == [0, 0, 0.5, 0.5]
    assert grid[1].tolist() == [0.25, 0, 0.75, 0.5]


def test_a_box_in_pixels_is_never_empty():
    assert cut((100, 50), np.array([0.5, 0.5, 1, 1])) == (50, 25, 100, 50)
    assert cut((1, 1), np.array([0.66, 0.66, 1, 1])) == (0, 0, 1, 1)


def test_overlap_by_hand():
    unit = np.array([0, 0, 1, 1.0])
    assert overlap(unit, unit) == 1
    assert overlap(unit, np.array([0.5, 0, 1.5, 1])) == pytest.approx(1 / 3)
    assert overlap(unit, np.array([1, 1, 2, 2.0])) == 0


def test_the_least_alike_come_first_and_push_out_what_overlaps_them():
    boxes = np.array([[0, 0, 2, 2], [1, 0, 3, 2], [4, 4, 6, 6], [8, 8, 9, 9.0]])
    cosines = np.array([0.5, 0.4, 0.6, 0.95])
    assert least_alike(boxes, cosines, 0.9, 0.3) == [1, 2]
    assert least_alike(boxes, cosines, 0.9, 0.4) == [1, 0, 2]
    assert least_alike(boxes, cosines, 0.1, 0.3) == []


def png(image):
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def run(stage, *pairs):
    ids = [f"{index:032x}" for index in range(len(pairs))]
    member_ids = pa.array([[f"{id_}a", f"{id_}b"] for id_ in ids], pa.list_(pa.string()))
    images = pa.array([list(pair) for pair in pairs], pa.list_(pa.binary()))
    columns = {"sample_id": ids, "image_id": ids, "pair.image_id": member_ids, "pair.image": images}
    return stage.build()(pa.table(columns))


def test_a_thing_pasted_into_a_picture_is_found_where_it_is_and_a_copy_differs_nowhere():
    scene = Image.open(sorted((ROOT / "samples").glob("*.jpg"))[0]).convert("RGB").resize((192, 192))
    changed = scene.copy()
    stripes = np.zeros((60, 60, 3), np.uint8)
    stripes[::6] = 255
    changed.paste(Image.fromarray(stripes), (4, 4))
    stage = DifferenceAreas(group="pair", most=1)
    result = run(stage, (png(scene), png(changed)), (png(scene), png(scene)), (png(scene), b"broken"))
    left, top, right, bottom = result["difference_areas_boxes"][0][0]
    assert left < 0.2 and top < 0.2 and right <= 0.7 and bottom <= 0.7
    assert result["difference_areas_cosines"][0][0] < 0.85
    assert list(result["difference_areas_count"]) == [1, 0, None]
    assert [error is not None for error in result["error"]] == [False, False, True]


def test_no_rows_give_empty_columns():
    result = run(DifferenceAreas(group="pair"))
    assert all(len(result[name]) == 0 for name in DifferenceAreas(group="pair").writes())
