"""Attention transfer: where a map of activations is large (Zagoruyko & Komodakis 2017, arXiv 1612.03928)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from potstill.models.losses.features import Between, counted
from potstill.models.losses.loss import Batch, Weight
from potstill.models.losses.numerics import unit

if TYPE_CHECKING:
    from torch import Tensor


def attention(x: Tensor, *, power: int = 2) -> Tensor:
    """Mean over channels of the absolute value to a power, as a row of length 1: maps (N, C, H, W) to (N, H * W),
    tokens (N, L, D) to (N, L) (equation 1 and section 3.1).
    """
    return unit(x.abs().pow(power).mean(1 if x.ndim == 4 else 2).flatten(1))


def attention_transfer(student: Tensor, teacher: Tensor, *, power: int = 2) -> Tensor:
    """Mean over positions of the squared difference of attention, per row (N,) (equation 2, as a mean).

    Maps (N, C, H, W) may differ in channels and size: the larger is averaged to the smaller. Tokens (N, L, D) must be
    as many. Between 0 and 2 / positions.
    """
    from torch.nn.functional import adaptive_avg_pool2d

    maps = student.ndim == teacher.ndim == 4
    if not maps and not (student.ndim == teacher.ndim == 3 and student.shape[1] == teacher.shape[1]):
        raise ValueError(
            "attention_transfer compares maps (B, C, H, W), or tokens (B, L, D) of one L; "
            f"here are {tuple(student.shape)} and {tuple(teacher.shape)}"
        )
    if maps:
        height, width = (min(sizes) for sizes in zip(student.shape[2:], teacher.shape[2:], strict=True))
        student, teacher = (adaptive_avg_pool2d(x, (height, width)) for x in (student, teacher))
    return (attention(student, power=power) - attention(teacher, power=power)).square().mean(1)


class AttentionTransfer(Between):
    """Attention transfer between two layers. Each rank for its own rows; over ranks it is one mean over all rows."""

    kind: Literal["attention_transfer"] = "attention_transfer"
    weight: Weight | dict[str, Weight] = 1000.0
    power: int = Field(2, ge=1)
    """Exponent of the activations; a larger one looks at the peaks alone."""

    def terms(self, batch: Batch) -> Mapping[str, Tensor]:
        """Sum over rows."""
        student, teacher = counted(self, batch, *self.both(batch))
        return {"": self.total(attention_transfer(student, teacher, power=self.power), batch.labels)}
