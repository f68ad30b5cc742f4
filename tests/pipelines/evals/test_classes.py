"""Labels as class numbers, and accuracy over rows of which some do not count."""

import numpy as np
import pytest

from potstill.config import RequestError
from potstill.pipelines.evals.classes import class_names, class_numbers, classified
from tests.pipelines.evals.rows import evaluation

CLASSES = ["cat", "dog", "owl"]


def test_a_label_is_a_name_or_a_number_of_a_class():
    assert class_numbers(["dog", 2, None, "cow", 7, -1, True], CLASSES) == [1, 2, None, None, None, None, None]
    assert class_numbers([1, "1"], ["3", "1"]) == [1, 1]


def test_class_names_are_those_given_or_the_labels_there_are():
    assert class_names((), ["dog", None, "cat", "dog"], "x") == {"cat": "cat", "dog": "dog"}
    assert class_names(("owl", "dog"), ["dog"], "x") == {"owl": "owl", "dog": "dog"}
    assert class_names({"n01": "tench"}, ["n01"], "x") == {"n01": "tench"}


def test_labels_that_are_missing_or_all_unknown_are_refused():
    with pytest.raises(RequestError, match="no row has a label in 'kind'"):
        class_names((), [None, None], "kind")
    with pytest.raises(RequestError, match="no label in 'kind' is one of the 2 classes; the first label is 'ant', the"):
        class_names(("a", "b"), [None, "ant"], "kind")


def test_only_rows_with_a_class_and_a_score_count():
    asked = evaluation("clip", "x")
    scores = np.array([[0.9, 0.1, 0.0], [0.1, 0.2, 0.7]])
    labels, places = ["cat", "dog", None, "cow", "cat", "owl"], [0, 1, 0, 0, None, 1]
    found, at, truth = classified(asked, scores, places, labels, CLASSES, "p_")
    # rows 0, 1 and 5 count: right, wrong, right; cat 1/1, dog 0/1, owl 1/1
    assert found.metrics["p_top1"].value == pytest.approx(2 / 3)
    assert found.metrics["p_top1"].n == 3
    assert found.metrics["p_per_class"].value == pytest.approx(2 / 3)
    assert "p_top5" not in found.metrics
    assert (at.tolist(), truth.tolist()) == ([0, 1, 1], [0, 1, 2])
    assert found.columns["predicted"] == ["cat", "owl", "cat", "cat", None, "owl"]
    assert found.left_out == {"no label": 1, "label not in classes": 1}


def test_five_are_only_counted_among_more_than_five():
    asked = evaluation("clip", "x")
    found, _, _ = classified(asked, np.eye(6)[:1], [0], ["5"], [str(n) for n in range(6)])
    # the right class shares the last five places with four others
    assert found.metrics["top5"].value == pytest.approx(4 / 5)


def test_rows_of_one_input_are_drawn_together():
    asked = evaluation("clip", "x")
    scores = np.array([[1.0, 0.0], [0.0, 1.0]])
    found, _, _ = classified(asked, scores, [0] * 30 + [1] * 30, ["a"] * 60, ["a", "b"])
    assert (found.metrics["top1"].low, found.metrics["top1"].high) == (0, 1)


def test_when_every_input_failed_the_numbers_are_unknown():
    found, _, _ = classified(evaluation("clip", "x"), np.zeros((0, 2)), [None], ["a"], ["a", "b"])
    assert found.metrics["top1"].n == 0
