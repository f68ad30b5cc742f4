"""The moderate coreset by hand: medians per class, the middle of all rows together."""

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from potstill.pipelines.selectors.moderate import Moderate, from_median
from tests.pipelines.selectors.sets import kept, rows, shuffled, told, vectors

ANGLES = np.radians([0, 10, -30, 90, 90, 50, 180, 200])
COLUMNS = {
    "e": vectors(np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1), missing=(6,)),
    "c": pa.array(["x", "x", "x", "y", "y", "y", "y", None]),
}


def select(**settings):
    return Moderate(embedding="e", label="c", **settings).select(rows(8, **COLUMNS), 0)


def test_distances_are_from_the_median_of_the_own_class():
    features = np.array([[0, 0], [0, 4], [6, 0], [1, 1]], np.float32)
    # medians (0, 0) and (1, 1): of one row the median is the row
    assert from_median(features, np.array([0, 0, 0, 1])).tolist() == [0, 4, 6, 0]


def test_the_middle_of_all_classes_together_is_kept():
    # y: median at 90 degrees: 0, 0, and the chord of 40 degrees. x: median (cos 10, 0): .015, .174, .514
    choice = select(budget=2)
    distances = choice.columns["moderate_distance"].to_pylist()
    assert distances[3:8] == pytest.approx([0, 0, 2 * np.sin(np.radians(20)), None, None])
    assert distances[:3] == pytest.approx([1 - np.cos(ANGLES[1]), np.sin(ANGLES[1]), 0.5139], abs=1e-3)
    # in order 3, 4, 0, 1, 2, 5
    assert kept(choice) == [0, 1]
    assert choice.reasons[[3, 4, 2, 5, 6, 7]].tolist() == [
        *["too_typical"] * 2,
        *["too_far"] * 2,
        "no_vector",
        "no_label",
    ]


def test_an_odd_one_out_goes_at_the_far_end():
    assert kept(select(budget=5)) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("shards", [1, 3])
def test_the_order_of_rows_and_the_shards_change_nothing(shards):
    stage = Moderate(embedding="e", label="c", budget=3, shards=shards)
    assert told(stage.select(shuffled(8, **COLUMNS), 0)) == told(select(budget=3))


def test_a_budget_beyond_all_rows_no_rows_and_none_asked_for():
    assert kept(select(budget=99)) == [0, 1, 2, 3, 4, 5]
    empty = rows(0, e=vectors(np.zeros((0, 2))), c=pa.array([], pa.string()))
    assert Moderate(embedding="e", label="c", budget=1).select(empty, 0).keep.tolist() == []
    with pytest.raises(ValidationError, match="greater than 0"):
        select(budget=0)
