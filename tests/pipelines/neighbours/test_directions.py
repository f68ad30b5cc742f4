"""Unit vectors on a grid: sums and cosines that no order of adding changes."""

import numpy as np
import pytest

from potstill.pipelines.neighbours.directions import STEP, cosines, directions, prints, rounding


def test_a_vector_becomes_its_direction_on_the_grid_whatever_its_length():
    expected = np.array([[0.6, 0.8], [0.6, 0.8], [-0.6, 0.8], [1, 0]], np.float32)
    found = directions(np.array([[3, 4], [3e-30, 4e-30], [-3e30, 4e30], [2, 0]], np.float32))
    np.testing.assert_allclose(found, expected, atol=STEP, rtol=0)
    assert found.dtype == np.float32
    assert (found / STEP == np.rint(found / STEP)).all()


def test_a_vector_without_a_direction_becomes_zeros():
    assert not directions(np.array([[0, 0], [np.nan, 1], [np.inf, 1], [-np.inf, 0]], np.float32)).any()
    assert directions(np.zeros((0, 3), np.float32)).shape == (0, 3)


def test_a_direction_depends_on_its_own_row_alone():
    rows = np.random.default_rng(0).standard_normal((5000, 37)).astype(np.float32)
    whole = directions(rows)
    assert np.array_equal(
        np.concatenate([directions(rows[:1]), directions(rows[1:4097]), directions(rows[4097:])]), whole
    )


def test_sums_and_cosines_are_the_same_in_any_order():
    units = directions(np.random.default_rng(1).standard_normal((4000, 300)).astype(np.float32))
    order = np.random.default_rng(2).permutation(4000)
    assert np.array_equal(units.astype(np.float64).sum(axis=0), units[order].astype(np.float64).sum(axis=0))
    which = np.arange(4000)[:, None]
    own = cosines(units, units[::-1], which)
    backwards = cosines(units[:, ::-1], units[::-1, ::-1], which)
    assert np.array_equal(own, backwards)
    assert np.array_equal(cosines(units[order], units[::-1], which[order]), own[order])


def test_cosines_worked_by_hand():
    units = directions(np.array([[1, 0], [3, 4]], np.float32))
    found = cosines(units, units, np.array([[0, 1], [1, 0]]))
    np.testing.assert_allclose(found, [[1, 0.6], [1, 0.6]], atol=2 * STEP)


def test_float32_is_never_off_by_more_than_is_said():
    units = directions(np.random.default_rng(3).standard_normal((400, 512)).astype(np.float32))
    exact = cosines(units, units, np.tile(np.arange(400), (400, 1)))
    assert np.abs(units @ units.T - exact).max() < rounding(512)


def test_prints_tell_directions_apart_and_see_no_sign_of_zero():
    one, other, turned = prints(directions(np.array([[1, 0.0], [7, -0.0], [1, 1e-3]], np.float32)))
    assert one == other != turned


@pytest.mark.parametrize("kind", [np.float16, np.float64])
def test_the_number_format_of_the_same_values_changes_nothing(kind):
    values = np.array([[0.5, 0.25, -1]])
    assert np.array_equal(directions(values.astype(kind)), directions(values.astype(np.float32)))
