"""Difficulty from a training log by hand; logs that are wrong are refused with a reason."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from potstill.pipelines.selectors.difficulty import Difficulty
from tests.pipelines.selectors.sets import rows, shuffled, told

A, B, OTHER = (f"{number:032x}" for number in (0, 1, 99))


def write(path, entries, **columns):
    table = {"sample_id": [entry[0] for entry in entries], "epoch": [entry[1] for entry in entries]}
    pq.write_table(pa.table(table | columns), path)
    return str(path)


def two_epochs(path, **more):
    entries = [(A, 0), (B, 0), (OTHER, 0), (A, 1), (B, 1)]
    said = [[0.6, 0.4], [0.1, 0.9], [0.5, 0.5], [0.3, 0.7], [0.2, 0.8]]
    return write(path, entries, **{"label": [0, 0, 1, 0, 0], "probabilities": said} | more)


def values(stage, given=None):
    choice = stage.select(rows(3) if given is None else given, 0)
    assert choice.keep.all()
    return {name.removeprefix("difficulty_"): column.to_pylist() for name, column in choice.columns.items()}


def test_the_three_numbers_by_hand(tmp_path):
    found = values(Difficulty(log=two_epochs(tmp_path / "log.parquet"), early=1))
    # A is right, then wrong; B never right; early: epoch 0 alone
    assert found["el2n"] == pytest.approx([0.4 * 2**0.5, 0.9 * 2**0.5, None])
    assert found["forgetting"] == [1, 2, None]
    assert found["aum"] == pytest.approx([(0.2 - 0.4) / 2, (-0.8 - 0.6) / 2, None])
    later = values(Difficulty(log=two_epochs(tmp_path / "log.parquet"), early=2))
    assert later["el2n"] == pytest.approx([0.55 * 2**0.5, 0.85 * 2**0.5, None])


def test_logits_go_before_probabilities_and_the_margin_is_theirs(tmp_path):
    logits = [[0, np.log(3)], [2, 0], [0, 0], [1, 0], [5, 0]]
    found = values(Difficulty(log=two_epochs(tmp_path / "log.parquet", logits=logits), early=1))
    assert found["aum"] == pytest.approx([(1 - np.log(3)) / 2, 3.5, None])
    assert found["el2n"][0] == pytest.approx(0.75 * 2**0.5)
    assert found["forgetting"] == [0, 0, None]


def test_right_or_wrong_alone_gives_forgetting_alone(tmp_path):
    log = write(tmp_path / "log.parquet", [(A, 0), (A, 1), (A, 2)], correct=[True, False, True])
    assert values(Difficulty(log=log)) == {"el2n": [None] * 3, "forgetting": [1, None, None], "aum": [None] * 3}


def test_files_of_a_folder_are_read_by_name_and_epochs_are_remembered_across_them(tmp_path):
    write(tmp_path / "epoch-1.parquet", [(A, 1)], correct=[False])
    write(tmp_path / "epoch-0.parquet", [(A, 0)], correct=[True])
    assert values(Difficulty(log=str(tmp_path)))["forgetting"] == [1, None, None]


def test_the_order_of_rows_and_of_the_entries_of_an_epoch_change_nothing(tmp_path):
    stage = Difficulty(log=two_epochs(tmp_path / "log.parquet"))
    expected = told(stage.select(rows(3), 0))
    assert told(stage.select(shuffled(3), 0)) == expected
    table = pq.read_table(tmp_path / "log.parquet").take([2, 1, 0, 4, 3])
    pq.write_table(table, tmp_path / "log.parquet")
    assert told(stage.select(rows(3), 0)) == expected


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        ({"label": [0, 0, 1, 0, 2]}, "labels go from 0 to 2 and there are 2 outputs"),
        ({"label": [0, None, 1, 0, 0]}, "1 values of label are null"),
        ({"probabilities": [[0.5, 0.5]] * 4 + [[1.0]]}, r"these have \[1, 2\]"),
        ({"sample_id": [A, A, OTHER, A, B]}, f"sample {A}: its epoch 0 comes a second time"),
        ({"sample_id": [OTHER] * 5}, "none of its samples is among the 3 rows"),
    ],
)
def test_a_log_that_cannot_be_right_is_refused(tmp_path, columns, text):
    log = two_epochs(tmp_path / "log.parquet", **columns)
    with pytest.raises(ValueError, match=text):
        values(Difficulty(log=log))


def test_a_file_that_is_no_log_is_refused_with_its_columns(tmp_path):
    log = write(tmp_path / "log.parquet", [(A, 0)], label=[0])
    with pytest.raises(
        ValueError, match="either label with logits or probabilities, or correct; its columns: sample_id"
    ):
        values(Difficulty(log=log))


def test_the_fingerprint_follows_the_file(tmp_path):
    log = two_epochs(tmp_path / "log.parquet")
    before = Difficulty(log=log).identity()
    two_epochs(tmp_path / "log.parquet", label=[1] * 5)
    assert Difficulty(log=log).identity() != before


def test_no_rows(tmp_path):
    assert values(Difficulty(log=two_epochs(tmp_path / "log.parquet")), rows(0))["el2n"] == []
