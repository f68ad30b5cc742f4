"""Pairs of look-alikes: the range, the greedy order, who goes first."""

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from potstill.pipelines.rowset import RowSet
from potstill.pipelines.selectors.image_pairs import ImagePairs, pairs


def at(*degrees):
    angles = np.deg2rad(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def test_the_most_alike_in_the_range_come_first_and_nobody_is_in_two_pairs():
    # 0-10: .985, 10-22: .978, 0-22: .927; 90 is far from all.
    assert pairs(at(0, 10, 22, 90), 0.9, 0.999, 8) == [(0, 1)]
    assert pairs(at(0, 10, 22, 90), 0.9, 0.98, 8) == [(1, 2)]
    assert pairs(at(0, 10, 22, 90), 0.9, 0.93, 8) == [(0, 2)]
    assert pairs(at(0, 10, 22, 90), 0.99, 0.999, 8) == []


def test_length_changes_nothing_a_zero_vector_pairs_with_nobody_and_copies_are_too_alike():
    scaled = at(0, 10) * np.array([[5], [0.1]], np.float32)
    assert pairs(scaled, 0.9, 0.999, 8) == [(0, 1)]
    assert pairs(np.zeros((3, 2), np.float32), 0.5, 1, 8) == []
    assert pairs(at(30, 30), 0.9, 0.98, 8) == []
    assert pairs(at(0), 0, 1, 8) == pairs(np.zeros((0, 0), np.float32), 0, 1, 8) == []


def test_equal_cosines_go_by_position():
    assert pairs(at(0, 10, 20, 30), 0.9, 0.99, 8) == [(0, 1), (2, 3)]


def test_the_stage_pairs_rows_by_id_whatever_their_order_and_leaves_out_those_without_a_vector():
    kind = pa.list_(pa.float16(), 2)
    vectors = {"a": at(0)[0], "b": at(10)[0], "c": None, "d": at(80)[0]}
    for order in ("abcd", "dcba", "bdac"):
        column = pa.array([None if vectors[id_] is None else vectors[id_].astype(np.float16) for id_ in order], kind)
        choice = ImagePairs(features="v", max_cosine=0.99).select(RowSet.of(list(order), v=column), 0)
        assert choice.columns["image_pairs_ids"].to_pylist() == [["a", "b"], ["a", "b"], None, None]
        assert choice.keep.tolist() == [True, False, False, False]


def test_a_range_without_room_is_refused():
    with pytest.raises(ValidationError, match=r"min_cosine 0.9 must be below max_cosine 0.8"):
        ImagePairs(max_cosine=0.8)
