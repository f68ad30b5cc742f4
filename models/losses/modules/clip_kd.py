"""CLIP-KD's terms with what they learn: maps to the teacher's width and a factor."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from potstill.models.losses.clip_affinity import clip_affinity
from potstill.models.losses.info_nce import info_nce
from potstill.models.losses.loss import Batch
from potstill.models.losses.numerics import unit
from potstill.models.losses.pairs import Rows

if TYPE_CHECKING:
    from potstill.models.losses.clip_kd import ClipKd

LARGEST = 100.0
"""Of the learnt factor, as CLIP's."""


class WithHeads(nn.Module):
    """The three terms of :class:`ClipKd`."""

    def __init__(self, loss: ClipKd, example: Batch) -> None:
        super().__init__()
        self.loss = loss
        ours, theirs = loss.both(example.student), loss.both(example.teacher)
        self.maps = nn.ModuleList(_map(x, y) for x, y in zip(ours, theirs, strict=True))
        self.scale = nn.Parameter(torch.tensor([math.log(1 / 0.07)], device=ours[0].device))  # FSDP wants a dimension

    def forward(self, batch: Batch) -> Mapping[str, Tensor]:
        """Own part of the mean over rows of each term."""
        from potstill.models.losses.clip_kd import feature_distance

        student, teacher = self.loss.both(batch.student), [x.detach() for x in self.loss.both(batch.teacher)]
        rows = Rows(self.loss, batch, student[0].device)
        ours = rows.both_ways(*student, batch.student.scale)  # pyright: ignore[reportArgumentType]
        theirs = rows.both_ways(*teacher, batch.teacher.scale)  # pyright: ignore[reportArgumentType]
        ckd = sum(rows.mean(clip_affinity(mine, [given])) for mine, given in zip(ours, theirs, strict=True)) / 2
        first, second = (unit(rows.own(to(x))) for to, x in zip(self.maps, student, strict=True))
        scale = self.scale if self.loss.published_scale else self.scale.exp().clamp(max=LARGEST)
        icl = info_nce(scale * first @ rows.all(teacher[1]).T, rows.place, rows.related & ~rows.pair)
        icl = icl + info_nce(scale * second @ rows.all(teacher[0]).T, rows.place, rows.related & ~rows.pair)
        fd = feature_distance(first, rows.own(teacher[0])) + feature_distance(second, rows.own(teacher[1]))
        return {"ckd": ckd, "icl": rows.mean(icl) / 2, "fd": rows.mean(fd)}  # pyright: ignore[reportReturnType]


def _map(ours: Tensor, theirs: Tensor) -> nn.Module:
    """From our width to theirs; nothing to learn where they are equal."""
    if ours.shape[-1] == theirs.shape[-1]:
        return nn.Identity()
    return nn.Linear(ours.shape[-1], theirs.shape[-1], device=ours.device)
