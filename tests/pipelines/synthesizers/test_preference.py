"""Pairs are the best and the worst of scored answers."""

import math

import pyarrow as pa
import pytest

from potstill.pipelines.synthesizers.preference import Preference, extremes

ANSWERS = ["one", "two", "three"]


def run(*scores, answers=ANSWERS, **settings):
    table = pa.table({
        "sample_id": [str(place) for place in range(len(scores))],
        "answers": pa.array([answers] * len(scores), pa.list_(pa.string())),
        "wrong": pa.array(scores, pa.list_(pa.float32())),
    })  # fmt: skip
    return {name: values.to_pylist() for name, values in Preference(scores="wrong", **settings).build()(table).items()}


def test_the_best_is_chosen_the_worst_rejected():
    result = run([0.5, 2, 1], [3, 1, 1])
    assert result["chosen"] == ["two", "one"]
    assert result["rejected"] == ["one", "two"]
    assert (result["chosen_score"], result["rejected_score"]) == ([2, 3], [0.5, 1])
    assert result["margin"] == [1.5, 2]
    assert result["preference_reason"] == [None, None]


def test_of_mistakes_the_fewest_are_best_and_the_margin_stays_positive():
    result = run([0, 2, 1], best="lowest")
    assert (result["chosen"], result["rejected"], result["margin"]) == (["one"], ["two"], [2])


def test_a_margin_that_is_too_small_ends_the_row_and_is_told():
    result = run([1, 1, 1], [1, 2, 1.5], [1, 2.5, 1], least_margin=1)
    assert result["preference_reason"] == ["tie", "tie", None]
    assert result["margin"] == [0, 1, 1.5]
    assert (result["chosen"][0], result["rejected"][0]) == ("one", "two")


def test_fewer_than_two_scored_answers_are_no_pair():
    result = run([None, 2, None], [], None, [math.nan, 1, None])
    assert result["preference_reason"] == ["one_answer"] * 4
    assert result["chosen"] == result["margin"] == [None] * 4


def test_columns_of_a_renamed_stage_carry_its_name_and_its_types_hold_for_no_rows():
    unit = Preference(scores="wrong", name="second")
    assert list(unit.writes())[:2] == ["second_chosen", "second_rejected"]
    assert unit.gate() == "second_reason"
    assert {name: values for name, values in run().items() if values} == {}


@pytest.mark.parametrize(
    ("scores", "best", "expected"),
    [
        ([1, 3, 2], "highest", (1, 0)),
        ([1, 3, 2], "lowest", (0, 1)),
        ([2, 2, 1, 1], "highest", (0, 2)),
        ([5, 5], "lowest", (0, 1)),
        ([None, 1, 0], "highest", (1, 2)),
        ([1], "highest", None),
    ],
)
def test_extremes_are_the_first_of_equal_scores(scores, best, expected):
    assert extremes(scores, best=best) == expected
