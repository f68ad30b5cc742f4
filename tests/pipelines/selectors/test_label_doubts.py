"""Doubtful labels: the rival, the margin, and how well it finds planted mistakes."""

import numpy as np
import pyarrow as pa
import pytest

from potstill.pipelines.rowset import RowSet
from potstill.pipelines.selectors.label_doubts import LabelDoubts


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


def named(features, labels):
    """Exemplars, as positions, of rows whose ids ascend."""
    ids = [f"{number:032x}" for number in range(len(labels))]
    kind = pa.list_(pa.float16(), features.shape[1])
    columns = {"clip_score_image": pa.array(list(features.astype(np.float16)), kind), "caption": labels}
    choice = LabelDoubts().select(RowSet.of(ids, **columns), 0)
    return [[ids.index(one) for one in each] for each in choice.columns["label_doubts_ids"]]


def test_planted_wrong_labels_have_a_margin_below_zero_and_the_right_label_as_rival():
    features, truth, labels, wrong = planted()
    others, margins = chosen(range(400), features, labels)
    doubted = np.array(margins) < 0
    assert doubted[wrong].mean() > 0.95
    assert doubted[~wrong].mean() < 0.05
    right = np.array([f"kind {label}" for label in truth])
    assert (np.array(others)[wrong] == right[wrong]).mean() > 0.95


def test_exemplars_are_a_sure_other_row_of_the_own_label_and_one_of_the_rival():
    features, truth, labels, wrong = planted()
    pairs = np.array(named(features, [f"kind {label}" for label in labels]))
    assert (pairs != np.arange(400)[:, None]).all()
    assert (labels[pairs[:, 0]] == labels).all()
    assert (labels[pairs[:, 1]] != labels).all()
    assert not wrong[pairs].any()
    assert (truth[pairs] == labels[pairs]).all()
    assert len(np.unique(pairs)) <= 8


def test_a_label_of_one_row_shows_only_its_rival():
    angles = np.deg2rad([0, 90, 91, 180])
    features = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert named(features, ["a", "b", "b", ""]) == [[2], [2, 0], [1, 0], []]


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
        assert choice.columns["label_doubts_ids"] == [[]] * 3
        assert choice.columns["label_doubts_margin"].null_count == 3
