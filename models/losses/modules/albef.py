"""The queue of ALBEF: embeddings of earlier micro-batches by the momentum teacher."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from potstill.models.losses.loss import Batch
from potstill.models.losses.pairs import Rows

if TYPE_CHECKING:
    from potstill.models.losses.albef import Albef

NO_GROUP = torch.iinfo(torch.int64).min


class WithQueue(nn.Module):
    """The loss with a queue, first in, first out, equal on all ranks. It starts empty and grows while training alone.

    (The published queue starts with random directions, which are negatives that no row has.)
    """

    first: Tensor
    second: Tensor
    group: Tensor
    seen: Tensor

    def __init__(self, loss: Albef, example: Batch) -> None:
        super().__init__()
        self.loss = loss
        for name, x in zip(("first", "second"), loss.both(example.teacher), strict=True):
            self.register_buffer(name, x.new_zeros(loss.queue, x.shape[1]))
        self.register_buffer("group", torch.full((loss.queue,), NO_GROUP, device=self.first.device))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def forward(self, batch: Batch) -> Mapping[str, Tensor]:
        """The loss's terms against the batch and the queue; after it the batch's rows are in the queue."""
        filled = min(int(self.seen), self.loss.queue)
        terms = self.loss.terms(batch, {name: getattr(self, name)[:filled] for name in ("first", "second", "group")})
        if self.training:
            self._add(batch)
        return terms

    @torch.no_grad()
    def _add(self, batch: Batch) -> None:
        first, second = self.loss.both(batch.teacher)
        rows, group = Rows(self.loss, batch, first.device), batch.labels.group
        if group is None:
            group = torch.full((batch.labels.size,), NO_GROUP)
        new = {"first": first, "second": second, "group": group.to(first.device)}
        places = (int(self.seen) + torch.arange(len(rows.kept), device=first.device)) % self.loss.queue
        for name, x in new.items():
            # Not in place: what the terms took from the queue is wanted unchanged by their backward pass.
            queue = getattr(self, name).clone()
            queue[places[-self.loss.queue :]] = rows.all(x)[-self.loss.queue :].to(queue)
            setattr(self, name, queue)
        self.seen += len(rows.kept)
