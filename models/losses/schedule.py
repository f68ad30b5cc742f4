"""Weights that change while training goes on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from pydantic import Field, model_validator

from potstill.config import Settings


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a training stands. Steps and epochs count from 1, as the published warm-ups do."""

    step: int = 1
    epoch: int = 1
    samples: int = 1
    total_steps: int | None = None


class Schedule(Settings):
    """A weight over time: `value` times a factor.

    `linear_warmup` rises to `value` at `length` and stays (DKD, ReviewKD: the first of 20 epochs has 1/20 of it);
    `cosine` goes from `value` to `end` over `length`; `piecewise` keeps `value` until `length` and is `end` after it.
    """

    kind: Literal["linear_warmup", "cosine", "piecewise"]
    value: float = Field(ge=0, allow_inf_nan=False)
    end: float = Field(0.0, ge=0, allow_inf_nan=False)
    unit: Literal["step", "epoch", "sample"] = "step"
    length: int = Field(ge=1)

    @model_validator(mode="after")
    def _end_is_used(self) -> Schedule:
        if self.kind == "linear_warmup" and self.end:
            raise ValueError("linear_warmup ends at `value`; leave `end` out")
        return self

    def __mul__(self, factor: float) -> Schedule:
        """The same over time, times a number."""
        return self.model_copy(update={"value": self.value * factor, "end": self.end * factor})

    def at(self, progress: Progress) -> float:
        """The weight now."""
        now = {"step": progress.step, "epoch": progress.epoch, "sample": progress.samples}[self.unit]
        share = min(now / self.length, 1.0)
        if self.kind == "linear_warmup":
            return self.value * share
        if self.kind == "cosine":
            return self.end + (self.value - self.end) * (1 + math.cos(math.pi * share)) / 2
        return self.value if now <= self.length else self.end
