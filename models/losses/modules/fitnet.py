"""The regressor of FitNet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Size, Tensor, nn

from potstill.models.losses.fitnet import fitnet
from potstill.models.losses.loss import Batch

if TYPE_CHECKING:
    from potstill.models.losses.fitnet import Fitnet


class Hint(nn.Module):
    """The loss, with a regressor from the student's shape to the teacher's."""

    def __init__(self, loss: Fitnet, example: Batch) -> None:
        super().__init__()
        self.loss = loss
        student, teacher = loss.both(example)
        self.regressor = regressor(student.shape, teacher.shape, norm_relu=loss.norm_relu)

    def forward(self, batch: Batch) -> Mapping[str, Tensor]:
        """Sum over rows."""
        student, teacher = self.loss.both(batch)
        valid = self.loss.valid(batch.labels).to(student.device)
        values = fitnet(self.regressor(student)[valid], teacher[valid])
        return {"": self.loss.total(values, batch.labels)}


def regressor(student: Size, teacher: Size, *, norm_relu: bool = False) -> nn.Module:
    """A module from activations of one shape (B, ...) to those of the other. Raises ValueError where there is none."""
    refused = f"fitnet has no regressor from {tuple(student)} to {tuple(teacher)}: "
    if len(student) != len(teacher) or len(student) not in (2, 3, 4):
        raise ValueError(refused + "take two embeddings (B, D), tokens (B, L, D) or maps (B, C, H, W)")
    if len(student) < 4:
        if norm_relu:
            raise ValueError(refused + "norm_relu is for maps (B, C, H, W)")
        if student[1:-1] != teacher[1:-1]:
            raise ValueError(refused + "there must be as many tokens")
        return nn.Linear(student[-1], teacher[-1])
    (own, *size), (other, *wanted) = student[1:], teacher[1:]
    if size == [2 * n for n in wanted]:
        layer = nn.Conv2d(own, other, kernel_size=3, stride=2, padding=1)
    elif wanted == [2 * n for n in size]:
        layer = nn.ConvTranspose2d(own, other, kernel_size=4, stride=2, padding=1)
    elif all(n >= m for n, m in zip(size, wanted, strict=True)):
        height, width = (n - m + 1 for n, m in zip(size, wanted, strict=True))
        layer = nn.Conv2d(own, other, kernel_size=(height, width))
    else:
        raise ValueError(refused + "the student's map must be half as large, or at least as large")
    return nn.Sequential(layer, nn.BatchNorm2d(other), nn.ReLU()) if norm_relu else layer
