"""D4: duplicates first, then the most typical rows."""

import numpy as np
import pytest
from pydantic import ValidationError

from potstill.pipelines.rowset import RowSet
from potstill.pipelines.selectors.d4 import D4
from tests.pipelines.neighbours.worlds import angle, column, cut, mixture


def choice(rows, **settings):
    return D4.model_validate({"embedding": "v", **settings}).select(rows, 0)


def plane(*degrees, **more):
    return cut(angle(*degrees), range(len(degrees)), [2], **more)


def test_worked_by_hand():
    found = choice(plane(0, 30, 40, 80, 81, 31), budget=2, dedup_keep=0.67, clusters=1)
    assert found.keep.tolist() == [True, False, False, True, False, False]
    assert found.reasons[1:3].tolist() == ["prototypical", "prototypical"]
    assert found.reasons[4:].tolist() == ["semantic_duplicate", "semantic_duplicate"]
    assert found.columns["d4_cluster"].to_pylist() == [0, 0, 0, 0, None, None]
    cosine = found.columns["d4_cosine"].to_pylist()
    np.testing.assert_allclose(cosine[1:], np.cos(np.deg2rad([30, 10, 40, 1, 1])), atol=1e-3)
    assert cosine[0] is None
    middle = np.rad2deg(np.arctan2(*angle(0, 30, 40, 80).sum(axis=0)[::-1]))
    expected = 1 - np.cos(np.deg2rad(np.array([0, 30, 40, 80]) - middle))
    np.testing.assert_allclose(found.columns["d4_distance"].to_pylist()[:4], expected, atol=1e-3)


def test_of_equally_close_rows_the_lower_id_stays():
    assert choice(plane(0, 0, 0, 0), budget=3, dedup_keep=0.75).keep.tolist() == [True, True, True, False]
    assert choice(plane(0, 0, 0, 0), budget=2, dedup_keep=0.25).keep.tolist() == [True, True, False, False]


def test_a_budget_is_kept_exactly_however_few_rows_deduplication_should_leave():
    rows = cut(mixture(300)[0], range(300), [90])
    for budget, count in ((1, 1), (100, 100), (0.9, 270), (1.0, 300), (500, 300)):
        assert choice(rows, budget=budget, dedup_keep=0.5, clusters=10).keep.sum() == count


def test_copies_go_before_rows_that_are_like_no_other():
    vectors = mixture(200, width=24, spread=1)[0]
    noise = np.random.default_rng(0).standard_normal((100, 24))
    vectors = np.concatenate([vectors, vectors[:100] + 0.01 * noise])
    found = choice(cut(vectors, range(300), []), budget=150, dedup_keep=2 / 3, clusters=5)
    assert (found.reasons[200:] == "semantic_duplicate").all()
    assert not found.keep[200:].any()
    assert found.keep[:200].sum() == 150
    distance = np.array(found.columns["d4_distance"].to_pylist()[:200])
    assert distance[found.keep[:200]].min() >= distance[~found.keep[:200]].max()


def test_rows_without_a_vector_fill_what_is_left_of_the_budget():
    found = choice(plane(0, 50, 100, 150, missing=[0, 2]), budget=3)
    assert found.keep.tolist() == [True, True, False, True]
    assert found.reasons[2] == "no_vector"


def test_order_and_blocks_change_nothing():
    vectors, order = mixture(800)[0], np.random.default_rng(1).permutation(800)
    whole = choice(cut(vectors, range(800), []), budget=0.4, clusters=20, cluster_rows=50)
    other = choice(cut(vectors, order, [9, 0, 400, 200]), budget=0.4, clusters=20, cluster_rows=50)
    assert np.array_equal(whole.keep, other.keep)
    assert whole.columns == other.columns


def test_no_rows_no_vectors_and_bad_budgets():
    assert len(choice(RowSet.of([], v=column(np.zeros((0, 3)))), budget=5).keep) == 0
    assert choice(plane(0, 1, 2, missing=[0, 1, 2]), budget=2).keep.tolist() == [True, True, False]
    for bad in ({"budget": 0}, {"budget": 1.5}, {"budget": 3, "dedup_keep": 0}):
        with pytest.raises(ValidationError):
            choice(plane(0), **bad)
