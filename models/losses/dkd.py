"""Decoupled knowledge distillation (Zhao et al. 2022, arXiv 2203.08679)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from potstill.models.losses.logit_standardisation import z_score
from potstill.models.losses.loss import Batch, Loss, Weight
from potstill.models.losses.numerics import kl_of_logs, log_probs
from potstill.models.losses.schedule import Schedule

if TYPE_CHECKING:
    from torch import Tensor


def dkd(
    student: Tensor, teacher: Tensor, target: Tensor, *,
    temperature: float = 4.0, t_squared: bool = True, standardise: bool = False,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Two divergences KL(teacher || student) in nats of logits (N, C) given classes (N,), each per row (N,).

    The first, TCKD, is over (the true class, all others together), the second, NCKD, over the other classes alone
    (equations 5 to 7). KL over all classes = TCKD + (1 - the teacher's probability of the true class) * NCKD. Times
    the temperature squared, as plain distillation is. In log space: a student that is sure of its class has no finite
    logarithm of the rest otherwise. Raises ValueError for fewer than 3 classes, where NCKD is always 0, and for
    targets that are probabilities, which have no true class.
    """
    if student.shape[-1] < 3:
        raise ValueError(f"dkd has {student.shape[-1]} classes and needs 3: with fewer nckd is always 0; use kd")
    if target.is_floating_point():
        raise ValueError("dkd wants one class for each row, the target has probabilities: with mixed labels use kd")
    if standardise:
        student, teacher = z_score(student), z_score(teacher)
    binary_s, others_s = _decoupled(log_probs(student, temperature), target)
    binary_t, others_t = _decoupled(log_probs(teacher.detach(), temperature), target)
    factor = temperature**2 if t_squared else 1.0
    return factor * kl_of_logs(binary_s, binary_t), factor * kl_of_logs(others_s, others_t)


def _decoupled(logs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities (N, 2) of the true class and of all others, and those (N, C) among the others, true at -inf."""
    import torch

    here = torch.zeros_like(logs, dtype=torch.bool).scatter(-1, target[:, None], True)
    others = logs.masked_fill(here, float("-inf"))
    rest = others.logsumexp(-1, keepdim=True)
    return torch.cat([logs.gather(-1, target[:, None]), rest], -1), others - rest


class Dkd(Loss):
    """Decoupled knowledge distillation. Weights as published with CIFAR-100, where nckd is better the larger the gap
    between the teacher's first two logits, 2 to 8; ImageNet 0.5 to 2 at temperature 1, without warm-up. The official
    code warms up both terms: give tckd a schedule, too, for that.
    """

    kind: Literal["dkd"] = "dkd"
    weight: Weight | dict[str, Weight] = Field(
        {"tckd": 1.0, "nckd": Schedule(kind="linear_warmup", value=8.0, unit="epoch", length=20)}
    )
    temperature: float = Field(4.0, gt=0)
    t_squared: bool = True
    standardise: bool = False
    """Match the shape of the logits and not their range. Published with temperature 2, weights times 9."""

    parts: ClassVar[tuple[str, ...]] = ("tckd", "nckd")

    def needs(self) -> frozenset[str]:
        """Logits (B, C) of both, C at least 3, and classes (B,)."""
        return frozenset({"student.logits", "teacher.logits", "target"})

    def terms(self, batch: Batch) -> Mapping[str, Tensor]:
        """Sums over rows with a label."""
        valid = self.valid(batch.labels)
        target = batch.labels.target[valid]  # pyright: ignore[reportOptionalSubscript]
        how = {"temperature": self.temperature, "t_squared": self.t_squared, "standardise": self.standardise}
        both = dkd(batch.student.logits[valid], batch.teacher.logits[valid], target, **how)
        return {part: self.total(values, batch.labels) for part, values in zip(self.parts, both, strict=True)}
