"""Multi-level logit distillation (Jin et al. 2023, CVPR, pages 24276-24285)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from potstill.models.losses.comm import gather_rows
from potstill.models.losses.kd import kd
from potstill.models.losses.loss import Batch, Labels, Loss, Weight
from potstill.models.losses.numerics import log_probs

if TYPE_CHECKING:
    from torch import Tensor


def gram_of_rows(student: Tensor, teacher: Tensor, *, temperature: float = 1.0) -> Tensor:
    """Squared difference of the two N x N matrices of how alike two rows' probabilities are, sum / N; logits (N, C)."""
    one, other = log_probs(student, temperature).exp(), log_probs(teacher.detach(), temperature).exp()
    return (one @ one.T - other @ other.T).square().sum() / max(len(one), 1)


def gram_of_classes(student: Tensor, teacher: Tensor, *, temperature: float = 1.0) -> Tensor:
    """Squared difference of the two C x C matrices of how often two classes go together, sum / C; logits (N, C).

    The matrices are sums over rows, so that the value grows with N squared.
    """
    one, other = log_probs(student, temperature).exp(), log_probs(teacher.detach(), temperature).exp()
    return (one.T @ one - other.T @ other).square().sum() / one.shape[-1]


class Mlkd(Loss):
    """Distillation of rows, of relations between rows, and of relations between classes, each a mean over temperatures.

    `instance` is plain distillation, times the temperature squared, a mean over rows. `batch` and `class` are
    relations over the batch, of all ranks together: means over micro-batches, in which rows are not weighted; the
    paper multiplies them by no temperature. The published recipe has a weak and a strong view of every picture: both
    are rows. The official code's masks of confidence are left out: there they only scale the sum.
    """

    kind: Literal["mlkd"] = "mlkd"
    weight: Weight | dict[str, Weight] = 9.0
    """Published beside cross-entropy at 0.1."""
    temperatures: tuple[Annotated[float, Field(gt=0)], ...] = Field((4.0, 3.0, 5.0, 2.0, 6.0), min_length=1)

    per: ClassVar[Literal["row", "token", "batch"]] = "batch"
    parts: ClassVar[tuple[str, ...]] = ("instance", "batch", "class")

    def needs(self) -> frozenset[str]:
        """Logits (B, C) of both."""
        return frozenset({"student.logits", "teacher.logits"})

    def counts(self, labels: Labels) -> dict[str, float]:
        """Rows for `instance`, 1 for the others."""
        return super().counts(labels) | {f"{self.title}.instance": self.mass(labels)}

    def terms(self, batch: Batch) -> Mapping[str, Tensor]:
        """Sum over own rows, and the relations over the rows of all ranks."""
        valid, student, teacher = self.valid(batch.labels), batch.student.logits, batch.teacher.logits
        rows = sum(kd(student[valid], teacher[valid], temperature=t) for t in self.temperatures)
        everyone = gather_rows(batch.comm, valid, student, teacher)
        each = {
            "instance": self.total(rows, batch.labels),  # pyright: ignore[reportArgumentType]
            "batch": sum(gram_of_rows(*everyone, temperature=t) for t in self.temperatures),
            "class": sum(gram_of_classes(*everyone, temperature=t) for t in self.temperatures),
        }
        return {part: term / len(self.temperatures) for part, term in each.items()}  # pyright: ignore[reportReturnType]
