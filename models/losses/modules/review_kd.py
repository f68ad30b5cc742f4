"""The fusions of ReviewKD (attention based fusion, Chen et al. 2021, arXiv 2104.09044, figure 3a)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from potstill.models.losses.features import tensor
from potstill.models.losses.loss import Batch, Output
from potstill.models.losses.review_kd import hcl

if TYPE_CHECKING:
    from potstill.models.losses.review_kd import ReviewKd


class Fusion(nn.Module):
    """One level: (B, C, H, W) and what came from the deeper one (B, M, h, w), to the teacher's channels and size."""

    def __init__(self, channels: int, width: int, teacher: int, *, deepest: bool) -> None:
        super().__init__()
        self.enter = nn.Sequential(nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width))
        self.leave = nn.Sequential(nn.Conv2d(width, teacher, 3, padding=1, bias=False), nn.BatchNorm2d(teacher))
        self.share = None if deepest else nn.Sequential(nn.Conv2d(2 * width, 2, 1), nn.Sigmoid())
        for part in (self.enter, self.leave):
            nn.init.kaiming_uniform_(part[0].weight, a=1)  # pyright: ignore[reportArgumentType]

    def forward(self, x: Tensor, deeper: Tensor | None, size: torch.Size) -> tuple[Tensor, Tensor]:
        """What is compared (B, teacher, *size), and what the shallower level gets (B, M, *size)."""
        x = self.enter(x)
        if self.share is not None:
            assert deeper is not None
            deeper = interpolate(deeper, x.shape[2:], mode="nearest")
            share = self.share(torch.cat([x, deeper], 1))
            x = x * share[:, :1] + deeper * share[:, 1:]
        if x.shape[2:] != size:
            x = interpolate(x, size, mode="nearest")
        return self.leave(x), x


class Review(nn.Module):
    """The loss, with a fusion for each level."""

    def __init__(self, loss: ReviewKd, example: Batch) -> None:
        super().__init__()
        self.loss = loss
        ours, theirs = maps(example.student, loss.student), maps(example.teacher, loss.teacher)
        width = min(loss.width, ours[-1].shape[1])
        self.fusions = nn.ModuleList(
            Fusion(s.shape[1], width, t.shape[1], deepest=s is ours[-1]) for s, t in zip(ours, theirs, strict=True)
        )

    def forward(self, batch: Batch) -> Mapping[str, Tensor]:
        """Sum over rows of the sum over levels."""
        valid = self.loss.valid(batch.labels).to(batch.student.features[self.loss.student[0]].device)
        ours, theirs = maps(batch.student, self.loss.student), maps(batch.teacher, self.loss.teacher)
        values, deeper = 0, None
        for fusion, student, teacher in reversed(list(zip(self.fusions, ours, theirs, strict=True))):
            fused, deeper = fusion(student, deeper, teacher.shape[2:])
            values = values + hcl(fused[valid], teacher.detach()[valid])
        return {"": self.loss.total(values, batch.labels)}  # pyright: ignore[reportArgumentType]


def maps(output: Output, names: Sequence[str]) -> list[Tensor]:
    """Features as maps (B, C, H, W). Raises ValueError for one that is neither a map nor a vector."""
    found = []
    for name in names:
        x = tensor(output, name)
        if x.ndim not in (2, 4):
            raise ValueError(f"review_kd takes maps (B, C, H, W) and vectors (B, D); {name} is {tuple(x.shape)}")
        found.append(x if x.ndim == 4 else x[:, :, None, None])
    return found
