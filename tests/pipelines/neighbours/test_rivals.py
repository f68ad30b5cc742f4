"""Rivals, margins and exemplars, by hand."""

import numpy as np

from potstill.pipelines.neighbours.rivals import doubts, exemplars


def at(*degrees):
    angles = np.deg2rad(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def test_margins_by_hand_leave_the_row_itself_out():
    rivals, margins = doubts(at(0, 0, 90, 90), np.array([0, 0, 1, 1]), 2, 0.0)
    assert rivals.tolist() == [1, 1, 0, 0]
    np.testing.assert_allclose(margins, 1, atol=1e-6)
    _, margins = doubts(at(0, 90, 90), np.array([0, 0, 1]), 2, 0.0)
    np.testing.assert_allclose(margins[:2], [0 - 0, 0 - 1], atol=1e-6)
    assert np.isnan(margins[2])


def test_of_two_rivals_alike_the_one_that_the_class_is_confused_with_is_named():
    features = at(0, 0, 0, 58, 60, 60, -60, -60)
    of = np.array([0, 0, 0, 0, 1, 1, 2, 2])
    rivals, margins = doubts(features, of, 3, 0.5)
    assert margins[3] < 0
    assert rivals[:4].tolist() == [1, 1, 1, 1]


def test_the_surest_row_stands_for_its_class_and_the_next_one_for_itself():
    margins = np.array([0.1, 0.9, 0.5, 0.3, 0.7, -0.2])
    of, rivals = np.array([0, 0, 0, 1, 1, 1]), np.array([1, 1, 1, 0, 0, 0])
    assert exemplars(margins, of, rivals).tolist() == [[1, 4], [2, 4], [1, 4], [4, 1], [3, 1], [4, 1]]


def test_of_equal_margins_the_first_counts_and_a_class_of_one_row_has_no_exemplar_of_its_own():
    margins = np.array([0.5, 0.5 + 1e-9, np.nan, 0.5])
    of, rivals = np.array([0, 0, 1, 0]), np.array([1, 1, 0, 1])
    assert exemplars(margins, of, rivals).tolist() == [[1, 2], [0, 2], [-1, 0], [0, 2]]
