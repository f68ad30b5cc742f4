"""Doubtful labels: the rival, the margin, and how well it finds planted mistakes."""

import numpy as np
import pyarrow as pa
import pytest

from potstill.pipelines.rowset import RowSet
from potstill.pipelines.selectors.label_doubts import LabelDoubts, doubts


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


def planted():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, 400)
    means = rng.normal(size=(4, 16))
    features = (means[truth] + 0.5 * rng.normal(size=(400, 16))).astype(np.float16)
    wrong = rng.random(400) < 0.2
    labels = np.where(wrong, (truth + rng.integers(1, 4, 400)) % 4, truth)
    return features, truth, labels, wrong


def chosen(order, features, labels):
    ids = [f"{number:032x}" for number in range(len(labels))]
    kind = pa.list_(pa.float16(), features.shape[1])
    columns = {
        "clip_score_image": pa.array([features[number] for number in order], kind),
        "caption": [f"kind {labels[number]}" for number in order],
    }
    choice = LabelDoubts().select(RowSet.of([ids[number] for number in order], **columns), 0)
    assert choice.keep.all()
    return choice.columns["label_doubts_other"], choice.columns["label_doubts_margin"].to_pylist()


def test_planted_wrong_labels_have_a_margin_below_zero_and_the_right_label_as_rival():
    features, truth, labels, wrong = planted()
    others, margins = chosen(range(400), features, labels)
    doubted = np.array(margins) < 0
    assert doubted[wrong].mean() > 0.95
    assert doubted[~wrong].mean() < 0.05
    right = np.array([f"kind {label}" for label in truth])
    assert (np.array(others)[wrong] == right[wrong]).mean() > 0.95


def test_the_order_of_rows_changes_nothing():
    features, _, labels, _ = planted()
    others, margins = chosen(range(400), features, labels)
    shuffled, again = chosen(np.random.default_rng(1).permutation(400), features, labels)
    assert shuffled == others
    assert again == pytest.approx(margins, abs=1e-6)


def test_rows_without_label_or_vector_and_a_single_class_have_no_rival():
    kind = pa.list_(pa.float16(), 2)
    vectors = pa.array([np.ones(2, np.float16), None, np.ones(2, np.float16)], kind)
    for labels in (["a", "a", "a"], ["a", "b", None]):
        choice = LabelDoubts().select(RowSet.of(["x", "y", "z"], clip_score_image=vectors, caption=labels), 0)
        assert choice.columns["label_doubts_other"] == [None] * 3
        assert choice.columns["label_doubts_margin"].null_count == 3
