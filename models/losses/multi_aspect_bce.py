"""Yes or no for each of several aspects: multi-label targets, or a teacher's answers to questions about a picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from potstill.models.losses.loss import Batch, Loss
from potstill.models.losses.numerics import wide

if TYPE_CHECKING:
    from torch import Tensor


def multi_aspect_bce(student: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy in nats of logits (N, A) against probabilities (N, A), mean over aspects, per row (N,).

    Less the entropy of the target, which has no gradient and is 0 for 0 and 1: the value is a divergence, 0 where the
    student is right (multi-aspect distillation, Lee et al. 2025, arXiv 2501.13341; the form by divergences Yang et al.
    2023, arXiv 2308.06453). Soft and stationary where the probabilities agree, which the product with a
    sign, -log sigmoid((2p - 1) z), is not. An aspect whose target is NaN is unknown and does not count.
    """
    from torch.nn.functional import logsigmoid

    student, target = wide(student), wide(target.detach())
    known = ~target.isnan()
    target = target.masked_fill(~known, 0).to(student)
    no = 1 - target
    cross = -(target * logsigmoid(student) + no * logsigmoid(-student))
    values = cross + target.xlogy(target) + no.xlogy(no)
    return values.masked_fill(~known, 0).sum(-1) / known.sum(-1).clamp(min=1)


class MultiAspectBce(Loss):
    """Binary cross-entropy per aspect, against a teacher's probabilities or the labels' yes and no."""

    kind: Literal["multi_aspect_bce"] = "multi_aspect_bce"
    against: Literal["teacher", "target"] = "teacher"
    """The sigmoid of the teacher's logits (for a language model: logit of yes minus logit of no); or the target as
    probabilities (B, A), NaN where unknown."""
    feature: str | None = None
    """Name of the output that holds the aspects (B, A), where `logits` hold the classes."""

    def needs(self) -> frozenset[str]:
        """Logits (B, A) of the student, and of the teacher or probabilities (B, A)."""
        output = "logits" if self.feature is None else f"features.{self.feature}"
        return frozenset({f"student.{output}", "target" if self.against == "target" else f"teacher.{output}"})

    def terms(self, batch: Batch) -> Mapping[str, Tensor]:
        """Sum over rows. Raises ValueError for targets that are classes."""
        valid, target = self.valid(batch.labels), batch.labels.target
        if self.against == "teacher":
            teacher = batch.teacher
            target = wide(teacher.logits if self.feature is None else teacher.features[self.feature]).sigmoid()
        elif target is None or not target.is_floating_point():
            raise ValueError(f"{self.title}: the target has one class a row; it wants probabilities (B, A) as floats")
        student = batch.student.logits if self.feature is None else batch.student.features[self.feature]
        return {"": self.total(multi_aspect_bce(student[valid], target[valid]), batch.labels)}
