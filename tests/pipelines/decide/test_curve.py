"""Thresholds for shares of the rows, by hand; ties, nulls, and columns that are no numbers."""

import numpy as np
import pyarrow as pa
import pytest

from potstill.config import RequestError
from potstill.pipelines.decide.curve import curve, sparkline


def levels(values, kept=None, of="s"):
    found = curve(of, {"s": pa.array(values)}, np.array(kept or [True] * len(values), bool))
    return found, {level["share"]: (level["threshold"], level["rows"], level["kept"]) for level in found["levels"]}


def test_a_share_has_the_threshold_at_which_it_stays():
    found, at = levels([float(n) for n in range(1, 11)], [n % 2 == 0 for n in range(1, 11)])
    assert at[0.3] == (8.0, 3, 2) and at[0.1] == (10.0, 1, 1) and at[0.01] == (10.0, 1, 1)
    assert at[0.5] == (6.0, 5, 3) and at[1.0] == (1.0, 10, 5)
    assert (found["rows"], found["without"], found["low"], found["high"]) == (10, 0, 1.0, 10.0)
    assert sum(found["bins"]) == 10


def test_equal_values_stay_together_and_missing_ones_are_counted_apart():
    found, at = levels([0.5, 0.5, 0.5, 0.5, None, float("nan"), float("inf")])
    assert at[0.01] == (0.5, 4, 4) == at[1.0]
    assert (found["rows"], found["without"], found["bins"]) == (4, 3, [4])


def test_an_expression_of_columns_has_a_curve_too():
    assert levels([1.0, 2.0, 4.0], of="-s")[1][0.3] == (-1.0, 1, 1)
    assert levels([True, False], of="s")[1][0.5] == (1.0, 1, 1)


@pytest.mark.parametrize(
    ("of", "values", "error"),
    [
        ("s", ["a"], "curve: s is no column of numbers"),
        ("s", [None], "curve: no row has a number for s"),
        ("s", [], "curve: no row has a number for s"),
        ("3", [1], "curve: 3 names no column"),
        ("s.x", [1], "curve: 's.x': 's.x' is not allowed"),
        ("top(s, 3)", [1], "set_filter"),
    ],
)
def test_what_has_no_curve_says_why(of, values, error):
    with pytest.raises(RequestError, match=error):
        levels(values, of=of)


def test_a_sparkline_shows_every_bin_that_has_a_row():
    assert sparkline([0, 1, 500, 1000]) == " ▁▄█"
