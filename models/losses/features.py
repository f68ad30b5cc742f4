"""What losses on inner activations share: where a tensor stands, and which rows of it count."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from potstill.models.losses.comm import Alone, gather_rows
from potstill.models.losses.loss import Batch, Loss, Output
from potstill.models.losses.numerics import wide

if TYPE_CHECKING:
    from torch import Tensor


def tensor(output: Output, name: str) -> Tensor:
    """What a model says under `image`, `text` or the name of a feature, at least in float32."""
    return wide(getattr(output, name) if name in ("image", "text") else output.features[name])


def path(owner: str, name: str) -> str:
    """The same place as :meth:`Loss.needs` writes it."""
    return f"{owner}.{name}" if name in ("image", "text") else f"{owner}.features.{name}"


def counted(loss: Loss, batch: Batch, *tensors: Tensor, gather: bool = False) -> tuple[Tensor, ...]:
    """Rows (N, ...) of tensors (B, ...) that count for the loss; those of all ranks if ``gather``, with exact gradient.

    Every rank then computes the relation of all rows; its gradients, averaged over ranks, are those of one process.
    """
    valid = loss.valid(batch.labels).to(tensors[0].device)
    return gather_rows(batch.comm if gather else Alone(), valid, *tensors)


def two_views(loss: Loss, batch: Batch, names: tuple[str, str], *, gather: bool) -> tuple[Tensor, ...]:
    """Rows (N, D) that count of two of the student's embeddings. Raises ValueError where they are not of one width."""
    first, second = (tensor(batch.student, name) for name in names)
    if first.ndim != 2 or first.shape != second.shape:
        shapes = f"{names[0]} is {tuple(first.shape)} and {names[1]} {tuple(second.shape)}"
        raise ValueError(f"{loss.title} wants two views (B, D) of one width: {shapes}")
    return counted(loss, batch, first, second, gather=gather)


class Between(Loss):
    """Base of losses that compare an activation of the student with one of its teacher."""

    student: str
    """`image`, `text`, or a feature by its name."""
    teacher: str
    """The same of the teacher."""

    def needs(self) -> frozenset[str]:
        """The two activations."""
        return frozenset({path("student", self.student), path("teacher", self.teacher)})

    def both(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """All rows of both (B, ...), the teacher's without gradient."""
        return tensor(batch.student, self.student), tensor(batch.teacher, self.teacher).detach()


class Relation(Between):
    """Base of losses that compare how the rows of a batch relate; weights of rows are not used."""

    gather: bool = True
    """Relate the rows of all ranks, each rank anew; else each rank relates its own, and the mean over ranks is taken.
    """
    per: ClassVar[Literal["row", "token", "batch"]] = "batch"

    def rows(self, batch: Batch) -> tuple[Tensor, ...]:
        """The rows of both that count (N, ...)."""
        return counted(self, batch, *self.both(batch), gather=self.gather)
