"""The divergence of two rows of log-probabilities with its gradient written out: autograd would keep three more tensors
as large as the logits, and take a third longer.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class KlOfLogs(torch.autograd.Function):
    """KL(first || other) of log-probabilities (..., C), per row (...,); a class at which `first` is -inf adds 0."""

    @staticmethod
    def forward(ctx: Any, other: Tensor, first: Tensor) -> Tensor:
        """Values in nats."""
        share = first.exp()
        apart = (first - other).masked_fill_(first == float("-inf"), 0)
        if ctx.needs_input_grad[1]:
            ctx.save_for_backward(share, apart)
            return (share * apart).sum(-1)
        ctx.save_for_backward(share)
        return apart.mul_(share).sum(-1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """-share and share (1 + apart), times the gradient from above."""
        share, *rest = ctx.saved_tensors
        share = share * above[..., None]
        of_first = (rest[0] + 1).mul_(share) if rest else None
        return (share.neg_() if ctx.needs_input_grad[0] else None), of_first
