"""Spherical k-means: worked by hand, ties, lost clusters, two levels."""

import numpy as np

from potstill.pipelines.neighbours.directions import STEP, directions
from potstill.pipelines.neighbours.kmeans import Centroids, spherical_kmeans, sums
from tests.pipelines.neighbours.worlds import angle, mixture


def units(*degrees):
    return directions(angle(*degrees))


def test_two_clusters_have_the_directions_of_their_sums():
    found = spherical_kmeans(units(0, 80, 10, 90), 2)
    np.testing.assert_allclose(found, angle(5, 85), atol=2 * STEP)


def test_one_cluster_is_the_mean_direction_and_the_nearest_come_first():
    found = Centroids(spherical_kmeans(units(10, 20, 60), 1))
    np.testing.assert_allclose(found.leaves, directions(angle(10, 20, 60).sum(axis=0, keepdims=True)), atol=2 * STEP)
    near, labels = Centroids(units(0, 90, 40)).nearest(units(10), 3)
    assert labels.tolist() == [[0, 2, 1]]
    np.testing.assert_allclose(near, np.cos(np.deg2rad([[10, 30, 80]])), atol=4 * STEP)


def test_of_equally_near_centroids_the_first_is_taken():
    near, labels = Centroids(units(90, 0, 90, 0)).nearest(directions(np.array([[1.0, 1.0]])), 4)
    assert labels.tolist() == [[0, 1, 2, 3]]
    assert len(set(near[0].tolist())) == 1


def test_a_cluster_without_rows_starts_again_from_the_farthest_row():
    found = spherical_kmeans(units(0, 0, 1, 90), 2)
    np.testing.assert_allclose(
        found[np.argsort(found[:, 1])], np.concatenate([centre(0, 0, 1), angle(90)]), atol=4 * STEP
    )


def centre(*degrees):
    return directions(angle(*degrees).sum(axis=0, keepdims=True))


def test_rows_that_cancel_each_other_are_no_centroid():
    found = spherical_kmeans(units(0, 180, 90), 1)
    assert np.allclose((found * found).sum(axis=1), 1)


def test_no_more_centroids_than_rows_that_differ():
    assert len(spherical_kmeans(units(0, 0, 90, 90, 0), 4)) == 2
    assert len(spherical_kmeans(units(30), 5)) == 1


def test_sums_do_not_depend_on_the_order():
    rows, labels = mixture(40_000, width=5)
    rows, order = directions(rows), np.random.default_rng(0).permutation(40_000)
    found = sums(rows, labels, 13)
    assert np.array_equal(found, sums(rows[order], labels[order], 13))
    np.testing.assert_allclose(found[3], rows[labels == 3].astype(np.float64).sum(axis=0), rtol=1e-12)
    assert not found[12].any()


def test_a_row_finds_the_same_centroids_in_any_company():
    rows, _ = mixture(3000, width=48, spread=1)
    rows, leaves = directions(rows), directions(mixture(700, width=48, spread=1)[0])
    for centroids in (Centroids(leaves), Centroids(leaves, spherical_kmeans(leaves, 30))):
        near, labels = centroids.nearest(rows, 2)
        alone = [centroids.nearest(part, 2) for part in (rows[:1], rows[1:18], rows[18:])]
        assert np.array_equal(np.concatenate([part[0] for part in alone]), near)
        assert np.array_equal(np.concatenate([part[1] for part in alone]), labels)


def test_cells_find_nearly_always_what_a_full_search_finds():
    rows = directions(mixture(2700, centres=40, width=24)[0])
    leaves, rows = rows[:700], rows[700:]
    near, full = Centroids(leaves).nearest(rows)
    nearly, found = Centroids(leaves, spherical_kmeans(leaves, 30)).nearest(rows)
    assert (full == found).mean() > 0.95
    assert (nearly <= near).all()


def test_more_neighbours_than_centroids_are_all_of_them():
    near, labels = Centroids(units(0, 90)).nearest(units(10), 3)
    assert labels.tolist() == [[0, 1]]
    assert near.shape == (1, 2)


def test_k_means_finds_planted_clusters():
    rows, planted = mixture(3000, centres=8, width=32, spread=0.3)
    labels = Centroids(spherical_kmeans(directions(rows), 24)).nearest(directions(rows))[1][:, 0]
    purity = sum(np.bincount(planted[labels == label]).max() for label in np.unique(labels)) / len(rows)
    assert purity > 0.99
