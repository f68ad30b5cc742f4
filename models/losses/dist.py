"""DIST: relations instead of probabilities (Huang et al. 2022, arXiv 2205.10536)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from potstill.models.losses.comm import gather_rows
from potstill.models.losses.loss import Batch, Labels, Loss
from potstill.models.losses.numerics import log_probs

if TYPE_CHECKING:
    from torch import Tensor


def inter(student: Tensor, teacher: Tensor, *, temperature: float = 1.0) -> Tensor:
    """1 - Pearson's correlation, over the classes, of two rows of probabilities; from logits (N, C), per row (N,).

    0 to 2. With 2 classes every correlation is 1 or -1 and nothing is learnt.
    """
    return 1 - _correlation(log_probs(student, temperature).exp(), log_probs(teacher.detach(), temperature).exp(), -1)


def intra(student: Tensor, teacher: Tensor, *, temperature: float = 1.0) -> Tensor:
    """1 - Pearson's correlation, over the N rows, of a class's probabilities; mean over classes, from logits (N, C).

    A number from 0 to 2. Fewer than 2 rows have no correlation and give 0. A class that no row has a
    probability for adds a constant.
    """
    if len(student) < 2:
        return log_probs(student[:0]).sum()
    probs = log_probs(student, temperature).exp(), log_probs(teacher.detach(), temperature).exp()
    return (1 - _correlation(*probs, 0)).mean()


def _correlation(one: Tensor, other: Tensor, dim: int) -> Tensor:
    one, other = (x - x.mean(dim, keepdim=True) for x in (one, other))
    return (one * other).sum(dim) / (one.norm(dim=dim) * other.norm(dim=dim) + 1e-8)


class Dist(Loss):
    """Correlations within each row, and of each class over the batch.

    `inter` is a mean over rows. `intra` is a relation over the batch, of all ranks together: a mean over
    micro-batches, each of which should have some dozens of rows; rows are not weighted in it. The paper multiplies by
    no temperature squared.
    """

    kind: Literal["dist"] = "dist"
    temperature: float = Field(1.0, gt=0)
    t_squared: bool = False

    per: ClassVar[Literal["row", "token", "batch"]] = "batch"
    parts: ClassVar[tuple[str, ...]] = ("inter", "intra")

    def needs(self) -> frozenset[str]:
        """Logits (B, C) of both."""
        return frozenset({"student.logits", "teacher.logits"})

    def counts(self, labels: Labels) -> dict[str, float]:
        """Rows for `inter`, 1 for `intra`."""
        return {f"{self.title}.inter": self.mass(labels), f"{self.title}.intra": self.count(labels)}

    def terms(self, batch: Batch) -> Mapping[str, Tensor]:
        """Sum over own rows, and the relation over the rows of all ranks."""
        valid, student, teacher = self.valid(batch.labels), batch.student.logits, batch.teacher.logits
        factor = self.temperature**2 if self.t_squared else 1.0
        rows = inter(student[valid], teacher[valid], temperature=self.temperature)
        relation = intra(*gather_rows(batch.comm, valid, student, teacher), temperature=self.temperature)
        return {"inter": factor * self.total(rows, batch.labels), "intra": factor * relation}
