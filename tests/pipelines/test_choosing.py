"""A selector's choice, from the rows it is offered to the chunks it is handed back to."""

import numpy as np
import pyarrow as pa
import pytest

from potstill.pipelines.choosing import Chosen, Offer, _blocks, as_table
from potstill.pipelines.chunk import ConservationError
from potstill.pipelines.rowset import RowSet
from potstill.pipelines.selectors.random_subset import RandomSubset
from potstill.pipelines.selectors.selector import Choice
from tests.toys import Top


def id_(number):
    return f"{number:032x}"


ROWS = RowSet.of([id_(3), id_(1), id_(2)], toy=[30, 10, 20])


def test_a_choice_is_a_table_by_id_with_reasons_for_dropped_rows_only():
    table = as_table(Top(budget=1), ROWS, Top(budget=1).select(ROWS, 0))
    assert table.to_pylist() == [
        {"sample_id": id_(1), "keep": False, "reason": "near", "top_place": 2},
        {"sample_id": id_(2), "keep": False, "reason": "near", "top_place": 1},
        {"sample_id": id_(3), "keep": True, "reason": None, "top_place": 0},
    ]


def test_what_a_choice_was_made_by_stands_beside_it_and_is_not_handed_back():
    choice = Choice(np.array([True, False, True]), evidence={"mean(toy)": pa.array([20.0] * 3)})
    table = as_table(RandomSubset(budget=2), ROWS, choice)
    assert table["mean(toy)"].to_pylist() == [20.0] * 3
    assert Chosen(RandomSubset(budget=2), table).of([id_(1)]).column_names == ["_why_random_subset"]
    short = Choice(np.ones(3, bool), evidence={"mean(toy)": pa.array([20.0])})
    with pytest.raises(ConservationError, match=r"3 rows were offered and 1 values of mean\(toy\) came back"):
        as_table(RandomSubset(budget=2), ROWS, short)


def test_without_reasons_a_dropped_row_was_not_selected():
    place = pa.array([0, 1, 2], pa.int32())
    table = as_table(Top(), ROWS, Choice(np.array([True, False, False]), columns={"top_place": place}))
    assert table["reason"].to_pylist() == [None, "not_selected", "not_selected"]


def test_a_choice_that_is_not_what_was_promised_fails_the_run():
    with pytest.raises(ConservationError, match=r"promised columns \['top_place'\] and wrote \[\]"):
        as_table(Top(), ROWS, Choice(np.ones(3, bool)))
    place = pa.array([0, 1], pa.int32())
    with pytest.raises(ConservationError, match="3 rows were offered and 2 values of top_place"):
        as_table(Top(), ROWS, Choice(np.ones(3, bool), columns={"top_place": place}))


def test_the_choice_is_found_by_id_and_is_null_for_rows_that_were_not_offered():
    chosen = Chosen(Top(budget=1), as_table(Top(budget=1), ROWS, Top(budget=1).select(ROWS, 0)))
    found = chosen.of([id_(9), id_(3), id_(0), id_(1)])
    assert found.to_pydict() == {"_why_top": [None, None, None, "near"], "top_place": [None, 0, None, 2]}
    assert chosen.of([]).num_rows == 0


def test_small_chunks_are_read_together(monkeypatch):
    monkeypatch.setattr("potstill.pipelines.choosing.BLOCK_ROWS", 10)
    offers = [Offer(index, (), b"", rows, None) for index, rows in enumerate([4, 6, 3, 12, 1])]
    assert [[offer.index for offer in block] for block in _blocks(offers)] == [[0, 1], [2, 3], [4]]
    assert list(_blocks([])) == []
