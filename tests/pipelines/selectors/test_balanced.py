"""Label balance by hand."""

import pyarrow as pa
import pytest
from pydantic import ValidationError

from potstill.pipelines.selectors.balanced import Balanced
from tests.pipelines.selectors.sets import kept, rows, shuffled, told

LABELS = pa.array([1] * 6 + [2] * 3 + [3] + [None])
SCORES = pa.array([1, 9, 2, 8, 3, 7, 4, 4, None, 0, 99])


def select(seed=0, **settings):
    return Balanced(label="c", **settings).select(rows(11, c=LABELS, s=SCORES), seed)


def shares(choice):
    return [int(choice.keep[part].sum()) for part in (slice(0, 6), slice(6, 9), slice(9, 10))]


@pytest.mark.parametrize(("budget", "expected"), [(3, [1, 1, 1]), (5, [2, 2, 1]), (8, [4, 3, 1]), (99, [6, 3, 1])])
def test_rare_labels_are_kept_whole_and_leave_the_rest_to_the_others(budget, expected):
    assert shares(select(budget=budget)) == expected


def test_the_highest_scores_of_each_label_go_first_and_lower_ids_on_ties():
    choice = select(budget=5, score="s")
    assert kept(choice) == [1, 3, 6, 7, 9]
    assert kept(select(budget=4, score="s")) == [1, 3, 6, 9]
    assert choice.reasons[[8, 10]].tolist() == ["no_score", "no_label"]


def test_without_scores_the_lot_decides():
    assert len({tuple(kept(select(seed, budget=3))) for seed in range(10)}) > 3
    assert select(budget=3).reasons[10] == "no_label"


@pytest.mark.parametrize("score", [None, "s"])
def test_the_order_of_rows_changes_nothing(score):
    stage = Balanced(label="c", budget=5, score=score)
    assert told(stage.select(shuffled(11, c=LABELS, s=SCORES), 0)) == told(select(budget=5, score=score))


def test_no_rows_and_no_budget():
    assert Balanced(label="c", budget=2).select(rows(0, c=pa.array([], pa.string())), 0).keep.tolist() == []
    with pytest.raises(ValidationError, match="greater than 0"):
        Balanced(label="c", budget=0)
