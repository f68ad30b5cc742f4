"""Effective ranks that are known."""

from math import isnan

import numpy as np
import pytest

from potstill.models.metrics.rankme import rankme


def test_equal_directions_have_full_rank_and_one_direction_has_rank_one():
    assert rankme(np.eye(6)) == pytest.approx(6)
    assert rankme(np.outer([1, -2, 3], [4, 5])) == pytest.approx(1)
    assert rankme(np.array([[7.0]])) == 1


def test_two_singular_values_by_hand():
    # singular values 3 and 1: shares 3/4 and 1/4, entropy 0.562335 nats
    assert rankme(np.array([[3.0, 0], [0, 1], [0, 0]])) == pytest.approx(np.exp(0.5623351446))


def test_scale_and_rotation_do_not_matter_and_repetition_neither():
    rows = np.random.default_rng(0).normal(size=(50, 8))
    turn, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(8, 8)))
    for other in (1e6 * rows, 1e-6 * rows, rows @ turn, rows[::-1], np.repeat(rows, 3, axis=0)):
        assert rankme(other) == pytest.approx(rankme(rows), rel=1e-9)


def test_blocks_give_what_the_whole_gives():
    rows = np.random.default_rng(0).normal(size=(100, 12)).astype(np.float32)
    for block in (1, 5, 33, 100):
        assert rankme(rows, block) == pytest.approx(rankme(rows), rel=1e-9)


def test_small_singular_values_keep_their_digits():
    # with singular values of 1 and 1e-10 squares would be 1 and 1e-20, which is lost beside 1 in float64
    rows = np.diag([1.0, 1e-10])
    share = 1e-10 / (1 + 1e-10)
    assert rankme(rows) - 1 == pytest.approx(share * (1 - np.log(share)), rel=1e-4)


def test_nothing_has_no_rank_and_bad_rows_are_refused():
    assert isnan(rankme(np.zeros((4, 3)))) and isnan(rankme(np.zeros((0, 3))))
    with pytest.raises(ValueError, match="rows 2 to 3 are not all finite"):
        rankme(np.array([[1.0], [1], [np.inf], [1]]), block=2)
    with pytest.raises(ValueError, match=r"must be \(n, d\)"):
        rankme(np.zeros(3))
