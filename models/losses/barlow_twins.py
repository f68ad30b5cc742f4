"""Barlow Twins: two views agree in each dimension, and dimensions do not (Zbontar et al. 2021, arXiv 2103.03230)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from potstill.models.losses.features import path, two_views
from potstill.models.losses.loss import Batch, Loss, Weight

if TYPE_CHECKING:
    from torch import Tensor


def standard(x: Tensor) -> Tensor:
    """Columns of rows (N, D) with mean 0 and variance 1, as a batch normalisation without weights makes them."""
    return (x - x.mean(0)) / (x.var(0, correction=0) + 1e-5).sqrt()


def barlow_twins(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """What cross-correlations (D, D) of two views (N, D) miss of the unit matrix, two scalars (equation 1): the sum of
    (1 - c_ii)^2, between 0 and 4 D, and the sum of c_ij^2 over i != j. Fewer than two rows give 0.
    """
    if len(first) < 2:
        return first.sum() * 0, second.sum() * 0
    correlation = standard(first).T @ standard(second) / len(first)
    diagonal = correlation.diagonal()
    return (1 - diagonal).square().sum(), correlation.square().sum() - diagonal.square().sum()


class BarlowTwins(Loss):
    """Barlow Twins on two views of each row; weights of rows are not used.

    The projector of the paper (three layers of 8192) is the model's affair. With SGD at the paper's scale solo-learn
    multiplies both parts by 0.025.
    """

    kind: Literal["barlow_twins"] = "barlow_twins"
    weight: Weight | dict[str, Weight] = Field(default={"invariance": 1.0, "redundancy": 0.0051})
    views: tuple[str, str] = ("image", "text")
    """The student's two views of a row (B, D), of one width: `image`, `text`, or a feature by its name."""
    gather: bool = True
    """Correlate over the rows of all ranks; else each rank over its own, and the mean over ranks is taken."""
    per: ClassVar[Literal["row", "token", "batch"]] = "batch"
    parts: ClassVar[tuple[str, ...]] = ("invariance", "redundancy")

    def needs(self) -> frozenset[str]:
        """The two views."""
        return frozenset(path("student", name) for name in self.views)

    def terms(self, batch: Batch) -> Mapping[str, Tensor]:
        """The sums over dimensions."""
        values = barlow_twins(*two_views(self, batch, self.views, gather=self.gather))
        return dict(zip(self.parts, values, strict=True))
