"""Dual-head optimisation: labels teach one head, the teacher another (Kang et al. 2025, arXiv 2505.07675)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from potstill.models.losses.cross_entropy import cross_entropy
from potstill.models.losses.kd import kd
from potstill.models.losses.loss import Batch, Labels, Loss, Weight
from potstill.models.losses.numerics import IGNORED, log_probs

if TYPE_CHECKING:
    from torch import Tensor


def blend(ce_logits: Tensor, kd_logits: Tensor, *, alpha: float = 0.5, beta: float = 1.0) -> Tensor:
    """Probabilities of both heads together, alpha softmax(ce) + (1 - alpha) softmax(kd / beta), shapes (..., C).

    Choose ``alpha`` (0 to 1) and ``beta`` (published: 0.5 to 4) on validation data, never on the test: with a strong
    teacher a fixed half may be worse than the kd head alone.
    """
    return alpha * log_probs(ce_logits).exp() + (1 - alpha) * log_probs(kd_logits, beta).exp()


class Dho(Loss):
    """Cross-entropy of one head on rows with a label, and distillation into another head on all rows.

    `ce` is a mean over labelled rows, `kd` one over all rows, labelled or not (a target of -100, or none), times the
    temperature squared. The paper adds a mean over labelled and one over unlabelled rows: where batches hold as many of
    either that is twice the mean over all, hence the weight. Few labels: {ce: 0.5, kd: 1.5}.
    """

    kind: Literal["dho"] = "dho"
    weight: Weight | dict[str, Weight] = Field({"ce": 1.0, "kd": 2.0})
    temperature: float = Field(2.0, gt=0)
    t_squared: bool = True

    parts: ClassVar[tuple[str, ...]] = ("ce", "kd")

    def needs(self) -> frozenset[str]:
        """Logits (B, C) of two heads and of the teacher, and classes (B,)."""
        return frozenset({"student.logits", "student.features.kd_logits", "teacher.logits", "target"})

    def valid(self, labels: Labels) -> Tensor:
        """All rows, or those of the mask, with or without a label."""
        return self.marked(labels)

    def counts(self, labels: Labels) -> dict[str, float]:
        """Labelled rows for `ce`, all for `kd`."""
        return {f"{self.title}.ce": self.mass(labels, self._labelled(labels)), f"{self.title}.kd": self.mass(labels)}

    def terms(self, batch: Batch) -> Mapping[str, Tensor]:
        """Sums over labelled rows, and over all."""
        labels, valid, labelled = batch.labels, self.valid(batch.labels), self._labelled(batch.labels)
        hard = cross_entropy(batch.student.logits[labelled], labels.target[labelled])  # pyright: ignore
        student, teacher = batch.student.features["kd_logits"][valid], batch.teacher.logits[valid]
        soft = kd(student, teacher, temperature=self.temperature, t_squared=self.t_squared)
        return {"ce": self.total(hard, labels, labelled), "kd": self.total(soft, labels)}

    def _labelled(self, labels: Labels) -> Tensor:
        return self.valid(labels) & (labels.target != IGNORED)  # pyright: ignore[reportReturnType]
