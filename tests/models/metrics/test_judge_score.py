"""Mean judged scores, worked out by hand."""

from math import isnan

import pytest

from potstill.models.metrics.bootstrap import Estimate
from potstill.models.metrics.judge_score import judge_score


def test_the_mean_of_the_scores_that_are_there():
    found, missing = judge_score([5, 3, None, 4, float("nan")])
    assert (found.value, found.n, missing) == (4, 3, 2)
    assert 3 <= found.low < 4 < found.high <= 5


def test_a_row_with_several_answers_is_drawn_as_a_whole():
    assert judge_score([[1, 1], [5, 5]]) == (Estimate(3, 1, 5, 4), 0)
    found, missing = judge_score([[1, None], [], [4.5], None])
    assert (found.value, found.n, missing) == (2.75, 2, 2)


def test_groups_of_rows_are_drawn_as_a_whole():
    scores, pictures = [1] * 20 + [5] * 20, ["a"] * 20 + ["b"] * 20
    assert judge_score(scores, groups=pictures)[0] == Estimate(3, 1, 5, 40)
    assert judge_score(scores)[0].low > 2
    with pytest.raises(ValueError, match="argument 2"):
        judge_score([1, 2], groups=["a"])


def test_no_score_at_all_is_nan():
    found, missing = judge_score([None, None])
    assert (found.n, missing) == (0, 2)
    assert isnan(found.value)
