"""Logit standardisation: no loss by itself, but a setting of the losses on logits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from potstill.models.losses.numerics import wide

if TYPE_CHECKING:
    from torch import Tensor

EPSILON = 1e-7
LEAST = 1e-3
"""Smallest standard deviation that is divided by, in nats: a head that starts at zero gets a bounded gradient."""


def z_score(logits: Tensor) -> Tensor:
    """Logits (..., C) minus their mean over the classes, divided by their standard deviation (divisor C - 1) + 1e-7.

    A student of z-scores has to match the shape of the teacher's logits and not their range (Sun et al. 2024, arXiv
    2403.01427, algorithm 1). Adding to a row, or multiplying it by a positive number, changes nothing. A class that is
    ruled out (-inf) stays so and has no part in mean and deviation. Equal logits give zeros.
    """
    logits = wide(logits)
    ruled_out = logits == float("-inf")
    count = (~ruled_out).sum(-1, keepdim=True)
    mean = logits.masked_fill(ruled_out, 0).sum(-1, keepdim=True) / count
    centred = (logits - mean).masked_fill(ruled_out, 0)
    variance = centred.square().sum(-1, keepdim=True) / (count - 1).clamp(min=1)
    return (centred / (variance.clamp(min=LEAST**2).sqrt() + EPSILON)).masked_fill(ruled_out, float("-inf"))
