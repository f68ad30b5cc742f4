"""VICReg: variance, invariance and covariance of two views (Bardes et al. 2022, arXiv 2105.04906)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from potstill.models.losses.features import path, two_views
from potstill.models.losses.loss import Batch, Loss, Weight

if TYPE_CHECKING:
    from torch import Tensor


def invariance(first: Tensor, second: Tensor) -> Tensor:
    """Mean over all elements of the squared difference of two views (N, D) (equation 5, per element as published)."""
    return (first - second).square().sum() / max(first.numel(), 1)


def variance(x: Tensor, *, wanted: float = 1.0, eps: float = 1e-4) -> Tensor:
    """Mean over columns of what the standard deviation of rows (N, D) lacks (equations 1 and 2); 0 for one row."""
    if len(x) < 2:
        return x.sum() * 0
    return (wanted - (x.var(0) + eps).sqrt()).relu().mean()


def covariance(x: Tensor) -> Tensor:
    """Sum over pairs of different columns of the squared covariance of rows (N, D), divided by D (equations 3 and 4);
    0 for one row.
    """
    if len(x) < 2:
        return x.sum() * 0
    x = x - x.mean(0)
    matrix = x.T @ x / (len(x) - 1)
    return (matrix.square().sum() - matrix.diagonal().square().sum()) / x.shape[1]


class Vicreg(Loss):
    """VICReg on two views of each row: what the two have in common, and for each its spread, summed (equation 6).

    (The authors' code takes half of the variances, which is a weight of 12.5.) Weights of rows are not used.
    """

    kind: Literal["vicreg"] = "vicreg"
    weight: Weight | dict[str, Weight] = Field(default={"invariance": 25.0, "variance": 25.0, "covariance": 1.0})
    views: tuple[str, str] = ("image", "text")
    """The student's two views of a row (B, D), of one width: `image`, `text`, or a feature by its name."""
    gather: bool = True
    """Take the spread over the rows of all ranks; else each rank over its own, and the mean over ranks is taken."""
    per: ClassVar[Literal["row", "token", "batch"]] = "batch"
    parts: ClassVar[tuple[str, ...]] = ("invariance", "variance", "covariance")

    def needs(self) -> frozenset[str]:
        """The two views."""
        return frozenset(path("student", name) for name in self.views)

    def terms(self, batch: Batch) -> Mapping[str, Tensor]:
        """The three terms."""
        first, second = two_views(self, batch, self.views, gather=self.gather)
        return {
            "invariance": invariance(first, second),
            "variance": variance(first) + variance(second),
            "covariance": covariance(first) + covariance(second),
        }
