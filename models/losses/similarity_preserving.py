"""Similarity-preserving distillation: which rows of a batch are alike (Tung & Mori 2019, arXiv 1907.09682)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from potstill.models.losses.features import Relation
from potstill.models.losses.loss import Batch, Weight
from potstill.models.losses.numerics import unit

if TYPE_CHECKING:
    from torch import Tensor


def similarity_preserving(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of the two N x N matrices of inner products, each row of length 1; scalar.

    Activations (N, ...) are flattened, their widths may differ (equations 1 to 4). Between 0 and 4 / N.
    """
    ours, theirs = (unit(x.flatten(1) @ x.flatten(1).T) for x in (student, teacher))
    return (ours - theirs).square().sum() / max(ours.numel(), 1)


class SimilarityPreserving(Relation):
    """Similarities between the rows of a batch."""

    kind: Literal["similarity_preserving"] = "similarity_preserving"
    weight: Weight | dict[str, Weight] = 3000.0

    def terms(self, batch: Batch) -> Mapping[str, Tensor]:
        """The mean over pairs of rows."""
        return {"": similarity_preserving(*self.rows(batch))}
