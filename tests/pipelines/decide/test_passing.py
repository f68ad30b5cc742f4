"""Rows on their way through a plan whose selectors choose anew, in memory."""

import numpy as np
import pyarrow as pa
import pytest

from potstill.config import RequestError
from potstill.pipelines import schema
from potstill.pipelines.decide.passing import decisive, passed
from potstill.pipelines.selectors.selector import Choice
from tests.toys import Top, ToyPlan

TOY, TOP = {"kind": "toy"}, {"kind": "top", "budget": 3}
TABLE = pa.table(
    {
        schema.SAMPLE_ID: [f"{number:032x}" for number in range(6)],
        "toy": [40, 10, 60, 30, None, 20],
        "_done_toy": [True, True, True, True, False, True],
        schema.ERROR: pa.nulls(6, schema.ERROR_TYPE),
    }
)


def plan(*stages):
    return ToyPlan.model_validate({"source": {"kind": "folder", "path": "/nowhere"}, "stages": list(stages)})


def kept(made, known=None):
    table, passages = passed(made, TABLE, known or {})
    return np.flatnonzero(passages[-1].kept).tolist(), table


def test_a_selector_sees_the_rows_that_reach_it_and_a_later_one_what_it_wrote():
    found, table = kept(plan(TOY, {"kind": "filter", "keep": "toy < 60"}, TOP))
    assert found == [0, 3, 5]
    assert table["top_place"].to_pylist() == [0, 3, None, 1, None, 2]
    assert kept(plan(TOY, TOP, {"kind": "top", "name": "last", "column": "top_place", "budget": 1}))[0] == [3]


def test_a_known_choice_stands_for_just_its_rows():
    ids = [TABLE[schema.SAMPLE_ID][at].as_py() for at in (0, 1, 2, 3, 5)]
    choice = {
        schema.SAMPLE_ID: ids, "keep": [False] * 4 + [True], "reason": ["known"] * 4 + [None],
        "top_place": pa.array(range(5), pa.int32()),
    }  # fmt: skip
    assert kept(plan(TOY, TOP), {"top": pa.table(choice)})[0] == [5]
    assert kept(plan(TOY, {"kind": "filter", "keep": "toy != 10"}, TOP), {"top": pa.table(choice)})[0] == [0, 2, 3]


def test_a_selector_has_a_folder_for_what_does_not_fit_into_memory(monkeypatch):
    folders = []

    def select(self, rows, seed):
        rows.scratch.write_bytes("part", b"x")
        folders.append(rows.scratch)
        return Choice(np.ones(len(rows), bool), columns={"top_place": pa.nulls(len(rows), pa.int32())})

    monkeypatch.setattr(Top, "select", select)
    assert kept(plan(TOY, TOP))[0] == [0, 1, 2, 3, 5]
    assert not folders[0].exists()


def test_what_a_selector_cannot_do_is_said_with_its_name(monkeypatch):
    def select(self, rows, seed):
        raise ValueError("no vector in 'v'")

    monkeypatch.setattr(Top, "select", select)
    with pytest.raises(RequestError, match="stage 'top' cannot choose: no vector in 'v'"):
        kept(plan(TOY, TOP))


def test_only_columns_that_decide_are_read():
    stages = [TOY, {"kind": "gate"}, {"kind": "filter", "keep": "length(caption) > 2"}, TOP]
    assert decisive(plan(*stages)) == ["_input_caption", "_input_source", "gate_reason", "toy"]
