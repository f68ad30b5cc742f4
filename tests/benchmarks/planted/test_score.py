import itertools
import math

import pytest

from benchmarks.planted.measure import Confusion
from benchmarks.planted.outcome import Outcome
from benchmarks.planted.score import (
    Claims,
    Operator,
    Score,
    confusion_of,
    kind_table,
    load_claims,
    operator_table,
    report,
    score_table,
    standing,
    threshold_table,
    values,
    whole,
)
from potstill.config import RequestError

NUMBER = itertools.count()


def row(*flaws, group=None, kinds=1, stages=None, **columns):
    truth = {
        "id": f"row-{next(NUMBER)}",
        "flaws": list(flaws),
        "group": group,
        "scene": {"objects": dict.fromkeys("abcd"[:kinds], 1)},
    }
    return Outcome(truth, {"intake": None} | (stages or {}), columns)


ROWS = [
    row(group="g", stages={"gate": None, "near": None}, clip=0.9),
    row("resized", group="g", stages={"gate": None, "near": "near_duplicate"}, clip=0.8),
    row("exact_copy", group="g", stages={"intake": "duplicate"}),
    row("altered.crop", group="g", stages={"gate": None, "near": None}, clip=0.9),
    row(stages={"gate": "small"}, clip=0.3, kinds=2),
    row(stages={"gate": None, "near": None}, clip=0.5, kinds=2),
    row("shape.tiny", stages={"gate": "small"}, clip=0.6),
    row("shape.narrow", stages={"gate": None, "near": None}, clip=0.1, kinds=2),
    row("caption_other", "shape.narrow", stages={"gate": "narrow"}),
    row("broken.empty", stages={"intake": "quarantine: EmptyFile"}),
    row("blank.flat", stages={"gate": "quarantine: Oops"}),
]
CLAIMS = Claims(operators={
    "decode": Operator(stage="intake", how="quarantine", flaws=("broken",)),
    "exact": Operator(stage="intake", how="duplicate", copies=True, flaws=("exact_copy",)),
    "shape": Operator(stage="gate", flaws=("shape",), scores=(Score(column="clip", flaws=("shape",)),)),
    "near": Operator(stage="near", copies=True, flaws=("resized",)),
})  # fmt: skip


def test_confusions_worked_by_hand():
    found = {name: confusion_of(operator, ROWS) for name, operator in CLAIMS.operators.items()}
    assert found["decode"] == Confusion(1, 0, 0, 0)
    assert found["exact"] == Confusion(1, 0, 0, 0)
    # tiny and the double one found, narrow missed, one clean row flagged; a quarantine is no decision
    assert found["shape"] == Confusion(2, 1, 0, 1)
    # the resized copy goes; the crop that stays is not claimed
    assert found["near"] == Confusion(1, 0, 0, 0)


def test_an_exact_copy_is_as_good_an_original_as_the_clean_row():
    rows = [
        row(group="g", stages={"intake": "duplicate"}),
        row("exact_copy", group="g", stages={"near": None}),
        row("resized", group="g", stages={"near": None}),
    ]
    assert confusion_of(CLAIMS.operators["near"], rows) == Confusion(0, 0, 0, 1)


def test_reasons_split_a_stage_into_operators():
    small = Operator(stage="gate", reasons=("small",), flaws=("shape.tiny",))
    narrow = Operator(stage="gate", reasons=("narrow",), flaws=("shape.narrow",))
    assert confusion_of(small, ROWS) == Confusion(1, 1, 0, 0)
    assert confusion_of(narrow, ROWS) == Confusion(1, 0, 0, 1)


def test_an_operator_answers_only_for_rows_that_reached_it():
    late = Operator(stage="near", flaws=("shape",))
    assert confusion_of(late, ROWS) == Confusion(0, 0, 1, 1), "of the misshapen rows one came so far"


def test_a_score_turned_so_that_low_is_bad_among_scenes_of_one_sort():
    good, bad = values(Score(column="clip", flaws=("shape",)), ROWS)
    assert (sorted(good), sorted(bad)) == ([0.3, 0.5, 0.9], [0.1, 0.6])
    good, bad = values(Score(column="clip", flaws=("shape",), bad="high", scenes="several"), ROWS)
    assert (sorted(good), list(bad)) == ([-0.5, -0.3], [-0.1])
    assert "| clip | shape | 0.667 |" in score_table(ROWS, CLAIMS)  # 4 of 6 pairs


def test_a_copy_stands_for_its_lost_original_and_a_doubly_flawed_one_does_not():
    assert standing(ROWS) == [True, False, False, False, False, True, *[False] * 5]
    lost = [row(group="g", stages={"gate": "small"}), row("resized", group="g"), row("altered.noise", group="g")]
    assert standing(lost) == [False, True, False]
    assert standing([*lost, row("exact_copy", group="g")]) == [False, False, False, True], "the copy most like it"
    assert standing([lost[0], row("resized", "foreign.label", group="g")]) == [False, False]


def test_the_whole_plan_counted_by_hand():
    found = whole(ROWS, CLAIMS)
    assert found["clean kept"] == (2, 3)
    assert found["clean kept through a copy of theirs"] == (0, 3)
    # resized, exact copy, tiny, double and broken go; narrow stays
    assert found["claimed flaws dropped"] == (5, 6)
    assert found["all flaws dropped"] == (6, 8)


def test_a_clean_row_whose_copy_is_kept_counts_as_kept():
    rows = [row(group="g", stages={"near": "near_duplicate"}), row("resized", group="g", stages={"near": None}), row()]
    assert whole(rows, CLAIMS)["clean kept"] == (2, 2)
    assert whole(rows, CLAIMS)["clean kept through a copy of theirs"] == (1, 2)
    assert whole(rows, CLAIMS)["claimed flaws dropped"] == (0, 0), "the copy took its original's place"
    assert "| clean | 2 | 0 | 0 | 0.0 % |" in kind_table(rows, CLAIMS)


def test_the_tables_name_operators_kinds_and_stages():
    assert "| shape | shape | 3 | 2 | 0.667 | 0.667 | 0.667 | 1 | 0 |" in operator_table(ROWS, CLAIMS)
    by_kind = kind_table(ROWS, CLAIMS)
    assert "| clean | 3 | 0 | 1 | 33.3 % | - | gate 1 |" in by_kind
    assert "| caption_other + shape.narrow | 1 | 0 | 1 | 100.0 % | yes | gate 1 |" in by_kind
    assert "| blank.flat | 1 | 0 | 1 | 100.0 % | no | gate 1 |" in by_kind
    assert report(ROWS, CLAIMS).count("###") == 4


def test_a_threshold_costs_the_share_of_clean_rows_it_says():
    rows = [row(clip=value / 100) for value in range(101)] + [row("shape.tiny", clip=value) for value in (0.005, 0.5)]
    table = threshold_table(rows, CLAIMS, lost=(0.01, 0.6))
    assert "0.01: 50.0 %" in table
    assert "0.6: 100.0 %" in table


def test_an_empty_confusion_has_no_share():
    assert math.isnan(confusion_of(CLAIMS.operators["near"], []).f1)


def test_the_shipped_claims_are_valid_and_wrong_ones_are_named(tmp_path):
    assert load_claims().flaws
    file = tmp_path / "claims.yaml"
    file.write_text("operators: {x: {stage: gate, flaws: [shape.round]}}", encoding="utf-8")
    with pytest.raises(RequestError, match=r"no flaw shape\.round"):
        load_claims(file)
