"""The contrastive loss of SimCLR (Chen et al. 2020, arXiv 2002.05709, equation 1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from potstill.models.losses.loss import Batch
from potstill.models.losses.pairs import Pairs, Rows

if TYPE_CHECKING:
    from torch import Tensor


def nt_xent(positive: Tensor, negatives: Tensor) -> Tensor:
    """Cross-entropy in nats of finding the positive (n,) among it and the negatives (n, k), logits: per row (n,)."""
    import torch

    return torch.cat([positive[:, None], negatives], 1).logsumexp(1) - positive


class NtXent(Pairs):
    """NT-Xent: the mean over both views of all rows; negatives are the other rows in both views."""

    kind: Literal["nt_xent"] = "nt_xent"
    temperature: float = Field(0.1, gt=0)

    def needs(self) -> frozenset[str]:
        """Two embeddings (B, D) of one width."""
        return self.paths("student")

    def terms(self, batch: Batch) -> Mapping[str, Tensor]:
        """Own part of the mean over rows and views."""
        first, second = self.both(batch.student)
        rows = Rows(self, batch, first.device)
        positive = rows.own((first * second).sum(-1)) / self.temperature
        there = nt_xent(positive, rows.negatives(first, second) / self.temperature)
        back = nt_xent(positive, rows.negatives(second, first) / self.temperature)
        return {"": rows.mean(there + back) / 2}
