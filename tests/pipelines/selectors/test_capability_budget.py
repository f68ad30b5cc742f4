"""The shell around mmSSR's shares: settings, styles, reasons."""

import pyarrow as pa
import pytest
from pydantic import ValidationError

from potstill.pipelines.selectors.capability_budget import CapabilityBudget
from tests.pipelines.selectors.sets import kept, rows, shuffled, told

OCR = pa.array([5, 4, 3, 0, None, 1], pa.int32())
MATHS = pa.array([5, 0, 4, 0, None, 2.0])
STYLE = pa.array(["short", "short", "long", "long", None, "long"])
COLUMNS = {"ocr": OCR, "maths": MATHS, "style": STYLE}


def test_rows_are_kept_for_a_capability_and_dropped_for_none():
    choice = CapabilityBudget(budget=3, scores=["ocr", "maths"]).select(rows(6, **COLUMNS), 0)
    # shares 2 and 1: ocr takes 0 and 1, maths 2
    assert choice.columns["capability_budget_capability"].to_pylist() == ["ocr", "ocr", "maths", None, None, None]
    assert choice.reasons[3:].tolist() == ["no_capability", "no_capability", "not_selected"]


def test_styles_spread_a_share_and_rows_without_one_are_a_bin_of_their_own():
    settings = {"budget": 2, "scores": {"ocr": 1}, "style": "style"}
    assert kept(CapabilityBudget(**settings).select(rows(6, **COLUMNS), 0)) == [0, 2]
    ocr = pa.array([5, 4, 3, 0, 1, 1])
    assert kept(CapabilityBudget(**settings | {"budget": 3}).select(rows(6, ocr=ocr, style=STYLE), 0)) == [0, 2, 4]


def test_a_row_may_have_several_styles():
    style = pa.array([["a", "b"], ["a"], ["a"], ["b", "b"], [], None])
    choice = CapabilityBudget(budget=3, scores=["s"], style="style").select(
        rows(6, s=pa.array([6, 5, 4, 3, 2, 1]), style=style), 0
    )
    assert kept(choice) == [0, 1, 4]  # bins none {4, 5}, b {0, 3}, a {0, 1, 2}: the best of each that is left


def test_a_higher_threshold_and_a_budget_beyond_all():
    stage = CapabilityBudget(budget=99, scores=["ocr", "maths"], above=3)
    assert kept(stage.select(rows(6, **COLUMNS), 0)) == [0, 1, 2]


def test_the_order_of_rows_changes_nothing():
    stage = CapabilityBudget(budget=4, scores={"ocr": 2, "maths": 1}, style="style")
    assert told(stage.select(rows(6, **COLUMNS), 0)) == told(stage.select(shuffled(6, **COLUMNS), 0))


def test_no_rows_and_wrong_settings():
    empty = rows(0, s=pa.array([], pa.float32()))
    assert CapabilityBudget(budget=1, scores=["s"]).select(empty, 0).keep.tolist() == []
    for wrong in ({"budget": 0, "scores": ["a"]}, {"budget": 1, "scores": []}, {"budget": 1, "scores": {"a": 0}}):
        with pytest.raises(ValidationError):
            CapabilityBudget(**wrong)


def test_it_reads_each_score_and_the_style():
    assert CapabilityBudget(budget=1, scores=["a", "b"], style="c").reads() == ("a", "b", "c")
