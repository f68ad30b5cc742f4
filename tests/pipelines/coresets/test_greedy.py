"""The three greedy rules, each worked out by hand and against the plain, slow form of itself."""

import numpy as np
import pytest

from potstill.pipelines.coresets.greedy import facility_location, herding, k_centre, nearest
from potstill.pipelines.rowset import unit

RULES = (k_centre, herding, facility_location)


def on_circle(*degrees):
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def pick(rule, features, budget):
    return rule(features, budget, features, features.mean(0)).tolist()


def cloud(rows=200, dim=8, seed=0):
    return unit(np.random.default_rng(seed).normal(size=(rows, dim)).astype(np.float32))


def test_k_centre_takes_the_row_nearest_to_the_mean_then_the_farthest_from_those_taken():
    assert pick(k_centre, on_circle(0, 10, 20, 90, 100), 3) == [2, 4, 0]  # the mean points to 41 degrees


def test_the_radius_of_k_centre_is_at_most_twice_the_least_possible():
    features = on_circle(0, 3, 6, 120, 124, 240, 243, 247)
    picks = pick(k_centre, features, 3)
    radius = np.sqrt(2 - 2 * nearest(features, features[picks]).min())
    least = 2 * np.sin(np.radians(4) / 2)  # the middle of each bunch: 3, 4 and 4 degrees
    assert least - 1e-4 <= radius <= 2 * least + 1e-4


def test_herding_takes_the_row_along_the_mean_then_what_makes_up_for_it():
    # mean (0.5, 0.5): 0 and 1 point along the axes, 2 along the diagonal, 3 is opposite to it
    features = np.array([[1, 0], [0, 1], [0.8, 0.6], [0.6, 0.8], [-0.4, 0.1]], np.float32)
    mean = np.array([0.4, 0.5], np.float32)
    # <w, f> = .4, .5, .62, .64: row 3; w = .8 - .6, 1.0 - .8 = (.2, .2): .2, .2, .28: row 2; w = (-.2, .1): row 1
    assert herding(features, 3, features, mean).tolist() == [3, 2, 1]


def test_the_mean_of_herded_rows_is_nearer_to_the_mean_than_that_of_random_rows():
    features = cloud()
    gap = np.linalg.norm(features[pick(herding, features, 20)].mean(0) - features.mean(0))
    rng = np.random.default_rng(1)
    random = [np.linalg.norm(features[rng.permutation(200)[:20]].mean(0) - features.mean(0)) for _ in range(50)]
    assert gap < min(random)


def test_facility_location_takes_the_middle_of_each_bunch_the_larger_first():
    assert pick(facility_location, on_circle(-6, -2, 0, 2, 6, 175, 180, 185), 2) == [2, 6]


def test_lazy_facility_location_is_the_plain_greedy():
    features = cloud()
    similarity = (1 + features.astype(np.float64) @ features.T) / 2
    best, plain = np.zeros(len(features)), []
    for _ in range(25):
        gains = np.maximum(similarity - best[:, None], 0).sum(0)
        gains[plain] = -1
        plain.append(int(gains.argmax()))
        best = np.maximum(best, similarity[:, plain[-1]])
    assert pick(facility_location, features, 25) == plain


@pytest.mark.parametrize("rule", RULES)
def test_of_equal_rows_the_first_is_taken(rule):
    assert pick(rule, on_circle(30, 30, 30), 1) == [0]
    features = np.repeat(on_circle(0, 120, 240), 4, axis=0)
    assert sorted(pick(rule, features, 3)) == [0, 4, 8]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("budget", [5, 6])
def test_a_budget_of_all_rows_or_more_takes_each_once(rule, budget):
    assert pick(rule, on_circle(1, 2, 3, 4, 5), budget) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("rule", RULES)
def test_a_smaller_budget_takes_the_first_picks_of_a_larger_one_and_none_twice(rule):
    features = cloud()
    many = pick(rule, features, 40)
    assert len(set(many)) == 40
    assert pick(rule, features, 15) == many[:15]


@pytest.mark.parametrize("rule", RULES)
def test_a_row_of_zeros_breaks_nothing(rule):
    features = np.concatenate([np.zeros((1, 2), np.float32), on_circle(0, 90)])
    assert len(set(pick(rule, features, 2))) == 2


def test_nearest_is_the_largest_cosine_and_minus_one_when_nothing_is_chosen():
    features = on_circle(0, 60, 180)
    assert nearest(features, features[:1]) == pytest.approx([1, 0.5, -1], abs=1e-6)
    assert nearest(features, features[:0]).tolist() == [-1, -1, -1]
