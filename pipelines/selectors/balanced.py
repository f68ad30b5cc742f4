"""Equally many rows of every label, as far as there are."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from potstill.pipelines.coresets import groups
from potstill.pipelines.rowset import RowSet
from potstill.pipelines.selectors.random_subset import lots
from potstill.pipelines.selectors.selector import NOT_SELECTED, Choice, Selector


class Balanced(Selector):
    """Keeps ``budget`` rows with equal shares of the labels: rare ones whole, what they leave over goes to the others.

    Inside a label at random, or the highest ``score`` first: with labels that a model guessed and its uncertainty as
    score this is the balanced query of PCB (Bang et al. 2024, arXiv 2311.11178). The smallest kept label is as large as
    it can be. O(n log n) time, 32 bytes a row. Rows without label or score are dropped for ``no_label``, ``no_score``.
    """

    kind: Literal["balanced"] = "balanced"
    budget: int = Field(gt=0)
    """Rows to keep."""
    label: str
    """Column of labels: texts, whole numbers or truth values."""
    score: str | None = None
    """Column of numbers: the highest go first. Without it rows go by lot."""

    def reads(self) -> tuple[str, ...]:
        """Labels, scores."""
        return tuple(dict.fromkeys(name for name in (self.label, self.score) if name))

    def select(self, rows: RowSet, seed: int) -> Choice:
        """The first rows of each label by score, lower id on ties; or by lot."""
        codes = groups.codes(rows.column(self.label))[1]
        reasons = np.where(codes < 0, "no_label", NOT_SELECTED).astype(object)
        key = -rows.numbers(self.score) if self.score else lots(rows, seed, self.name)
        if self.score:
            reasons[np.isnan(key) & (codes >= 0)] = "no_score"
            codes[np.isnan(key)] = groups.NONE
        quotas = groups.water_fill(groups.sizes(codes), self.budget)
        return Choice(groups.first(codes, quotas, key), reasons)
