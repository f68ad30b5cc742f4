"""Coverage-centric selection: without the hardest rows, equally many from each stratum of difficulty."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from potstill.pipelines.coresets import groups
from potstill.pipelines.rowset import RowSet
from potstill.pipelines.selectors.random_subset import lots
from potstill.pipelines.selectors.selector import NOT_SELECTED, Choice, Selector


class CCS(Selector):
    """Drops the hardest for ``too_hard``, then shares the budget equally among strata of equal width, at random inside.

    Zheng et al. 2023, arXiv 2210.15809, algorithm 1. Nothing is promised for your data: made for budgets of 30 % and
    less, and most useful where labels are wrong, since wrongly labelled rows are the hardest. O(n log n) time, 32 bytes
    a row. Rows without a score are dropped for ``no_score``.
    """

    kind: Literal["ccs"] = "ccs"
    budget: int = Field(gt=0)
    """Rows to keep."""
    score: str
    """Column of difficulty, such as the margin (aum) that ``difficulty`` writes."""
    hard: Literal["low", "high"] = "low"
    """Which end of the score is hard: low for a margin, high for el2n and forgetting."""
    beta: float = Field(default=0.1, ge=0, lt=1)
    """Share of the rows to drop as hardest: more for smaller budgets and noisier labels (paper: 0.1 to 0.3 at 30 to
    10 % kept). Fewer are dropped when the budget would not be filled."""
    strata: int = Field(default=50, ge=1)
    """Strata of equal width between the lowest and the highest score that is left."""

    def reads(self) -> tuple[str, ...]:
        """The score."""
        return (self.score,)

    def select(self, rows: RowSet, seed: int) -> Choice:
        """Cut off the hard end, then water-fill the strata from the one with the fewest rows up."""
        scores = rows.numbers(self.score)
        scored = np.flatnonzero(np.isfinite(scores))
        hardness = scores if self.hard == "high" else -scores
        cut = max(0, min(int(self.beta * len(scored)), len(scored) - self.budget))
        hardest, rest = np.split(scored[np.argsort(-hardness[scored], kind="stable")], [cut])
        codes = np.full(len(rows), groups.NONE)
        codes[rest] = strata(scores[rest], self.strata)
        quotas = groups.water_fill(groups.sizes(codes), self.budget)
        reasons = np.full(len(rows), "no_score", object)
        reasons[hardest], reasons[rest] = "too_hard", NOT_SELECTED
        return Choice(groups.first(codes, quotas, lots(rows, seed, self.name)), reasons)


def strata(scores: np.ndarray, count: int) -> np.ndarray:
    """The stratum, 0 to count - 1, of each score (m,): equal width from the lowest to the highest; int64 (m,)."""
    low, width = scores.min(initial=np.inf), np.ptp(scores) if len(scores) else 0
    if width == 0:
        return np.zeros(len(scores), np.int64)
    return np.minimum((scores - low) / width * count, count - 1).astype(np.int64)
