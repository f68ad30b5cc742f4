"""Unbalanced transport against closed forms and against balanced transport."""

import numpy as np
import pytest

from potstill.pipelines.coresets.transport import even_transport, transport


def test_one_point_to_one_point_has_a_closed_form():
    # c + e log(P / ab) + s log(P / a) + t log(P / b) = 0
    a, b, c, e, s, t = 0.5, 2.0, 0.3, 0.1, 0.2, 0.7
    expected = np.exp((e * np.log(a * b) + s * np.log(a) + t * np.log(b) - c) / (e + s + t))
    assert transport(np.array([[c]]), np.array([a]), np.array([b]), e, s, t)[0, 0] == pytest.approx(expected)


def test_strict_marginals_are_met():
    cost = np.random.default_rng(0).uniform(size=(5, 3))
    source, target = np.full(5, 0.2), np.array([0.5, 0.3, 0.2])
    plan = transport(cost, source, target, 0.5, 100, 100)
    assert plan.sum(1) == pytest.approx(source, rel=0.01)
    assert plan.sum(0) == pytest.approx(target, rel=0.01)


def test_a_far_row_sends_nothing_and_every_target_gets_its_mass():
    cost = np.array([[0.0, 1.0], [1.0, 0.0], [1.9, 1.9]])
    plan = even_transport(cost, 0.1, 0.1, 10)
    assert plan.sum(0) == pytest.approx([0.5, 0.5], rel=0.05)
    assert plan[2].sum() < 0.001 < plan[0].sum()
    assert plan[0].sum() == pytest.approx(plan[1].sum())


def test_a_small_epsilon_neither_overflows_nor_underflows():
    plan = even_transport(np.array([[0.0, 2.0], [2.0, 0.0]]), 1e-3, 1.0, 1.0)
    assert plan == pytest.approx(np.eye(2) / 2, abs=1e-3)


def test_what_does_not_settle_is_said_with_the_way_out():
    with pytest.raises(ValueError, match=r"raise epsilon \(1e-05\)"):
        even_transport(np.random.default_rng(0).uniform(size=(6, 6)), 1e-5, 100.0, 100.0)


def test_nothing_to_transport():
    assert even_transport(np.zeros((0, 3)), 0.1, 0.1, 10).shape == (0, 3)
