import numpy as np
import pyarrow as pa
import pytest

from potstill.pipelines.report.charts import WIDTH, chart
from potstill.pipelines.report.histogram import BINS, Histogram, Threshold, thresholds
from tests.pipelines.report.runs import make_plan


def filled(chunks, *, integer):
    histogram = Histogram("score", "judge", integer)
    columns = [(pa.chunked_array([pa.array(values, pa.float64())]), np.array(kept)) for values, kept in chunks]
    for values, _ in columns:
        histogram.measure(values)
    for values, kept in columns:
        histogram.add(values, kept)
    return histogram


def test_whole_numbers_get_a_bar_each_over_all_chunks():
    found = filled([([1, 3, 3], [False, True, False]), ([5, None], [True, True])], integer=True)
    assert found.edges.tolist() == [0.5, 1.5, 2.5, 3.5, 4.5, 5.5]
    assert found.kept[:5].tolist() == [0, 0, 1, 0, 1]
    assert found.other[:5].tolist() == [1, 0, 1, 0, 0]
    assert (found.rows, found.mean) == (4, 3.0)


def test_fractions_fall_into_equal_bins_between_exact_ends_and_none_is_lost():
    found = filled([([0.0, 0.5], [True, True]), ([1.0, 0.999], [False, True])], integer=False)
    assert (found.edges[0], found.edges[-1], len(found.edges)) == (0.0, 1.0, BINS + 1)
    assert (found.kept.sum(), found.other.sum(), found.other[-1]) == (3, 1, 1)


def test_infinite_numbers_are_counted_apart():
    found = filled([([float("nan"), float("inf"), 2.0], [True, True, True])], integer=False)
    assert (found.rows, found.unusable, found.kept.sum()) == (1, 2, 1)
    assert "2 not finite" in chart(found, ()).caption


def test_equal_numbers_stand_in_one_bar():
    assert len(chart(filled([([0.25] * 9, [True] * 9)], integer=False), ()).bars) == 1


def test_a_column_without_numbers_stays_empty():
    assert filled([([None], [True])], integer=False).rows == 0


def test_limits_are_read_off_the_filters_from_either_side():
    keep = {"a": "solvability >= 3 and -0.5 < match < 0.9", "b": "solvability + match > 2", "c": "'x' != instruction"}
    found = thresholds(make_plan("/nowhere", {}, keep))
    assert [(limit.sign, limit.value) for limit in found["solvability"]] == [(">=", 3)]
    assert sorted((limit.sign, limit.value) for limit in found["match"]) == [("<", 0.9), (">", -0.5)]
    assert set(found) == {"solvability", "match"}


def test_a_filter_over_all_rows_has_its_limits_too_and_none_where_it_compares_with_what_it_measures():
    keep = {"a": "match > 0.5 and match >= quantile(match, 0.1)", "b": "top(match, 3)"}
    plan = make_plan("/nowhere", {}, more=[{"kind": "set_filter", "keep": keep}])
    assert thresholds(plan)["match"] == [Threshold("set_filter", ">", 0.5)]


@pytest.mark.parametrize(("sign", "place"), [(">=", 0.5), (">", 0.75), ("<", 0.5), ("<=", 0.75)])
def test_a_limit_on_whole_numbers_stands_between_the_bars(sign, place):
    found = filled([([1, 2, 3, 4], [True] * 4)], integer=True)
    assert chart(found, [Threshold("gate", sign, 3)]).lines[0].x == pytest.approx(place * WIDTH)


def test_the_retention_curve_falls_from_all_rows_to_none_by_the_rows_of_each_bar():
    found = filled([([1, 1, 2, 4], [True, False, True, False])], integer=True)
    assert chart(found, ()).retention == "0.0,0.0 80.0,48.0 160.0,72.0 240.0,72.0 320.0,96.0"


def test_a_limit_outside_the_numbers_is_named_but_not_drawn():
    found = filled([([1, 2], [True, True])], integer=True)
    line = chart(found, [Threshold("gate", ">=", 9)]).lines[0]
    assert (line.x, line.label) == (None, "gate: >= 9")
