"""Probabilistic knowledge transfer (Passalis & Tefas 2018, arXiv 1803.10837)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from potstill.models.losses.features import Relation
from potstill.models.losses.loss import Batch, Weight
from potstill.models.losses.numerics import unit

if TYPE_CHECKING:
    from torch import Tensor


def neighbours(x: Tensor) -> Tensor:
    """How probable each row (N, ...) is as a neighbour of each, itself included (N, N): the cosine, moved to 0..1 and
    divided by its row's sum (equations 4 to 6).
    """
    x = unit(x.flatten(1))
    kernel = (x @ x.T + 1) / 2
    return kernel / kernel.sum(1, keepdim=True)


def pkt(student: Tensor, teacher: Tensor, *, eps: float = 1e-7) -> Tensor:
    """KL(teacher || student) in nats of the neighbours' probabilities; scalar.

    The mean over all N * N entries, as published, not over rows: hence the large weight. Widths may differ.
    """
    ours, theirs = neighbours(student), neighbours(teacher)
    return (theirs * ((theirs + eps) / (ours + eps)).log()).sum() / max(ours.numel(), 1)


class Pkt(Relation):
    """Probabilities of being neighbours in a batch."""

    kind: Literal["pkt"] = "pkt"
    weight: Weight | dict[str, Weight] = 30000.0

    def terms(self, batch: Batch) -> Mapping[str, Tensor]:
        """The mean over pairs of rows."""
        return {"": pkt(*self.rows(batch))}
