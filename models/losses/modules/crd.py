"""Projections and queue of CRD."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from potstill.models.losses.crd import relational
from potstill.models.losses.info_nce import info_nce
from potstill.models.losses.loss import Batch
from potstill.models.losses.numerics import unit
from potstill.models.losses.pairs import Rows

if TYPE_CHECKING:
    from potstill.models.losses.crd import Crd

NO_GROUP = torch.iinfo(torch.int64).min


class QueueContrast(nn.Module):
    """The loss, with a projection for each side and a queue, first in, first out."""

    queue: Tensor
    groups: Tensor
    seen: Tensor

    def __init__(self, loss: Crd, example: Batch) -> None:
        super().__init__()
        self.loss = loss
        student, teacher = (x[0].numel() for x in loss.both(example))
        self.student, self.teacher = nn.Linear(student, loss.width), nn.Linear(teacher, loss.width)
        if loss.weights()[f"{loss.title}.contrast"] == 0:
            self.teacher.requires_grad_(False)
        self.register_buffer("queue", torch.zeros(loss.queue, loss.width))
        self.register_buffer("groups", torch.full((loss.queue,), NO_GROUP))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def forward(self, batch: Batch) -> Mapping[str, Tensor]:
        """Own part of the means over rows; afterwards the batch's rows are in the queue."""
        loss, (student, teacher) = self.loss, self.loss.both(batch)
        student, teacher = unit(self.student(student.flatten(1))), unit(self.teacher(teacher.flatten(1)))
        rows, filled = Rows(loss, batch, student.device), min(int(self.seen), loss.queue)
        fresh = rows.all(teacher)
        columns = torch.cat([fresh, self.queue[:filled].to(fresh)])
        own, fixed = rows.own(student), columns.detach()
        distributions = relational(
            own @ fixed.T, rows.own(teacher).detach() @ fixed.T,
            student_temperature=loss.student_temperature, teacher_temperature=loss.teacher_temperature,
        )  # fmt: skip
        twins = torch.cat([rows.related & ~rows.pair, rows.group[:, None] == self.groups[:filled]], 1)
        told = info_nce(own @ columns.T / loss.contrast_temperature, rows.place, twins)
        if self.training:
            self._keep(fresh, batch.labels.group, rows)
        return {"relational": rows.mean(distributions), "contrast": rows.mean(told)}

    @torch.no_grad()
    def _keep(self, fresh: Tensor, group: Tensor | None, rows: Rows) -> None:
        groups = torch.full_like(rows.kept, NO_GROUP) if group is None else rows.all(group.to(fresh.device))
        places = (int(self.seen) + torch.arange(len(fresh), device=fresh.device))[-self.loss.queue :]
        if self.loss.queue:
            self.queue[places % self.loss.queue] = fresh[-self.loss.queue :].to(self.queue)
            self.groups[places % self.loss.queue] = groups[-self.loss.queue :]
        self.seen += len(fresh)
