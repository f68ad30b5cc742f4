"""Conditions that drop the same rows, counted by hand."""

import numpy as np
import pytest

from potstill.pipelines.decide.overlap import Verdicts, overlap


def verdicts(name, text):
    """x: fails, .: holds, ?: cannot be told."""
    return Verdicts(
        name, np.array([char == "x" for char in text], bool), np.array([char != "?" for char in text], bool)
    )


def test_rows_are_counted_alone_together_and_where_both_are_known():
    found = overlap([verdicts("a", "xxx..?"), verdicts("b", ".xxx?x"), verdicts("c", "......")])
    assert found["conditions"] == [
        {"name": "a", "known": 5, "drops": 3, "alone": 1},
        {"name": "b", "known": 5, "drops": 4, "alone": 2},
        {"name": "c", "known": 6, "drops": 0, "alone": 0},
    ]
    assert found["pairs"][0] == {"a": "a", "b": "b", "known": 4, "both": 2, "either": 4, "jaccard": 0.5}
    assert [pair["jaccard"] for pair in found["pairs"]] == [0.5, 0, 0]


def test_two_conditions_that_drop_nothing_have_no_likeness():
    assert overlap([verdicts("a", ".."), verdicts("b", "..")])["pairs"][0]["jaccard"] is None


@pytest.mark.parametrize("found", [[], [verdicts("a", "")]])
def test_without_conditions_or_rows_there_is_nothing_to_say(found):
    assert overlap(found)["pairs"] == []
