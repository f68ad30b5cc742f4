"""Distillation from the average of several teachers (MEAL V2, Shen and Savvides 2020, arXiv 2009.08453)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from potstill.models.losses.loss import Batch, Loss
from potstill.models.losses.numerics import kl_of_logs, log_probs

if TYPE_CHECKING:
    from torch import Tensor


def ensemble(
    student: Tensor, teachers: Sequence[Tensor], *,
    shares: Sequence[float] | None = None, temperature: float = 1.0, t_squared: bool = True,
) -> Tensor:  # fmt: skip
    """KL(mean of the teachers' probabilities || student) in nats of logits (N, C), per row (N,).

    Probabilities are averaged, not logits: two sure teachers that contradict each other give one half
    each. ``shares`` of the teachers, at least 0, need not sum to 1; equal if None. The paper's soft cross-entropy is
    this plus the entropy of the mean, which has no gradient. Times the temperature squared, as plain distillation is.
    """
    import torch

    given = torch.tensor(shares or [1.0] * len(teachers), dtype=torch.float64, device=student.device)
    logs = torch.stack([log_probs(teacher.detach(), temperature) for teacher in teachers])
    mean = (logs + (given / given.sum()).log().to(logs)[:, None, None]).logsumexp(0)
    return kl_of_logs(log_probs(student, temperature), mean) * (temperature**2 if t_squared else 1.0)


class Ensemble(Loss):
    """Distillation from all teachers of the batch at once; needs no labels, and no cross-entropy beside it."""

    kind: Literal["ensemble"] = "ensemble"
    shares: tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...] | None = None
    """How much of the average each teacher is, in their order; equal if none are given."""
    temperature: float = Field(1.0, gt=0)
    t_squared: bool = True

    def needs(self) -> frozenset[str]:
        """Logits (B, C) of the student and of every teacher."""
        return frozenset({"student.logits", "teacher.logits"})

    def terms(self, batch: Batch) -> Mapping[str, Tensor]:
        """Sum over rows. Raises ValueError when there are not as many shares as teachers."""
        if self.shares is not None and len(self.shares) != len(batch.teachers):
            raise ValueError(f"{self.title}: {len(self.shares)} shares for {len(batch.teachers)} teachers")
        valid = self.valid(batch.labels)
        teachers = [teacher.logits[valid] for teacher in batch.teachers]
        how = {"shares": self.shares, "temperature": self.temperature, "t_squared": self.t_squared}
        return {"": self.total(ensemble(batch.student.logits[valid], teachers, **how), batch.labels)}
