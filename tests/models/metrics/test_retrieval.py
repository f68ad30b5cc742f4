"""Places and recall: by hand, against the whole matrix, with ties against all orders."""

from itertools import permutations

import numpy as np
import pytest

from potstill.models.metrics.retrieval import places


def unit(n, d, seed=0):
    rows = np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_places_by_hand():
    queries = np.array([[1, 0], [0, 1]], dtype=np.float32)
    candidates = np.array([[0.6, 0.8], [0.8, 0.6], [0, -1]], dtype=np.float32)
    # query 0 scores 0.6, 0.8, 0; query 1 scores 0.8, 0.6, -1
    found = places(queries, candidates, [[0, 0], [1, 1]])
    assert (found.above.tolist(), found.equal.tolist(), found.right.tolist()) == ([1, 1], [1, 1], [1, 1])
    assert found.hits(1).tolist() == [0, 0]
    assert found.hits(2).tolist() == [1, 1]


def test_the_best_of_several_right_candidates_counts():
    queries = np.array([[1, 0]], dtype=np.float32)
    candidates = np.array([[0.6, 0.8], [0.8, 0.6], [0, -1]], dtype=np.float32)
    assert places(queries, candidates, [[0, 2], [0, 1]]).hits(1).tolist() == [1]
    assert places(queries, candidates, [[0, 2], [0, 0], [0, 0]]).above.tolist() == [1]


@pytest.mark.parametrize("block", [1, 7, 64, 5000])
def test_blocks_give_what_the_whole_matrix_gives_in_both_directions(block):
    images, texts = unit(40, 8), unit(120, 8, seed=1)
    pairs = np.stack([np.repeat(np.arange(40), 3), np.arange(120)], axis=1)
    scores = images @ texts.T
    right = np.repeat(np.eye(40, dtype=bool), 3, axis=1)
    for found, matrix, truth in (
        (places(images, texts, pairs, block), scores, right),
        (places(texts, images, pairs[:, ::-1], block), scores.T, right.T),
    ):
        order = np.argsort(-matrix, axis=1)
        for k in (1, 5, 10):
            expected = np.take_along_axis(truth, order[:, :k], axis=1).any(axis=1)
            np.testing.assert_array_equal(found.hits(k), expected)


@pytest.mark.parametrize("k", [1, 2, 3, 4, 6])
def test_ties_are_the_mean_over_all_their_orders(k):
    queries, candidates = np.array([[1.0, 0.0]]), np.array([[2, 0], [1, 0], [1, 5], [1, -5], [1, 1], [0, 9]])
    right = {1, 3, 5}
    orders = [(0, *middle, 5) for middle in permutations((1, 2, 3, 4))]
    expected = np.mean([bool(right & set(order[:k])) for order in orders])
    found = places(queries, candidates, [[0, one] for one in right])
    assert found.hits(k)[0] == pytest.approx(expected)


def test_an_encoder_that_says_the_same_of_everything_gets_what_chance_gets():
    rows = np.tile(unit(1, 16), (50, 1))
    found = places(rows, rows, [[place, place] for place in range(50)], block=8)
    np.testing.assert_allclose(found.hits(1), 1 / 50)
    np.testing.assert_allclose(found.hits(5), 5 / 50)


def test_no_query_has_no_hits():
    found = places(np.zeros((0, 3)), unit(4, 3), np.zeros((0, 2)))
    assert found.hits(1).shape == (0,)


def test_what_does_not_fit_is_refused():
    rows = unit(3, 4)
    everything = [[0, 0], [1, 1], [2, 2]]
    with pytest.raises(ValueError, match="1 of 3 queries have no right candidate, the first is 1"):
        places(rows, rows, [[0, 0], [2, 2]])
    with pytest.raises(ValueError, match="there are 3 and 3 rows"):
        places(rows, rows, [*everything, [0, 3]])
    with pytest.raises(ValueError, match="equally wide"):
        places(rows, unit(3, 5), everything)
    with pytest.raises(ValueError, match="not finite"):
        places(rows, np.full((3, 4), np.nan), everything)
    with pytest.raises(ValueError, match="k is 0"):
        places(rows, rows, everything).hits(0)
