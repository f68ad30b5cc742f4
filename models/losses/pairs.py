"""What losses of paired embeddings share: which two of a row, and one rank's rows beside those of all ranks."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from potstill.models.losses.loss import Batch, Loss, Output
from potstill.models.losses.numerics import unit

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Pairs(Loss):
    """Base of losses that relate two embeddings of each row, scaled to length 1, to those of the other rows."""

    per: ClassVar[Literal["row", "token", "batch"]] = "batch"
    first: str = "image"
    """One embedding of a row: `image`, `text`, or a feature by its name (a second view, a synthetic caption)."""
    second: str = "text"
    """The other one."""

    def both(self, output: Output) -> tuple[Tensor, Tensor]:
        """The two embeddings (B, D), each of length 1."""
        named = dict(output.features) | {"image": output.image, "text": output.text}
        return unit(named[self.first]), unit(named[self.second])

    def paths(self, *owners: str, scaled: bool = False) -> frozenset[str]:
        """The two embeddings of a student or of teachers as :meth:`needs`, and their factor if ``scaled``."""
        names = [name if name in ("image", "text") else f"features.{name}" for name in (self.first, self.second)]
        return frozenset(f"{owner}.{name}" for owner in owners for name in names + ["scale"] * scaled)


class Rows:
    """The n rows of this rank that count, and the m of all ranks.

    A rank computes its own rows against the columns of all: n * m numbers instead of m * m, and with the gradient of
    :meth:`Comm.gather` the mean over ranks of the gradients is exactly that of one process with all rows.
    """

    def __init__(self, loss: Loss, batch: Batch, device: torch.device) -> None:
        labels, comm = batch.labels, batch.comm
        valid = loss.valid(labels).to(device)
        weight = valid.float() if labels.weight is None else valid * labels.weight.to(device)
        everywhere = comm.gather(valid)
        self.comm, self.valid, self.kept = comm, valid.nonzero()[:, 0], everywhere.nonzero()[:, 0]
        places = everywhere.cumsum(0) - 1
        self.place = places[comm.rank * labels.size + self.valid]
        """Where the own rows stand among all that count (n,)."""
        self.pair = self.place[:, None] == places[self.kept]
        """True (n, m) at each row's own pair."""
        groups = self.kept if labels.group is None else comm.gather(labels.group.to(device))[self.kept]
        self.group = groups[self.place]
        self.related = self.group[:, None] == groups
        """True (n, m) at a row's own pair and at those of its group."""
        self.weight, self.total = weight[self.valid], comm.sum(weight.sum()).clamp(min=1e-12)

    def own(self, x: Tensor) -> Tensor:
        """This rank's rows of (B, ...) that count."""
        return x[self.valid]

    def all(self, x: Tensor) -> Tensor:
        """All ranks' rows of it that count."""
        return self.comm.gather(x)[self.kept]

    def mean(self, values: Tensor) -> Tensor:
        """Own part of the weighted mean over all rows, from own values (n,): its mean over ranks is the mean."""
        return (values * self.weight.to(values)).sum() * self.comm.world / self.total.to(values)

    def both_ways(self, first: Tensor, second: Tensor, scale: Tensor | float = 1.0) -> tuple[Tensor, Tensor]:
        """Similarities (n, m) of own firsts to all seconds, and of own seconds to all firsts."""
        return scale * (self.own(first) @ self.all(second).T), scale * (self.own(second) @ self.all(first).T)

    def negatives(self, one: Tensor, other: Tensor) -> Tensor:
        """Similarities (n, 2 m) of own rows in one view to all rows in the other and in the same; related ones -inf."""
        import torch

        similarity = self.own(one) @ torch.cat([self.all(other), self.all(one)]).T
        return similarity.masked_fill(self.related.repeat(1, 2), float("-inf"))
