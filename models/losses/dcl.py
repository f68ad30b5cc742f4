"""Decoupled contrastive learning (Yeh et al. 2022, arXiv 2110.06848): no positive among the negatives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from potstill.models.losses.loss import Batch
from potstill.models.losses.pairs import Pairs, Rows

if TYPE_CHECKING:
    from torch import Tensor


def dcl(positive: Tensor, negatives: Tensor, weight: Tensor | float = 1.0) -> Tensor:
    """-weight positive + logsumexp(negatives) of logits (n,) and (n, k), per row (n,).

    Negatives that are -inf are none; a row that has none keeps the first part alone.
    """
    none = (negatives == float("-inf")).all(-1)
    pushed = negatives.masked_fill(none[:, None], 0).logsumexp(-1).masked_fill(none, 0)
    return pushed - weight * positive


class Dcl(Pairs):
    """DCL, both directions added, mean over rows; negatives are the other rows in both views. For small batches."""

    kind: Literal["dcl"] = "dcl"
    temperature: float = Field(0.1, gt=0)
    sigma: float | None = Field(None, gt=0)
    """DCLW: weigh each positive by 2 - N softmax(similarity / sigma) over the N pairs, so that easy ones count less;
    0.5 in the paper. Left out: every positive counts 1."""

    def needs(self) -> frozenset[str]:
        """Two embeddings (B, D) of one width."""
        return self.paths("student")

    def terms(self, batch: Batch) -> Mapping[str, Tensor]:
        """Own part of the mean over rows, both directions added."""
        first, second = self.both(batch.student)
        rows = Rows(self, batch, first.device)
        weight = 1.0
        if self.sigma is not None:
            easy = ((rows.all(first) * rows.all(second)).sum(-1) / self.sigma).softmax(0)
            weight = 2 - len(easy) * easy[rows.place]
        positive = rows.own((first * second).sum(-1)) / self.temperature
        there = dcl(positive, rows.negatives(first, second) / self.temperature, weight)
        back = dcl(positive, rows.negatives(second, first) / self.temperature, weight)
        return {"": rows.mean(there + back)}
