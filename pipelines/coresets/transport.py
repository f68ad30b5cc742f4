"""Unbalanced optimal transport with entropy, in the logarithmic domain."""

from __future__ import annotations

import numpy as np

ITERATIONS = 5_000
TOLERANCE = 1e-7
"""Largest change of a potential, in units of epsilon, at which the plan counts as settled."""


def transport(
    cost: np.ndarray, source: np.ndarray, target: np.ndarray, epsilon: float, relax_source: float, relax_target: float
) -> np.ndarray:
    """The plan P (n, m) that makes <cost, P> + epsilon KL(P | source target') + the two relaxed marginals smallest.

    Those are ``relax_source`` KL(P 1 | source) + ``relax_target`` KL(P' 1 | target): the larger, the closer a marginal
    is to its mass (n,), (m,) > 0. Chizat et al. 2018, arXiv 1607.05816, table 1: the scalings of balanced transport,
    damped by relax / (relax + epsilon). O(n m) time an iteration, two arrays of n x m float64. Raises ``ValueError``
    when the plan has not settled after 5,000 iterations.
    """
    scaled = -cost / epsilon
    damp_source, damp_target = relax_source / (relax_source + epsilon), relax_target / (relax_target + epsilon)
    left, right = np.zeros(len(source)), np.zeros(len(target))
    for _ in range(ITERATIONS):
        before = left
        left = -damp_source * _log_sum(scaled + (right + np.log(target)), 1)
        right = -damp_target * _log_sum(scaled + (left + np.log(source))[:, None], 0)
        if np.abs(left - before).max() < TOLERANCE:
            return np.exp(scaled + (left + np.log(source))[:, None] + (right + np.log(target)))
    raise ValueError(
        f"the transport plan has not settled after {ITERATIONS} iterations: raise epsilon ({epsilon}) or lower "
        f"relax_source ({relax_source}), relax_target ({relax_target})"
    )


def even_transport(cost: np.ndarray, epsilon: float, relax_source: float, relax_target: float) -> np.ndarray:
    """:func:`transport` where all of the source, and all of the target, have equal mass, 1 in sum; empty: no mass."""
    source, target = (np.full(length, 1 / max(length, 1)) for length in cost.shape)
    return transport(cost, source, target, epsilon, relax_source, relax_target) if cost.size else np.zeros(cost.shape)


def _log_sum(values: np.ndarray, axis: int) -> np.ndarray:
    """log of the sum of exp, along an axis."""
    top = values.max(axis, keepdims=True)
    return np.log(np.exp(values - top).sum(axis)) + top.squeeze(axis)
