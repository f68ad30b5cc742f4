"""Coverage-centric selection: what is cut off, and how strata share, by hand."""

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from potstill.pipelines.selectors.ccs import CCS, strata
from tests.pipelines.selectors.sets import kept, rows, shuffled, told

SCORES = pa.array([0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.9, 1.0, None, float("nan")])


def select(**settings):
    return CCS(score="s", **settings).select(rows(10, s=SCORES), 0)


def test_strata_are_of_equal_width_and_the_highest_score_is_in_the_last():
    assert strata(np.array([-4.0, -3.1, -2.0, -1.0, 0.0]), 4).tolist() == [0, 0, 2, 3, 3]
    assert strata(np.array([2.0, 2.0]), 4).tolist() == [0, 0]
    assert strata(np.array([]), 4).tolist() == []


def test_the_hardest_go_and_the_thinner_stratum_is_kept_whole():
    # beta .25 of 8: the two of lowest margin; of .2 to 1: four below .6, two above; budget 4: two each
    choice = select(budget=4, beta=0.25, strata=2)
    assert choice.reasons[:2].tolist() == ["too_hard", "too_hard"]
    assert choice.reasons[8:].tolist() == ["no_score", "no_score"]
    assert choice.keep[2:6].sum() == 2
    assert choice.keep[6:8].all()


def test_which_end_is_hard_is_a_setting():
    assert select(budget=4, beta=0.25, hard="high").reasons[6:8].tolist() == ["too_hard", "too_hard"]


def test_no_more_are_cut_off_than_the_budget_leaves():
    assert kept(select(budget=7, beta=0.9)) == [1, 2, 3, 4, 5, 6, 7]
    assert kept(select(budget=99, beta=0.9)) == list(range(8))


def test_negative_scores_lose_nothing():
    choice = CCS(score="s", budget=3, beta=0, strata=50).select(rows(3, s=pa.array([-3.0, -2.0, -1.0])), 0)
    assert choice.keep.all()


def test_the_order_of_rows_changes_nothing_and_the_seed_decides_inside_a_stratum():
    stage = CCS(score="s", budget=3, beta=0, strata=1)
    assert told(stage.select(rows(10, s=SCORES), 0)) == told(stage.select(shuffled(10, s=SCORES), 0))
    assert len({tuple(kept(stage.select(rows(10, s=SCORES), seed))) for seed in range(10)}) > 1


def test_no_rows_equal_scores_and_wrong_settings():
    assert CCS(score="s", budget=3).select(rows(0, s=pa.array([], pa.float64())), 0).keep.tolist() == []
    assert CCS(score="s", budget=3).select(rows(5, s=pa.array([1] * 5)), 0).keep.sum() == 3
    for wrong in ({"budget": 0}, {"budget": 1, "beta": 1}, {"budget": 1, "hard": "left"}):
        with pytest.raises(ValidationError):
            CCS(score="s", **wrong)
