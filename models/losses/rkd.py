"""Relational knowledge distillation: distances and angles between rows (Park et al. 2019, arXiv 1904.05068)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from potstill.models.losses.features import Relation
from potstill.models.losses.loss import Batch, Weight

if TYPE_CHECKING:
    from torch import Tensor


def distances(x: Tensor) -> Tensor:
    """Euclidean distances (N, N) of rows (N, D), divided by their mean over pairs of different rows (equation 5)."""
    x = x - x.mean(0)  # the distances stay, and less is lost where squares cancel
    squares = x.square().sum(1)
    apart = (squares[:, None] + squares[None] - 2 * x @ x.T).clamp(min=1e-12).sqrt().tril(-1)
    apart = apart + apart.T
    return apart / (apart.sum() / max(len(x) * (len(x) - 1), 1)).clamp(min=1e-12)


def distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean over N * N of smooth L1 between the distances of rows (N, D) and (N, D'); scalar (equation 6)."""
    from torch.nn.functional import smooth_l1_loss

    return smooth_l1_loss(distances(student), distances(teacher), reduction="sum") / max(len(student) ** 2, 1)


def cosines(x: Tensor, vertices: slice) -> Tensor:
    """Cosines (n, N, N) of the angles at some vertices between any two other rows (equation 7).

    A row that coincides with the vertex has no direction: its cosines are 0, and it gets no gradient.
    """
    sides = x[None] - x[vertices, None]
    length = sides.norm(dim=-1, keepdim=True)
    sides = sides / length.masked_fill(length == 0, float("inf"))
    return sides @ sides.mT


def angle(student: Tensor, teacher: Tensor, *, cells: int = 2**22) -> Tensor:
    """Mean over N * N * N of smooth L1 between the cosines of rows (N, D) and (N, D'); scalar (equation 8).

    A few vertices at a time, computed again for the gradient, so that no tensor has more than ``cells`` numbers (or
    what one vertex needs) instead of N * N * (N + D).
    """
    from torch.nn.functional import smooth_l1_loss
    from torch.utils.checkpoint import checkpoint

    def part(student: Tensor, teacher: Tensor, vertices: slice) -> Tensor:
        return smooth_l1_loss(cosines(student, vertices), cosines(teacher, vertices), reduction="sum")

    rows = len(student)
    step = max(1, cells // max(rows * max(rows, student.shape[1], teacher.shape[1]), 1))
    parts = [
        checkpoint(part, student, teacher, slice(start, start + step), use_reentrant=False, preserve_rng_state=False)
        for start in range(0, rows, step)
    ]
    return sum(parts, student.sum() * 0) / max(rows**3, 1)


class Rkd(Relation):
    """Distances and angles between the flattened rows of a batch; angles cost the cube of the rows."""

    kind: Literal["rkd"] = "rkd"
    weight: Weight | dict[str, Weight] = Field(default={"distance": 25.0, "angle": 50.0})
    parts: ClassVar[tuple[str, ...]] = ("distance", "angle")

    def terms(self, batch: Batch) -> Mapping[str, Tensor]:
        """The means over pairs and over triples of rows."""
        rows = [x.flatten(1) for x in self.rows(batch)]
        return {"distance": distance(*rows), "angle": angle(*rows)}
