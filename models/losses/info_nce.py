"""The contrastive loss of CLIP (Radford et al. 2021, arXiv 2103.00020, figure 3; InfoNCE: arXiv 1807.03748)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from potstill.models.losses.loss import Batch
from potstill.models.losses.numerics import unit
from potstill.models.losses.pairs import Pairs, Rows

if TYPE_CHECKING:
    from torch import Tensor

SAME = 1 - 1e-5
"""A wrong second that is as near to a row's own one as this is the same thing, and right for the row."""


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
    wrong: str | None = None
    """Feature (B, K, D) with wrong seconds of each row, zeros where there are fewer: firsts are to tell their pair from
    all rows' wrong ones too, but for those equal to it (NegCLIP: Yuksekgonul et al. 2022, arXiv 2210.01936)."""

    def needs(self) -> frozenset[str]:
        """Two embeddings (B, D), their factor unless it is fixed, and wrong seconds if there are any."""
        more = {f"student.features.{self.wrong}"} if self.wrong else set()
        return self.paths("student", scaled=self.scale is None) | more

    def terms(self, batch: Batch) -> Mapping[str, Tensor]:
        """Own part of the mean over rows."""
        import torch

        first, second = self.both(batch.student)
        rows, scale = Rows(self, batch, first.device), batch.student.scale if self.scale is None else self.scale
        there, back = rows.both_ways(first, second, scale)
        twins = none = rows.related & ~rows.pair
        if self.wrong:
            wrong = rows.all(unit(batch.student.features[self.wrong])).flatten(0, 1)
            right = (rows.own(second) @ wrong.T > SAME) | ~wrong.any(-1)
            there, none = torch.cat([there, scale * rows.own(first) @ wrong.T], 1), torch.cat([none, right], 1)
        return {"": rows.mean(info_nce(there, rows.place, none) + info_nce(back, rows.place, twins)) / 2}
