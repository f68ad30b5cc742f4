"""Herding: the mean of a class by hand; the rest in test_coreset.py."""

import numpy as np
import pyarrow as pa

from potstill.pipelines.selectors.herding import Herding
from tests.pipelines.selectors.sets import rows, vectors

FAN = vectors([[1, 0], [0.8, 0.6], [0, 1], [-0.6, 0.8], [-1, 0]])


def test_rows_along_the_mean_first_then_what_balances_it():
    # mean (.04, .48). <w, f> = .04, .32, .48, .36, -.04: row 2; w = (.08, -.04): row 0 with .08;
    # w = (-.88, .44): .88 for row 3 and .88 for row 4, where .528 + .352 = .88 too
    choice = Herding(budget=2, embedding="e").select(rows(5, e=FAN), 0)
    assert choice.columns["herding_rank"].to_pylist() == [1, None, 0, None, None]


def test_each_class_follows_its_own_mean():
    labels = pa.array(["x", "x", "y", "y", "y"])
    choice = Herding(budget=2, embedding="e", by="c").select(rows(5, e=FAN, c=labels), 0)
    # x: equal, so the first; y: mean (-.53, .6), nearest to (-.6, .8)
    assert np.flatnonzero(choice.keep).tolist() == [0, 3]


def test_the_objective_is_the_gap():
    assert Herding(budget=1, embedding="e").objective(np.ones(3), 0.25) == 0.25
