"""Knowledge distillation on logits (Hinton et al. 2015, arXiv 1503.02531)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from potstill.models.losses.loss import Batch, Loss
from potstill.models.losses.numerics import kl_rows

if TYPE_CHECKING:
    from torch import Tensor


def kd(student: Tensor, teacher: Tensor, *, temperature: float = 4.0, t_squared: bool = True) -> Tensor:
    """KL(teacher || student) in nats of logits (N, C) at a temperature, per row (N,).

    Times the temperature squared (section 2 of the paper), so that gradients keep their size when it is high.
    """
    return kl_rows(student, teacher, temperature) * (temperature**2 if t_squared else 1.0)


class Kd(Loss):
    """Knowledge distillation; needs no labels."""

    kind: Literal["kd"] = "kd"
    temperature: float = Field(4.0, gt=0)
    t_squared: bool = True

    def needs(self) -> frozenset[str]:
        """Logits (B, C) of both."""
        return frozenset({"student.logits", "teacher.logits"})

    def terms(self, batch: Batch) -> Mapping[str, Tensor]:
        """Sum over rows."""
        valid = self.valid(batch.labels)
        student, teacher = batch.student.logits[valid], batch.teacher.logits[valid]
        values = kd(student, teacher, temperature=self.temperature, t_squared=self.t_squared)
        return {"": self.total(values, batch.labels)}
