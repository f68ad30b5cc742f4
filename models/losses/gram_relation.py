"""Relations between a picture's places, as the logits there tell them (LLaVA-KD's relation distillation)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from potstill.models.losses.chunked import check_vocabulary
from potstill.models.losses.logits import Hidden, TopK
from potstill.models.losses.loss import Batch, Labels, Loss
from potstill.models.losses.numerics import unit, wide

if TYPE_CHECKING:
    from torch import Tensor


def gram(logits: Tensor | Hidden, inner: tuple[Tensor, ...] = ()) -> Tensor:
    """Products (P, P) of all pairs of rows of logits (P, V).

    For hidden states the logits never exist: ``inner`` of their head is all that is needed of it.
    """
    if not isinstance(logits, Hidden):
        return wide(logits) @ wide(logits).T
    h = wide(logits.h)
    products = h @ inner[0] @ h.T
    if logits.bias is None:
        return products
    side = (h @ inner[1]).expand_as(products)
    return products + side + side.T + inner[2]


def inner(logits: Tensor | Hidden) -> tuple[Tensor, ...]:
    """Products (H, H) of a head with itself, and those with its bias; nothing for logits that are there."""
    if not isinstance(logits, Hidden):
        return ()
    weight, bias = wide(logits.weight), logits.bias
    return (weight.T @ weight, *(() if bias is None else (weight.T @ wide(bias), wide(bias) @ wide(bias))))


def relation(student: Tensor, teacher: Tensor) -> Tensor:
    """1 - cosine of two matrices (P, P), a scalar in [0, 1] for Gram matrices (LLaVA-KD, Cai et al. 2024, arXiv
    2410.16236, section 3.2). No temperature.
    """
    return 1 - (unit(student.flatten()) * unit(teacher.detach().flatten())).sum()


class GramRelation(Loss):
    """1 - cosine of the Gram matrices of both models' logits over some places, for each row that has any."""

    kind: Literal["gram_relation"] = "gram_relation"
    places: str = "vision"
    """Mask (B, L) of the places."""

    def needs(self) -> frozenset[str]:
        """Logits (B, L, V) of both."""
        return frozenset({"student.logits", "teacher.logits"})

    def valid(self, labels: Labels) -> Tensor:
        """Rows (B,) with a place."""
        if self.places not in labels.masks:
            raise ValueError(f"{self.title}: there is no mask {self.places!r} (there are: {', '.join(labels.masks)})")
        return super().valid(labels).to(labels.masks[self.places].device) & labels.masks[self.places].any(-1)

    def terms(self, batch: Batch) -> Mapping[str, Tensor]:
        """Sum over rows."""
        import torch

        student, teacher = batch.student.logits, batch.teacher.logits.detach()
        check_vocabulary(self.title, student, teacher)
        if isinstance(teacher, TopK):
            raise ValueError(f"{self.title} wants all logits of the teacher, not its best {teacher.idx.shape[-1]}")
        own, other, valid = inner(student), inner(teacher), self.valid(batch.labels)
        places = batch.labels.masks[self.places]
        values = [
            relation(gram(student[row][places[row]], own), gram(teacher[row][places[row]], other))
            for row in valid.nonzero()[:, 0].tolist()
        ]
        none = (student.h if isinstance(student, Hidden) else student).flatten()[:0]
        return {"": self.total(torch.stack(values) if values else wide(none), batch.labels, valid)}
