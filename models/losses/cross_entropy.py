"""Cross-entropy against labels, hard or soft."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from potstill.models.losses.chunked import summed
from potstill.models.losses.loss import Batch, Loss
from potstill.models.losses.numerics import log_probs

if TYPE_CHECKING:
    from torch import Tensor


def cross_entropy(logits: Tensor, target: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    """Cross-entropy in nats of logits (N, C), per row (N,). ``target``: classes (N,), or probabilities (N, C).

    Smoothing mixes the target with the uniform distribution (Szegedy et al. 2016, arXiv 1512.00567, section 7).
    """
    logs = log_probs(logits)
    wanted = logs.gather(-1, target[:, None])[:, 0] if target.ndim == 1 else (target.to(logs) * logs).sum(-1)
    if not label_smoothing:
        return -wanted
    return -(1 - label_smoothing) * wanted - label_smoothing * logs.mean(-1)


class CrossEntropy(Loss):
    """Cross-entropy of the student against the target: of rows where that is (B,), of tokens where it is (B, L)."""

    kind: Literal["cross_entropy"] = "cross_entropy"
    label_smoothing: float = Field(0.0, ge=0, lt=1)

    def needs(self) -> frozenset[str]:
        """Logits (B, C) and classes (B,) or probabilities (B, C); or logits (B, L, V) and words (B, L)."""
        return frozenset({"student.logits", "target"})

    def terms(self, batch: Batch) -> Mapping[str, Tensor]:
        """Sum over rows, or tokens, with a label."""
        rows = partial(cross_entropy, label_smoothing=self.label_smoothing)
        target = batch.labels.target
        return {"": summed(self, batch.labels, rows, batch.student.logits, target)}  # pyright: ignore[reportArgumentType]
