"""Mixtures of sources by hand."""

import logging

import pyarrow as pa
import pytest
from pydantic import ValidationError

from potstill.pipelines.selectors.mixture import Mixture
from tests.pipelines.selectors.sets import kept, rows, shuffled, told

SOURCES = pa.array([f"web/{n}.jpg" for n in range(12)] + [f"books/{n}.jpg" for n in range(4)] + ["odd", None])
FOLDER = r"^([^/]+)/"
WEIGHTS = {"web": 3, "books": 1}


def select(budget, seed=0, **settings):
    return Mixture(**{"budget": budget, "weights": WEIGHTS, "pattern": FOLDER} | settings).select(
        rows(18, source=SOURCES), seed
    )


def shares(choice):
    return int(choice.keep[:12].sum()), int(choice.keep[12:16].sum())


def test_rows_are_kept_by_weight_and_other_sources_say_so():
    choice = select(8)
    assert shares(choice) == (6, 2)
    assert choice.reasons[16:].tolist() == ["not_in_mixture", "not_in_mixture"]
    assert kept(select(8, seed=1)) != kept(choice)


def test_what_a_source_lacks_the_others_give_and_the_log_warns(caplog):
    with caplog.at_level(logging.INFO):
        assert shares(select(12, weights={"web": 1, "books": 1})) == (8, 4)
    assert caplog.messages == ["stage mixture: web 8 of 6 wanted, books 4 of 6 wanted"]
    assert caplog.records[0].levelname == "WARNING"
    assert shares(select(99)) == (12, 4)


def test_a_source_that_lacks_rows_can_stop_the_run():
    with pytest.raises(ValueError, match=r"too few rows \(web 8 of 6 wanted, books 4 of 6 wanted\): lower budget"):
        select(12, weights={"web": 1, "books": 1}, short="error")
    assert shares(select(8, short="error")) == (6, 2)


def test_without_a_pattern_the_whole_value_is_the_name():
    stage = Mixture(budget=2, column="licence", weights={"mit": 1, "0": 1})
    assert kept(stage.select(rows(3, licence=pa.array(["mit", "gpl", "0"])), 0)) == [0, 2]


def test_the_order_of_rows_changes_nothing():
    stage = Mixture(budget=8, weights=WEIGHTS, pattern=FOLDER)
    assert told(stage.select(shuffled(18, source=SOURCES), 0)) == told(select(8))


def test_no_rows_and_wrong_settings():
    assert Mixture(budget=2, weights=WEIGHTS).select(rows(0, source=pa.array([], pa.string())), 0).keep.tolist() == []
    for wrong, text in (
        ({"budget": 0}, "greater than 0"),
        ({"weights": {"a": 0}}, "all weights are 0"),
        ({"weights": {"a": -1}}, "greater than or equal to 0"),
        ({"pattern": "^web"}, "has no group"),
        ({"pattern": "("}, "no regular expression: missing"),
    ):
        with pytest.raises(ValidationError, match=text):
            Mixture(**{"budget": 1, "weights": {"a": 1}} | wrong)
