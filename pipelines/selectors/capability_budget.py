"""A budget shared out over capabilities and, inside one, over styles: the highest scores of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field, PositiveFloat, field_validator

from potstill.pipelines.coresets.capabilities import share_out
from potstill.pipelines.rowset import RowSet
from potstill.pipelines.selectors.selector import NOT_SELECTED, Choice, Selector


class CapabilityBudget(Selector):
    """Writes ``<name>_capability``: the score column for which a row was kept; null for a dropped one.

    mmSSR, Lyu et al. 2025, arXiv 2503.13383: 14 capabilities scored 0 to 5, styles of interaction as bins. No
    embedding, no clustering. O(capabilities n log n) time, 8 bytes per row and score. Nothing is promised: as good as
    the scores. Rows with no score above ``above`` are dropped for ``no_capability``.
    """

    kind: Literal["capability_budget"] = "capability_budget"
    budget: int = Field(gt=0)
    """Rows to keep."""
    scores: dict[str, PositiveFloat] = Field(min_length=1)
    """Score column -> its share of the budget, in any unit; or a list, for equal shares. Earlier ones go first."""
    style: str | None = None
    """Column with a row's style, or list of styles; rows without one form a bin of their own."""
    above: float = 0
    """A row serves a capability only when its score is greater than this."""

    @field_validator("scores", mode="before")
    @classmethod
    def _equal_shares(cls, value: Any) -> Any:
        return dict.fromkeys(value, 1) if isinstance(value, list | tuple) else value

    def reads(self) -> tuple[str, ...]:
        """Scores, styles."""
        return (*self.scores, *([self.style] if self.style else []))

    def writes(self) -> Mapping[str, pa.DataType]:
        """What a row was kept for."""
        return {f"{self.name}_capability": pa.string()}

    def select(self, rows: RowSet, seed: int) -> Choice:
        """Highest scores first, lower id on ties."""
        scores = np.stack([rows.numbers(column) for column in self.scores], axis=1)
        scores[~(scores > self.above)] = np.nan
        styles = _bins(rows.column(self.style)) if self.style else [np.arange(len(rows))]
        served = share_out(scores, styles, np.array(list(self.scores.values())), self.budget)
        reasons = np.where(np.isnan(scores).all(1), "no_capability", NOT_SELECTED).astype(object)
        names = pa.array(list(self.scores)).take(pa.array(served, mask=served < 0))
        return Choice(served >= 0, reasons, {f"{self.name}_capability": names})


def _bins(column: pa.Array) -> list[np.ndarray]:
    """Positions of the rows of each style, styles in the order of their names, rows without one at last."""
    found: dict[Any, list[int]] = {}
    for position, value in enumerate(column.to_pylist()):
        for style in (dict.fromkeys(value) if isinstance(value, list) else [value]) or [None]:
            found.setdefault(style, []).append(position)
    return [np.array(found[style]) for style in sorted(found, key=lambda style: (style is None, str(style)))]
