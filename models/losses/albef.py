"""Contrast against a momentum teacher with softened targets (ALBEF, Li et al. 2021, arXiv 2107.07651)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from potstill.models.losses.loss import Batch
from potstill.models.losses.numerics import log_probs
from potstill.models.losses.pairs import Pairs, Rows
from potstill.models.losses.schedule import Schedule

if TYPE_CHECKING:
    from torch import Tensor, nn


def albef(student: Tensor, momentum: Tensor, hard: Tensor, *, alpha: float) -> Tensor:
    """KL(target || student) in nats with target = alpha softmax(momentum) + (1 - alpha) hard, per row (n,).

    All are (n, m), the first two logits over the columns, ``hard`` probabilities. Section 3.3 of the paper: equation 6
    has the divergence to each part, the published code the cross-entropy with the mixture; gradients are the same.
    """
    import torch

    target = alpha * momentum.detach().softmax(-1) + (1 - alpha) * hard
    return (torch.xlogy(target, target) - target * log_probs(student)).sum(-1)


class Albef(Pairs):
    """ALBEF's image-text contrast: the student's embeddings against the teacher's, half for each direction.

    The one teacher is the moving average of the student (0.995 in the paper); the trainer keeps it. Rows of a group
    share the hard target in equal parts. Each side has its own factor (published: the student's on both).
    """

    kind: Literal["albef"] = "albef"
    alpha: Annotated[float, Field(ge=0, le=1)] | Schedule = 0.4
    """Share of the teacher in the target; the paper warms it up over the first epoch (`linear_warmup` by step)."""
    queue: int = Field(0, ge=0)
    """Rows of earlier micro-batches, of all ranks, that are further columns (65,536 in the paper)."""

    @model_validator(mode="after")
    def _alpha_is_a_share(self) -> Albef:
        if isinstance(self.alpha, Schedule) and max(self.alpha.value, self.alpha.end) > 1:
            raise ValueError(f"alpha goes up to {max(self.alpha.value, self.alpha.end)}; it is a share, at most 1")
        return self

    def needs(self) -> frozenset[str]:
        """Two embeddings (B, D) of student and teacher, of one width, and their factors."""
        return self.paths("student", "teacher", scaled=True)

    def build(self, example: Batch) -> nn.Module:
        """With a queue, the module that has it."""
        if not self.queue:
            return super().build(example)
        from potstill.models.losses.modules.albef import WithQueue

        return WithQueue(self, example)

    def terms(self, batch: Batch, queue: Mapping[str, Tensor] | None = None) -> Mapping[str, Tensor]:
        """Own part of the mean over rows; ``queue`` holds embeddings `first` and `second` (Q, D) and `group` (Q,)."""
        import torch

        (s1, s2), (t1, t2) = self.both(batch.student), (x.detach() for x in self.both(batch.teacher))
        rows, scales = Rows(self, batch, s1.device), (batch.student.scale, batch.teacher.scale)
        queue = queue or {"first": t1[:0], "second": t2[:0], "group": rows.place[:0]}
        hard = torch.cat([rows.related, rows.group[:, None] == queue["group"]], 1)
        hard = hard / hard.sum(1, keepdim=True)
        alpha = self.alpha.at(batch.progress) if isinstance(self.alpha, Schedule) else self.alpha
        value = t1.new_zeros(())
        for student, teacher, others, before in ((s1, t1, t2, queue["second"]), (s2, t2, t1, queue["first"])):
            columns = torch.cat([rows.all(others), before.to(others)]).T
            logits = [scale * (rows.own(x) @ columns) for scale, x in zip(scales, (student, teacher), strict=True)]  # pyright: ignore[reportOperatorIssue, reportOptionalOperand]
            value = value + rows.mean(albef(*logits, hard.to(columns), alpha=alpha)) / 2
        return {"": value}
