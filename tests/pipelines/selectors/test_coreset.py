"""What k-centre, herding and facility location share: groups, shards, reasons, what is written and logged."""

import logging

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from potstill.pipelines.selectors.facility_location import FacilityLocation
from potstill.pipelines.selectors.herding import Herding
from potstill.pipelines.selectors.k_centre import KCentre
from tests.pipelines.selectors.sets import kept, rows, shuffled, told, vectors

RNG = np.random.default_rng(0)
VALUES = RNG.normal(size=(60, 5))
LABELS = pa.array(["a"] * 40 + ["b"] * 15 + [None] + ["c"] * 4)
COLUMNS = {"e": vectors(VALUES, missing=(7,)), "c": LABELS}
ALL = pytest.mark.parametrize("kind", [KCentre, Herding, FacilityLocation])


@ALL
@pytest.mark.parametrize("settings", [{}, {"by": "c"}, {"shards": 3}, {"shards": 3, "shard_by": "c"}], ids=str)
def test_the_order_of_rows_changes_nothing(kind, settings):
    stage = kind(budget=12, embedding="e", **settings)
    choice = stage.select(rows(60, **COLUMNS), 0)
    assert told(choice) == told(stage.select(shuffled(60, **COLUMNS), 0))
    assert choice.keep.sum() == 12
    assert choice.reasons[7] == "no_vector"


@ALL
def test_ranks_count_the_picks_and_a_smaller_budget_keeps_the_first(kind):
    ranks = [
        kind(budget=n, embedding="e")
        .select(rows(60, **COLUMNS), 0)
        .columns[f"{kind.model_fields['kind'].default}_rank"]
        for n in (5, 12)
    ]
    few, many = (array.to_pylist() for array in ranks)
    assert sorted(rank for rank in many if rank is not None) == list(range(12))
    assert few == [rank if rank is not None and rank < 5 else None for rank in many]


@ALL
def test_groups_share_the_budget_equally_and_rows_without_one_say_so(kind):
    choice = kind(budget=18, embedding="e", by="c").select(rows(60, **COLUMNS), 0)
    labels = np.array(LABELS.to_pylist(), object)[choice.keep]
    assert {label: (labels == label).sum() for label in "abc"} == {"a": 7, "b": 7, "c": 4}
    assert choice.reasons[55] == "no_group"
    ranks = choice.columns[f"{kind.model_fields['kind'].default}_rank"].to_pylist()
    assert sorted(rank for rank in ranks[:40] if rank is not None) == list(range(7))
    sharded = kind(budget=18, embedding="e", by="c", shards=4).select(rows(60, **COLUMNS), 0)
    assert told(sharded) == told(choice)


@ALL
def test_nearness_is_one_for_kept_rows_null_without_a_vector(kind):
    choice = kind(budget=12, embedding="e").select(rows(60, **COLUMNS), 0)
    near = choice.columns[f"{kind.model_fields['kind'].default}_nearest"].to_pylist()
    assert near[7] is None
    assert [near[position] for position in kept(choice)] == pytest.approx([1] * 12)
    assert all(-1 <= value < 1 for position, value in enumerate(near) if position not in {7, *kept(choice)})


@ALL
def test_a_budget_beyond_all_rows_keeps_every_row_with_a_vector_and_no_rows_are_no_rows(kind):
    assert kept(kind(budget=99, embedding="e").select(rows(60, **COLUMNS), 0)) == [*range(7), *range(8, 60)]
    for empty in (rows(0, e=vectors(np.zeros((0, 2)))), rows(2, e=vectors(np.zeros((2, 2)), missing=(0, 1)))):
        assert not kind(budget=3, embedding="e").select(empty, 0).keep.any()
        assert not kind(budget=3, embedding="e", shards=2).select(empty, 0).keep.any()


@ALL
def test_the_log_says_what_was_achieved_and_what_chance_achieves(kind, caplog):
    with caplog.at_level(logging.INFO):
        kind(budget=12, embedding="e").select(rows(60, **COLUMNS), 0)
    assert kind.measured in caplog.text
    achieved, random = (float(part.split()[-1]) for part in caplog.messages[-1].split(", of a random subset"))
    better = achieved > random if kind is FacilityLocation else achieved < random
    assert better


@ALL
def test_wrong_settings_are_refused_and_memory_is_bounded(kind):
    with pytest.raises(ValidationError, match="greater than 0"):
        kind(budget=0, embedding="e")
    with pytest.raises(ValueError, match="set more shards"):
        kind(budget=3, embedding="e", max_bytes=1000).select(rows(60, **COLUMNS), 0)
    assert kind(budget=3, embedding="e", shards=3, max_bytes=1000).select(rows(60, **COLUMNS), 0).keep.sum() == 3


def test_columns_read():
    assert KCentre(budget=1, embedding="e", shard_by="s").reads() == ("e", "s")
    assert KCentre(budget=1, embedding="e", by="b", shard_by="s").reads() == ("e", "b")
