"""Rows with the same key: one stays."""

import pyarrow as pa
import pytest
from pydantic import ValidationError

from potstill.pipelines.rowset import RowSet
from potstill.pipelines.selectors.unique import Unique

ROWS = {
    "text": ["a", "b", "a", None, None, "a"],
    "size": [1, 1, 2, 1, 1, 1],
    "score": [0.1, None, 0.3, 0.2, 0.2, 0.2],
}
IDS = [f"{number:032x}" for number in range(6)]


def choose(unit, ids=IDS, rows=ROWS):
    choice = unit.select(RowSet.of(ids, **rows), 0)
    of = choice.columns[f"{unit.name}_duplicate_of"].to_pylist()
    return choice.keep.tolist(), [name and int(name, 16) for name in of]


def test_the_lowest_id_of_each_key_stays_and_rows_without_a_key_do_too():
    assert choose(Unique(key="text")) == ([True, True, False, True, True, False], [None, None, 0, None, None, 0])


def test_the_preferred_row_stays():
    keep, of = choose(Unique(key="text", prefer="score"))
    assert keep == [False, True, True, True, True, False]
    assert of == [2, None, None, None, None, 2]


def test_all_columns_of_a_key_count():
    assert choose(Unique(key=("text", "size")))[0] == [True, True, True, True, True, False]


def test_the_order_of_rows_changes_nothing():
    backwards = {name: values[::-1] for name, values in ROWS.items()}
    assert choose(Unique(key="text"), IDS[::-1], backwards) == choose(Unique(key="text"))


def test_bytes_are_keys_and_no_rows_are_fine():
    rows = {"pixel_hash": pa.array([b"x" * 16, b"x" * 16], pa.binary(16))}
    assert choose(Unique(key="pixel_hash"), IDS[:2], rows)[0] == [True, False]
    assert choose(Unique(key="pixel_hash"), [], {"pixel_hash": pa.array([], pa.binary(16))}) == ([], [])


def test_a_key_of_no_column_is_refused():
    with pytest.raises(ValidationError, match="at least 1 item"):
        Unique(key=())
