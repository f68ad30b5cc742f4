"""The way of rows through a plan, followed by hand."""

import pyarrow as pa

from potstill.pipelines import schema
from potstill.pipelines.ledger import Ledger, first_drop
from potstill.pipelines.walk import columns_of_decisions, walk
from tests.toys import ToyPlan

STAGES = [
    {"kind": "toy"},
    {"kind": "gate"},
    {"kind": "filter", "keep": {"low": "toy >= 4"}},
    {"kind": "random_subset", "budget": 2},
    {"kind": "toy", "name": "after"},
]


def plan(stages):
    return ToyPlan.model_validate({"source": {"kind": "folder", "path": "/somewhere"}, "stages": stages})


def error(stage):
    return {"stage": stage, "type": "E", "message": "m", "attempts": 1}


def table(rows, **columns):
    errors = columns.pop("error", [None] * rows)
    columns = {name: pa.array(values) for name, values in columns.items()}
    return pa.table(
        {"sample_id": [str(n) for n in range(rows)], **columns, "error": pa.array(errors, schema.ERROR_TYPE)}
    )


def lines(passages):
    """Per stage, one letter a row: kept, dropped, quarantined, pending; a dot for a row that did not come so far."""

    def letter(passage, row):
        states = {"k": passage.kept, "d": passage.dropped, "q": passage.quarantined, "p": passage.pending}
        found = [name for name, where in states.items() if where[row]]
        assert len(found) == int(passage.entered[row]), "each row that enters is in just one state"
        return "".join(found) or "."

    return {each.stage: "".join(letter(each, row) for row in range(len(each.entered))) for each in passages}


HALF_WAY = table(
    7,
    toy=[2, 3, 4, 6, None, 8, None],
    _done_toy=[True, True, True, True, None, True, None],
    gate_reason=[None, "odd", None, None, None, None, None],
    _done_gate=[True, True, True, True, None, None, None],
    after=[None, None, None, 9, None, None, None],
    _done_after=[None, None, None, True, None, None, None],
    error=[None, None, None, None, error("toy"), error("gate"), None],
)
CHOSEN = HALF_WAY.append_column("_why_random_subset", pa.array([None, None, "not_selected", *[None] * 4]))


def test_each_row_goes_as_far_as_its_columns_let_it():
    assert lines(walk(plan(STAGES), CHOSEN)) == {
        "toy": "kkkkqkp",
        "gate": "kdkk.q.",
        "filter": "d.kk...",
        "random_subset": "..dk...",
        "after": "...k...",
    }


def test_a_selector_that_has_not_chosen_holds_every_row_that_reaches_it():
    assert lines(walk(plan(STAGES), HALF_WAY))["random_subset"] == "..pp..."
    assert lines(walk(plan(STAGES), HALF_WAY))["after"] == "......."


def test_the_walk_can_stop_before_a_stage():
    assert list(lines(walk(plan(STAGES), HALF_WAY, 2))) == ["toy", "gate"]
    assert walk(plan(STAGES), HALF_WAY, 0) == []


def test_before_anything_is_computed_all_rows_wait_at_the_first_stage():
    assert lines(walk(plan(STAGES), table(3))) == {
        "toy": "ppp",
        "gate": "...",
        "filter": "...",
        "random_subset": "...",
        "after": "...",
    }


def test_a_filter_before_any_model_saves_the_work_on_what_it_drops():
    stages = [{"kind": "filter", "name": "short", "keep": {"short": "length(caption) >= 3"}}, {"kind": "toy"}]
    rows = table(3, _input_caption=["ab", "abc", None])
    assert lines(walk(plan(stages), rows)) == {"short": "dkd", "toy": ".p."}
    assert walk(plan(stages), rows)[0].reasons.tolist() == ["short", None, "short_unknown"]


def test_a_filter_reads_the_text_that_was_there_before_it():
    stages = [
        {"kind": "filter", "name": "before", "keep": "instruction == 'old'"},
        {"kind": "toy", "name": "instruction"},
        {"kind": "filter", "name": "behind", "keep": "instruction == 7"},
    ]
    rows = table(2, _input_instruction=["old", "x"], instruction=[7, 7], _done_instruction=[True, True])
    assert lines(walk(plan(stages), rows)) == {"before": "kd", "instruction": "k.", "behind": "k."}


def test_a_filter_over_columns_of_a_stage_that_nobody_reached_drops_nobody():
    stages = [{"kind": "filter", "name": "none", "keep": "1 > 2"}, {"kind": "gate", "size": "width"},
              {"kind": "filter", "keep": "length(gate_reason) > 1 and gate_reason in ('a', 'b')"}]  # fmt: skip
    assert lines(walk(plan(stages), table(2))) == {"none": "dd", "gate": "..", "filter": ".."}


def test_no_rows_pass_every_stage():
    assert set(lines(walk(plan(STAGES), table(0))).values()) == {""}


def test_the_columns_of_decisions_are_those_of_gates_and_filters():
    assert columns_of_decisions(plan(STAGES)) == ["error", "gate_reason", "toy"]


def test_the_stage_that_ended_a_rows_way_is_named_with_its_reason():
    by, reason = first_drop(walk(plan(STAGES), CHOSEN), 7)
    assert by.tolist() == ["filter", "gate", "random_subset", None, "toy", "gate", "toy"]
    assert reason.tolist() == ["low", "odd", "not_selected", None, "quarantined", "quarantined", "pending"]


def test_the_counts_of_the_walk_add_up():
    ledger = Ledger({"toy": "toy", "gate": "gate", "filter": "filter", "random_subset": "x", "after": "toy"})
    ledger.add_intake(9, 1, 1)
    ledger.add(walk(plan(STAGES), CHOSEN))
    ledger.check(1)
    counted = [(c["name"], c["in"], c["kept"], c["dropped"], c["quarantined"], c["pending"]) for c in ledger.as_json()]
    assert counted == [
        ("intake", 9, 7, {}, 1, 0),
        ("toy", 7, 5, {}, 1, 1),
        ("gate", 5, 3, {"odd": 1}, 1, 0),
        ("filter", 3, 2, {"low": 1}, 0, 0),
        ("random_subset", 2, 1, {"not_selected": 1}, 0, 0),
        ("after", 1, 1, {}, 0, 0),
    ]
