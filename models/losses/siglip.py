"""The sigmoid loss of SigLIP (Zhai et al. 2023, arXiv 2303.15343), and distillation with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from potstill.models.losses.loss import Batch, Output
from potstill.models.losses.pairs import Pairs, Rows

if TYPE_CHECKING:
    from torch import Tensor


def siglip(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy in nats of pairs (n, m) against probabilities of matching, less the entropy of these.

    With targets 0 and 1 it is SigLIP's softplus(-+logit), with a teacher's probabilities the KL divergence from them,
    0 where the two agree. (A sign form, -log sigmoid((2 p - 1) logit), would not be at rest there.)
    """
    import torch

    logs, others = torch.nn.functional.logsigmoid(logits), torch.nn.functional.logsigmoid(-logits)
    entropy = -torch.xlogy(target, target) - torch.xlogy(1 - target, 1 - target)
    return -target * logs - (1 - target) * others - entropy


class SigLip(Pairs):
    """SigLIP: each picture and text is one yes-or-no question; the sum over columns, the mean over rows."""

    kind: Literal["siglip"] = "siglip"
    target: Literal["pairs", "teacher"] = "pairs"
    """What should match: a row with itself alone, or as much as one teacher thinks."""

    def needs(self) -> frozenset[str]:
        """Two embeddings (B, D), their factor and offset; the teacher's if it is the target."""
        owners = ("student",) if self.target == "pairs" else ("student", "teacher")
        return self.paths(*owners, scaled=True) | {f"{owner}.bias" for owner in owners}

    def terms(self, batch: Batch) -> Mapping[str, Tensor]:
        """Own part of the mean over rows."""
        rows = Rows(self, batch, self.both(batch.student)[0].device)
        logits = self._logits(rows, batch.student)
        if self.target == "teacher":
            values = siglip(logits, self._logits(rows, batch.teacher).detach().sigmoid())
        else:
            values = siglip(logits, rows.pair.to(logits)).masked_fill(rows.related & ~rows.pair, 0)
        return {"": rows.mean(values.sum(-1))}

    def _logits(self, rows: Rows, output: Output) -> Tensor:
        first, second = self.both(output)
        return output.scale * (rows.own(first) @ rows.all(second).T) + output.bias  # pyright: ignore[reportOperatorIssue, reportOptionalOperand]
