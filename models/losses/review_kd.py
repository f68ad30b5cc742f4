"""ReviewKD: deep layers help shallow ones to match the teacher (Chen et al. 2021, arXiv 2104.09044)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from potstill.models.losses.features import path
from potstill.models.losses.loss import Batch, Loss

if TYPE_CHECKING:
    from torch import Tensor, nn


def hcl(student: Tensor, teacher: Tensor) -> Tensor:
    """Hierarchical context loss of maps (N, C, H, W), per row (N,): the mean squared difference at full size, and of
    averages in 4 x 4, 2 x 2 and 1 x 1 cells where these are fewer, weighted 1, 1/2, 1/4 and so on; the weights sum to 1
    (section 3.3).
    """
    from torch.nn.functional import adaptive_avg_pool2d

    total, weights, weight = (student - teacher).square().flatten(1).mean(1), 1.0, 1.0
    for cells in (4, 2, 1):
        if cells < min(student.shape[2:]):
            weight /= 2
            pooled = adaptive_avg_pool2d(student - teacher, cells)
            total, weights = total + weight * pooled.square().flatten(1).mean(1), weights + weight
    return total / weights


class ReviewKd(Loss):
    """Maps of several layers, each fused with what comes from deeper ones, against the teacher's (section 3.2).

    The published weights per pair of networks are 0.6 to 8 on CIFAR-100, risen to over 20 epochs (`linear_warmup`), and
    1 or 8 on ImageNet. Each rank for its own rows, over ranks one mean over all rows; the batch normalisations take
    their statistics from all rows of a rank's micro-batch.
    """

    kind: Literal["review_kd"] = "review_kd"
    student: tuple[str, ...] = Field(min_length=1)
    """The student's features, from the shallowest to the deepest: maps (B, C, H, W), or vectors (B, D) as 1 x 1."""
    teacher: tuple[str, ...] = Field(min_length=1)
    """The teacher's features of the same levels; the paper takes those before the last ReLU of a stage."""
    width: int = Field(512, ge=1)
    """Channels while fusing, at most; the deepest layer's if they are fewer."""

    @model_validator(mode="after")
    def _as_many(self) -> ReviewKd:
        if len(self.student) != len(self.teacher):
            raise ValueError(f"{len(self.student)} features of the student, {len(self.teacher)} of the teacher")
        return self

    def needs(self) -> frozenset[str]:
        """All the features."""
        ours, theirs = (
            (path("student", name) for name in self.student),
            (path("teacher", name) for name in self.teacher),
        )
        return frozenset(ours) | frozenset(theirs)

    def build(self, example: Batch) -> nn.Module:
        """The fusions between the shapes."""
        from potstill.models.losses.modules.review_kd import Review

        return Review(self, example)
