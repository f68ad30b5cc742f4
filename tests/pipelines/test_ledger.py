"""The sums of a run: any row lost within a step or between two is noticed."""

import numpy as np
import pytest

from potstill.pipelines.chunk import ConservationError
from potstill.pipelines.ledger import Ledger
from potstill.pipelines.walk import Passage


def passage(stage, entered, reasons=None, quarantined=0, pending=0):
    """``entered`` rows, of which the first are dropped for ``reasons`` and the last in quarantine or pending."""
    why = np.full(entered, None, dtype=object)
    why[: len(reasons or [])] = reasons or []
    where = np.arange(entered)
    return Passage(stage, where >= 0, where >= entered - pending,
                   (where >= entered - pending - quarantined) & (where < entered - pending), why)  # fmt: skip


def ledger(intake=(10, 2, 1)):
    made = Ledger({"a": "toy", "b": "filter"})
    made.add_intake(*intake)
    return made


def test_what_goes_in_comes_out_somewhere():
    made = ledger()
    made.add([passage("a", 4, ["x", "y"], quarantined=1), passage("b", 1)])
    made.add([passage("a", 3, ["x"]), passage("b", 2, ["z", "z"])])
    made.check(1)
    intake, a, b = made.as_json()
    assert [intake[key] for key in ("in", "kept", "duplicate", "quarantined")] == [10, 7, 2, 1]
    assert [a[key] for key in ("in", "kept", "dropped", "quarantined")] == [7, 3, {"x": 2, "y": 1}, 1]
    assert [b[key] for key in ("in", "kept", "dropped")] == [3, 1, {"z": 2}]


def test_each_image_may_start_several_samples():
    made = ledger((2, 0, 0))
    made.add([passage("a", 6), passage("b", 6)])
    made.check(3)
    with pytest.raises(ConservationError, match="stage a: 4 rows were sent on to it and 6 came in"):
        made.check(2)


def test_a_row_lost_between_two_stages_is_noticed():
    made = ledger()
    made.add([passage("a", 7, ["x"]), passage("b", 5)])
    with pytest.raises(ConservationError, match="stage b: 6 rows were sent on to it and 5 came in"):
        made.check(1)


def test_a_row_in_two_states_is_noticed():
    made = ledger((4, 0, 0))
    where = np.ones(4, bool)
    made.add([Passage("a", where, ~where, where, np.array(["x", None, None, None], object)), passage("b", 0)])
    with pytest.raises(ConservationError, match="stage a: 4 rows came in and 5 are accounted for"):
        made.check(1)


def test_rows_counted_anew_keep_the_work_that_was_noted():
    made = ledger()
    made.took("a", 6, 2.0)
    made.took("a", 2, 2.0)
    made.reset()
    made.add_intake(1, 0, 0)
    made.add([passage("a", 1), passage("b", 1)])
    made.check(1)
    _, a, b = made.as_json()
    assert [a[key] for key in ("in", "computed", "seconds", "rows_per_second")] == [1, 8, 4.0, 2.0]
    assert [b[key] for key in ("computed", "rows_per_second")] == [0, None]
