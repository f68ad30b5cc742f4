"""The contrastive loss of CLIP (Radford et al. 2021, arXiv 2103.00020, figure 3; InfoNCE: arXiv 1807.03748)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from potstill.models.losses.loss import Batch
from potstill.models.losses.pairs import Pairs, Rows

if TYPE_CHECKING:
    from torch import Tensor


def info_nce(similarity: Tensor, place: Tensor, twins: Tensor | None = None) -> Tensor:
    """Cross-entropy in nats of finding each row's pair, which is in column ``place`` (n,): per row (n,).

    ``similarity`` (n, m) holds the temperature already; columns in ``twins`` (n, m) are no negatives of the row.
    """
    if twins is not None:
        similarity = similarity.masked_fill(twins, float("-inf"))
    return -similarity.log_softmax(-1).gather(-1, place[:, None])[:, 0]


class InfoNce(Pairs):
    """CLIP's contrastive loss: the mean over rows, half for each direction, negatives from all ranks."""

    kind: Literal["info_nce"] = "info_nce"
    scale: float | None = Field(None, gt=0)
    """Fixed factor of similarities (1 / temperature); the student's own if left out."""

    def needs(self) -> frozenset[str]:
        """Two embeddings (B, D) and, unless it is fixed, their factor."""
        return self.paths("student", scaled=self.scale is None)

    def terms(self, batch: Batch) -> Mapping[str, Tensor]:
        """Own part of the mean over rows."""
        first, second = self.both(batch.student)
        rows = Rows(self, batch, first.device)
        there, back = rows.both_ways(first, second, batch.student.scale if self.scale is None else self.scale)
        twins = rows.related & ~rows.pair
        return {"": rows.mean(info_nce(there, rows.place, twins) + info_nce(back, rows.place, twins)) / 2}
