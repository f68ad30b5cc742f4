"""Knowledge distillation on logits (Hinton et al. 2015, arXiv 1503.02531)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from potstill.models.losses.logit_standardisation import z_score
from potstill.models.losses.loss import Batch, Loss
from potstill.models.losses.numerics import kl_rows

if TYPE_CHECKING:
    from torch import Tensor


def kd(
    student: Tensor, teacher: Tensor, *, temperature: float = 4.0, t_squared: bool = True, standardise: bool = False
) -> Tensor:
    """KL(teacher || student) in nats of logits (N, C) at a temperature, per row (N,).

    Times the temperature squared (section 2 of the paper), so that gradients keep their size when it is high.
    ``standardise`` takes the z-scores of both logits first.
    """
    if standardise:
        student, teacher = z_score(student), z_score(teacher)
    return kl_rows(student, teacher, temperature) * (temperature**2 if t_squared else 1.0)


class Kd(Loss):
    """Knowledge distillation; needs no labels."""

    kind: Literal["kd"] = "kd"
    temperature: float = Field(4.0, gt=0)
    t_squared: bool = True
    standardise: bool = False
    """Match the shape of the logits and not their range. Published with temperature 2, weight 9 and cross-entropy 0.1
    (arXiv 2403.01427)."""

    def needs(self) -> frozenset[str]:
        """Logits (B, C) of both."""
        return frozenset({"student.logits", "teacher.logits"})

    def terms(self, batch: Batch) -> Mapping[str, Tensor]:
        """Sum over rows."""
        valid = self.valid(batch.labels)
        student, teacher = batch.student.logits[valid], batch.teacher.logits[valid]
        how = {"temperature": self.temperature, "t_squared": self.t_squared, "standardise": self.standardise}
        return {"": self.total(kd(student, teacher, **how), batch.labels)}
