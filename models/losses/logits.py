"""Stand-ins for logits too large to be there: a head that is yet to be applied, and a teacher's cached best classes.

Both are indexed by rows as a tensor is: a loss selects what counts (`logits[valid]`) before anything is computed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Hidden:
    """Logits ``h @ weight.T + bias``, which are made for a few rows at a time only."""

    h: Tensor
    """Last hidden states (..., H), float."""
    weight: Tensor
    """Head (V, H); it may be the table of embeddings."""
    bias: Tensor | None = None
    """(V,)."""

    def __getitem__(self, rows: Tensor | slice) -> Hidden:
        return replace(self, h=self.h[rows])

    def detach(self) -> Hidden:
        """Without gradient."""
        return Hidden(self.h.detach(), self.weight.detach(), None if self.bias is None else self.bias.detach())

    @property
    def device(self) -> torch.device:
        """Of the hidden states."""
        return self.h.device

    def dense(self) -> Tensor:
        """The logits (..., V), in the type of the hidden states."""
        from torch.nn.functional import linear

        return linear(self.h, self.weight.to(self.h.dtype), None if self.bias is None else self.bias.to(self.h.dtype))


@dataclass(frozen=True, slots=True)
class TopK:
    """The k best classes of a teacher, as they were cached. Unused places at the end have a ``logp`` of -inf."""

    idx: Tensor
    """int (..., k): classes; the first is real."""
    logp: Tensor
    """(..., k): their log-probabilities among **all** classes, in nats, at ``temperature``."""
    temperature: float
    classes: int
    """V."""

    def __post_init__(self) -> None:
        k = self.idx.shape[-1]
        if self.idx.shape != self.logp.shape or not 0 < k < self.classes:
            shapes = f"idx {tuple(self.idx.shape)}, logp {tuple(self.logp.shape)}"
            raise ValueError(f"the best of {self.classes} classes are fewer, and in two equal shapes; got {shapes}")

    def __getitem__(self, rows: Tensor | slice) -> TopK:
        return replace(self, idx=self.idx[rows], logp=self.logp[rows])

    def detach(self) -> TopK:
        """Without gradient."""
        return replace(self, logp=self.logp.detach())


def vocabulary(logits: Tensor | Hidden | TopK) -> int:
    """How many classes there are."""
    if isinstance(logits, TopK):
        return logits.classes
    return logits.weight.shape[0] if isinstance(logits, Hidden) else logits.shape[-1]
