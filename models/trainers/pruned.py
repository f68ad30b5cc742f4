"""Distillation on a pruned dataset: how much to believe the teacher follows from how much was kept."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import Field, model_validator

from potstill.config import Settings

ALPHA, REST = "alpha", "1 - alpha"


class Pruned(Settings):
    """``(1 - alpha) CE + alpha KD`` with alpha by the kept fraction (Ben-Baruch et al. 2024, arXiv 2403.07854).

    A loss of the recipe whose weight is ``alpha`` or ``1 - alpha`` gets the number.
    """

    kept: float = Field(gt=0, le=1)
    """Fraction of the pool that the data was pruned to."""
    alpha: dict[float, float] = Field(min_length=1)
    """Best alpha by kept fraction, linear in between; `benchmarks/distil_pruned.py` measures it on a toy."""

    @model_validator(mode="after")
    def _ranges(self) -> Pruned:
        for kept, alpha in self.alpha.items():
            if not (0 < kept <= 1 and 0 <= alpha <= 1):
                raise ValueError(f"alpha {alpha} at {kept}: the kept fraction is above 0, and both are at most 1")
        return self

    def at(self) -> float:
        """Alpha for what was kept."""
        points = sorted(self.alpha)
        return float(np.interp(self.kept, points, [self.alpha[kept] for kept in points]))


def filled_in(tree: dict[str, Any]) -> dict[str, Any]:
    """A recipe's settings with numbers where losses name alpha. Raises ValueError where there is nothing to fill in, or
    no rule to do it by.
    """
    losses = [dict(each) for each in tree.get("losses") or () if isinstance(each, dict)]
    naming = [each for each in losses if each.get("weight") in (ALPHA, REST)]
    if not naming:
        return tree
    if not tree.get("pruned"):
        raise ValueError("a weight is alpha, and there is no `pruned: {kept, alpha}` to take it from")
    alpha = Pruned.model_validate(tree["pruned"]).at()
    for each in naming:
        each["weight"] = alpha if each["weight"] == ALPHA else 1 - alpha
    return tree | {"losses": losses}
