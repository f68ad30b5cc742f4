"""Rows next to limits: either side, in order of distance, whatever the comparison."""

import ast

import numpy as np
import pyarrow as pa
import pytest

from potstill.pipelines.decide.border import borders, comparisons
from potstill.pipelines.filters import expression
from potstill.pipelines.plan import Plan
from potstill.pipelines.walk import Passage

WIDTHS = [10, 40, 30, None, 50, 20]


def plan(*stages):
    return Plan.model_validate({"source": {"kind": "folder", "path": "/nowhere"}, "stages": list(stages)})


def found(stage, entered=(True,) * 6, **columns):
    columns = {"width": WIDTHS} | columns
    table = pa.table({f"_input_{name}": values for name, values in columns.items()})
    nothing = np.zeros(6, bool)
    passage = Passage("f", np.array(entered), nothing, nothing, np.full(6, None, object))
    sides = borders(plan(stage), 0, table, passage, stage["keep"])
    return {one["comparison"]: tuple([row["at"] for row in one[side]] for side in ("holds", "fails")) for one in sides}


def test_the_nearest_stand_first_on_both_sides_and_null_on_neither():
    stage = {"kind": "filter", "keep": {"small": "width >= 35"}}
    assert found(stage) == {"width >= 35": ([1, 4], [2, 5, 0])}


def test_only_rows_that_reach_the_filter_are_shown():
    stage = {"kind": "filter", "keep": {"small": "width >= 35"}}
    assert found(stage, (True, False, False, True, True, True)) == {"width >= 35": ([4], [5, 0])}


def test_every_comparison_of_a_condition_has_its_border_and_texts_have_none():
    stage = {"kind": "filter", "keep": {"odd": "15 < width <= 40 and not (height / width > 2) or caption < 'x'"}}
    sides = found(stage, height=[10, 10, 90, 10, 150, 10], caption=["a"] * 6)
    assert sides == {
        "15 < width": ([5, 2, 1], [0]),
        "width <= 40": ([1, 2, 5], [4]),
        "height / width > 2": ([2, 4], [0, 5, 1]),
    }


def test_whole_numbers_of_any_size_have_a_border():
    stage = {"kind": "filter", "keep": {"small": "height > 9"}}
    assert found(stage, height=[2**62, 8, 7, 6, None, -(2**62)]) == {"height > 9": ([0], [1, 2, 3])}


def test_a_rank_has_its_border_at_the_last_row_of_the_top():
    stage = {"kind": "set_filter", "keep": {"far": "top(width, 2)", "low": "width > mean(width)"}}
    assert found(stage) == {"rank(width) <= 2": ([1, 4], [2, 5, 0]), "width > mean(width)": ([1, 4], [2, 5, 0])}


def test_equal_distances_are_in_the_order_of_the_ids_and_no_more_than_three():
    stage = {"kind": "filter", "keep": {"small": "width >= 0"}}
    assert found(stage, width=[7, 7, 1, 7, 7, 7]) == {"width >= 0": ([2, 0, 1], [])}


@pytest.mark.parametrize(
    ("text", "links"),
    [
        ("a < b < 3", ["a < b", "b < 3"]),
        ("a == 1 or a in (1, 2) or a is None or b", []),
        ("not (a > 1 and b <= a + 1)", ["a > 1", "b <= a + 1"]),
    ],
)
def test_links_are_found_wherever_they_stand(text, links):
    assert [ast.unparse(one) for one in comparisons(expression.parse(text))] == links
