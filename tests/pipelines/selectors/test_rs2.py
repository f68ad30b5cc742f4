"""RS2: every epoch fresh, every time round everyone once."""

import numpy as np
import pytest
from pydantic import ValidationError

from potstill.pipelines.selectors.rs2 import RS2, deal, epoch_ids
from tests.pipelines.selectors.sets import kept, rows, shuffled, told


def dealt(shuffles, count, budget, epochs):
    dealing = deal(lambda turn: np.array(shuffles[turn]), count, budget)
    return [next(dealing).tolist() for _ in range(epochs)]


def test_rows_are_dealt_out_until_none_is_left_and_an_epoch_goes_on_into_the_next_time_round():
    # first order 2 0 1 4 3, second 3 4 2 0 1: epoch 2 has 3 left and takes 4, not 3 again; 3 goes on to epoch 3
    assert dealt([[1, 2, 0, 4, 3], [3, 4, 2, 0, 1]], 5, 2, 5) == [[2, 0], [1, 4], [3, 4], [3, 2], [0, 1]]


@pytest.mark.parametrize(("count", "budget"), [(100, 30), (7, 5), (10, 10), (12, 4), (9, 1)])
def test_each_time_round_has_every_row_once_and_no_epoch_one_twice(count, budget):
    rng = np.random.default_rng(0)
    shuffles = [rng.permutation(count) for _ in range(40)]
    epochs = dealt(shuffles, count, budget, 24)
    assert all(len(set(epoch)) == budget for epoch in epochs)
    seen = np.concatenate(epochs)
    for start in range(0, len(seen) - count + 1, count):
        assert sorted(seen[start : start + count]) == list(range(count))


def test_what_is_written_is_what_the_pure_function_says():
    stage = RS2(budget=4, epochs=6)
    given = rows(10)
    choice = stage.select(given, seed=3)
    written = choice.columns["rs2_epochs"].to_pylist()
    for epoch in range(6):
        ids = [text for text, epochs in zip(given.texts, written, strict=True) if epoch in epochs]
        assert ids == sorted(epoch_ids(given.texts[::-1], epoch, 4, seed=3))
    assert choice.keep.all()
    assert sum(map(len, written)) == 24


def test_rows_of_no_epoch_are_dropped():
    choice = RS2(budget=2, epochs=3).select(rows(10), 0)
    assert len(kept(choice)) == 6
    assert [len(epochs) for epochs in choice.columns["rs2_epochs"].to_pylist()] == choice.keep.astype(int).tolist()


def test_order_of_rows_means_nothing_and_seed_and_name_do():
    stage = RS2(budget=3, epochs=5)
    assert told(stage.select(rows(20), 1)) == told(stage.select(shuffled(20), 1))
    assert told(stage.select(rows(20), 1)) != told(stage.select(rows(20), 2))
    assert kept(RS2(name="other", budget=3, epochs=5).select(rows(20), 1)) != kept(stage.select(rows(20), 1))


def test_a_budget_beyond_all_rows_makes_every_epoch_whole_and_none_is_refused():
    assert RS2(budget=9, epochs=2).select(rows(3), 0).columns["rs2_epochs"].to_pylist() == [[0, 1]] * 3
    assert RS2(budget=9, epochs=2).select(rows(0), 0).keep.tolist() == []
    for wrong in ({"budget": 0, "epochs": 1}, {"budget": 1, "epochs": 0}):
        with pytest.raises(ValidationError, match="greater than 0"):
            RS2(**wrong)
