"""A budget over concept clusters: exact, order-free, complex clusters first."""

import numpy as np
import pytest
from pydantic import ValidationError

from potstill.pipelines.rowset import RowSet
from potstill.pipelines.selectors.concept_clusters import ConceptClusters
from tests.pipelines.neighbours.worlds import angle, column, cut, mixture


def stage(**settings):
    return ConceptClusters.model_validate({"embedding": "v", **settings})


def kept(rows, **settings):
    return stage(**settings).select(rows, 0).keep


def plane(*degrees, **more):
    return cut(angle(*degrees), range(len(degrees)), [2], **more)


def test_one_cluster_keeps_the_rows_farthest_from_its_centroid_or_nearest_to_it():
    rows = plane(0, 10, 20, 30, 90)
    assert kept(rows, budget=2, clusters=1).tolist() == [True, False, False, False, True]
    assert kept(rows, budget=2, clusters=1, keep="nearest").tolist() == [False, False, True, True, False]
    choice = stage(budget=2, clusters=1).select(rows, 0)
    assert choice.columns["concept_clusters_cluster"].to_pylist() == [0] * 5
    middle = np.rad2deg(np.arctan2(*angle(0, 10, 20, 30, 90).sum(axis=0)[::-1]))
    expected = 1 - np.cos(np.deg2rad(np.array([0, 10, 20, 30, 90]) - middle))
    np.testing.assert_allclose(choice.columns["concept_clusters_distance"].to_pylist(), expected, atol=1e-3)
    assert set(choice.reasons.tolist()) == {"not_selected"}


def test_of_equally_far_rows_the_lower_id_stays():
    assert kept(plane(0, 0, 0, 0), budget=3, clusters=2).tolist() == [True, True, True, False]


def test_a_budget_of_the_rows_or_more_keeps_all_and_of_nothing_is_refused():
    rows = plane(0, 10, 20, missing=[1])
    for budget in (3, 4, 1.0):
        assert kept(rows, budget=budget).all()
    for bad in (0, 0.0, -1, 1.2):
        with pytest.raises(ValidationError):
            stage(budget=bad)


@pytest.mark.parametrize("budget", [1, 7, 60, 299, 0.5])
@pytest.mark.parametrize("temperature", [0.001, 0.1, 100])
def test_the_budget_is_kept_exactly(budget, temperature):
    rows = cut(mixture(300)[0], range(300), [70])
    count = budget if isinstance(budget, int) else 150
    assert kept(rows, budget=budget, temperature=temperature, clusters=12).sum() == count


def test_the_wide_cluster_among_the_far_gets_more_than_the_narrow_one():
    rng = np.random.default_rng(0)
    wide, narrow = 0 + 30 * rng.standard_normal(100), 180 + 2 * rng.standard_normal(100)
    rows = plane(*wide, *narrow)
    keep = kept(rows, budget=80, clusters=2, temperature=0.05)
    assert keep[:100].sum() > keep[100:].sum() >= 20


def test_rows_without_a_vector_fill_what_is_left_of_the_budget():
    rows = plane(0, 50, 100, 150, missing=[0, 2])
    choice = stage(budget=3).select(rows, 0)
    assert choice.keep.tolist() == [True, True, False, True]
    assert choice.reasons[2] == "no_vector"
    assert choice.columns["concept_clusters_distance"].to_pylist()[0] is None
    assert kept(rows, budget=1).sum() == kept(rows, budget=1)[[1, 3]].sum() == 1


def test_order_and_blocks_change_nothing():
    vectors, order = mixture(800)[0], np.random.default_rng(1).permutation(800)
    whole = stage(budget=0.3, clusters=20).select(cut(vectors, range(800), []), 7)
    other = stage(budget=0.3, clusters=20).select(cut(vectors, order, [9, 0, 400, 200]), 7)
    assert np.array_equal(whole.keep, other.keep)
    assert whole.columns == other.columns


def test_no_rows_and_no_vectors():
    assert len(kept(RowSet.of([], v=column(np.zeros((0, 3)))), budget=5)) == 0
    assert kept(plane(0, 1, 2, missing=[0, 1, 2]), budget=2).tolist() == [True, True, False]
    assert kept(plane(0, 90), budget=1, clusters=1000).sum() == 1
