"""Transport to a target: near rows carry the mass, every target point is served."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from potstill.pipelines.selectors.targeted_transport import TargetedTransport
from tests.pipelines.selectors.sets import kept, rows, shuffled, told, vectors

ANGLES = np.radians([0, 5, 90, 95, 180, 185, 270, 0])
COLUMNS = {
    "e": vectors(3 * np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1), missing=(7,)),
    "c": pa.array(["x", "x", "y", "y", "z", "z", None, "x"]),
}


@pytest.fixture
def target(tmp_path):
    def write(*degrees, name="e"):
        angles = np.radians(degrees)
        pq.write_table(pa.table({name: vectors(np.stack([np.cos(angles), np.sin(angles)], axis=1))}), tmp_path / "t")
        return str(tmp_path / "t")

    return write


def select(path, budget=2, **settings):
    return TargetedTransport(budget=budget, embedding="e", target=path, **settings).select(rows(8, **COLUMNS), 0)


def weights(choice):
    return choice.columns["targeted_transport_weight"].to_pylist()


def test_each_target_draws_on_the_row_that_is_nearest(target):
    choice = select(target(0, 180))
    assert kept(choice) == [0, 4]
    assert choice.reasons[7] == "no_vector"
    found = weights(choice)
    assert found[7] is None
    assert found[0] > found[1] > found[2] and found[6] < 0.02
    assert sum(found[:7]) == pytest.approx(7, rel=0.05)  # all of the target is served, in units of even shares


def test_target_points_share_the_budget_even_where_many_rows_share_the_mass(target):
    angles = np.radians([0, 5, *range(170, 191, 4)])
    crowd = vectors(np.stack([np.cos(angles), np.sin(angles)], axis=1))
    stage = TargetedTransport(budget=2, embedding="e", target=target(2, 180))
    choice = stage.select(rows(len(angles), e=crowd), 0)
    assert min(weights(choice)[:2]) > max(weights(choice)[2:])
    assert [position < 2 for position in kept(choice)] == [True, False]


def test_classes_send_mass_together_and_rows_of_none_say_so(target):
    choice = select(target(90), by="c", budget=3)
    found = weights(choice)
    assert found[2] == found[3] > 2.5 > found[0] == found[1]
    assert {2, 3} < set(kept(choice))
    assert choice.reasons[[6, 7]].tolist() == ["no_group", "no_vector"]


def test_the_column_of_the_target_may_be_called_otherwise(target):
    path = target(0, name="other")
    assert kept(select(path, budget=1, target_column="other")) == [0]
    with pytest.raises(ValueError, match="no column 'e'; columns: other"):
        select(path)


def test_the_order_of_rows_changes_nothing(target):
    path = target(0, 90)
    stage = TargetedTransport(budget=3, embedding="e", target=path, by="c")
    assert told(stage.select(rows(8, **COLUMNS), 0)) == told(stage.select(shuffled(8, **COLUMNS), 0))


def test_a_budget_beyond_all_rows_and_no_rows(target):
    assert kept(select(target(0), budget=99)) == list(range(7))
    empty = rows(0, e=vectors(np.zeros((0, 2))))
    stage = TargetedTransport(budget=1, embedding="e", target=target(0))
    assert stage.select(empty, 0).keep.tolist() == []


def test_another_target_file_is_another_choice_and_a_missing_one_is_said(target):
    stage = TargetedTransport(budget=1, embedding="e", target=target(0))
    before = stage.identity()
    target(90)
    assert stage.identity() != before
    with pytest.raises(FileNotFoundError, match="nowhere"):
        TargetedTransport(budget=1, embedding="e", target="nowhere").identity()


def test_wrong_settings_and_too_little_memory(target):
    with pytest.raises(ValidationError, match="greater than 0"):
        TargetedTransport(budget=0, embedding="e", target="t")
    with pytest.raises(ValidationError, match="greater than 0"):
        TargetedTransport(budget=1, embedding="e", target="t", epsilon=0)
    with pytest.raises(ValueError, match="transport classes or clusters"):
        select(target(*range(50)), max_bytes=1000)
