"""Hard negatives: the nearest of the others, without right answers."""

import numpy as np
import pyarrow as pa
import pytest

from potstill.pipelines.rowset import RowSet
from potstill.pipelines.selectors.hard_negatives import HardNegatives, search

KIND = pa.list_(pa.float16(), 2)


def at(*degrees):
    return [None if each is None else [np.cos(np.deg2rad(each)), np.sin(np.deg2rad(each))] for each in degrees]


def vectors(*degrees):
    values = [None if each is None else np.array(each, np.float16) for each in at(*degrees)]
    return pa.array(values, KIND)


def negatives(order="abcd", **settings):
    images = dict(zip("abcd", vectors(0, 10, 90, None).to_pylist(), strict=True))
    texts = dict(zip("abcd", vectors(0, 20, 90, 45).to_pylist(), strict=True))
    groups = {"a": 1, "b": 1, "c": None, "d": 2}
    columns = {
        "clip_score_image": pa.array([images[id_] for id_ in order], KIND),
        "clip_score_text": pa.array([texts[id_] for id_ in order], KIND),
        "group": [groups[id_] for id_ in order],
    }
    choice = HardNegatives(**settings).select(RowSet.of(list(order), **columns), 0)
    assert choice.keep.all()
    return choice.columns["hard_negatives_ids"], choice.columns["hard_negatives_cosines"]


def test_the_nearest_texts_of_other_rows_come_first():
    ids, cosines = negatives(count=2)
    assert ids == [["b", "d"], ["d", "c"], ["d", "b"], []]
    assert cosines[0] == [pytest.approx(np.cos(np.deg2rad(20)), abs=1e-3), pytest.approx(np.sqrt(0.5), abs=1e-3)]


def test_right_answers_are_left_out():
    assert negatives(count=2, max_cosine=0.9)[0][0] == ["d", "c"]
    assert negatives(count=2, group="group")[0][:2] == [["d", "c"], ["d", "c"]]


def test_the_order_of_rows_changes_nothing():
    assert negatives("dbca") == negatives("abcd")


def test_without_candidates_there_are_none():
    near, found = search(np.ones((2, 3), np.float32), np.zeros((0, 3), np.float32), 4)
    assert near.shape == found.shape == (2, 0)
    nothing = pa.nulls(0)
    choice = HardNegatives().select(RowSet.of([], clip_score_image=nothing, clip_score_text=nothing), 0)
    assert choice.columns["hard_negatives_ids"] == []
