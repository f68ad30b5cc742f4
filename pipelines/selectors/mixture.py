"""A mixture of sources in given shares."""

from __future__ import annotations

import logging
import re
from typing import Literal

import numpy as np
import pyarrow as pa
from pydantic import Field, NonNegativeFloat, field_validator

from potstill.pipelines import schema
from potstill.pipelines.coresets import groups
from potstill.pipelines.rowset import RowSet
from potstill.pipelines.selectors.random_subset import lots
from potstill.pipelines.selectors.selector import NOT_SELECTED, Choice, Selector

logger = logging.getLogger(__name__)


class Mixture(Selector):
    """Keeps ``budget`` rows, so many of each source as its weight says; at random inside a source.

    Mixing in a worse source dilutes a better one (Nguyen et al. 2022, arXiv 2208.05516), so weights are worth a search.
    Exact to one row while sources have enough; logs what was achieved. Rows of a source without weight are dropped for
    ``not_in_mixture``. O(n log n) time, 32 bytes a row.
    """

    kind: Literal["mixture"] = "mixture"
    budget: int = Field(gt=0)
    """Rows to keep."""
    weights: dict[str, NonNegativeFloat] = Field(min_length=1)
    """Name of a source -> its share, in any unit."""
    column: str = schema.SOURCE
    """Column with the name of the source."""
    pattern: str | None = None
    """Regular expression whose first group, searched in the column, is the name: ``^([^/]+)/`` for the first folder."""
    short: Literal["fill", "error"] = "fill"
    """When a source has too few rows: fill up from the others in their proportions, or stop."""

    @field_validator("weights")
    @classmethod
    def _some_weight(cls, value: dict[str, float]) -> dict[str, float]:
        if not any(value.values()):
            raise ValueError(f"all weights are 0: {value}; give one source a weight above 0")
        return value

    @field_validator("pattern")
    @classmethod
    def _one_group(cls, value: str | None) -> str | None:
        try:
            found = value is None or re.compile(value).groups
        except re.error as error:
            raise ValueError(f"pattern {value!r} is no regular expression: {error}") from error
        if not found:
            raise ValueError(f"pattern {value!r} has no group: put round brackets about the part that names the source")
        return value

    def reads(self) -> tuple[str, ...]:
        """The names."""
        return (self.column,)

    def select(self, rows: RowSet, seed: int) -> Choice:
        """By lot inside each source."""
        names = rows.column(self.column).cast(pa.string()).to_pylist()
        if self.pattern:
            found = (re.search(self.pattern, name or "") for name in names)
            names = [match and match[1] for match in found]
        place = {name: index for index, name in enumerate(self.weights)}
        codes = np.array([place.get(name, groups.NONE) for name in names], np.int64)
        counts = np.bincount(codes[codes >= 0], minlength=len(place))
        weights = np.array(list(self.weights.values()))
        wanted, quotas = groups.apportion(weights, self.budget), groups.proportional(weights, counts, self.budget)
        text = ", ".join(f"{n} {q} of {w} wanted" for n, q, w in zip(place, quotas, wanted, strict=True))
        if self.short == "error" and (wanted > counts).any():
            raise ValueError(f"stage {self.name!r}: a source has too few rows ({text}): lower budget, or short: fill")
        logger.log(logging.WARNING if (wanted > counts).any() else logging.INFO, "stage %s: %s", self.name, text)
        reasons = np.where(codes < 0, "not_in_mixture", NOT_SELECTED).astype(object)
        return Choice(groups.first(codes, quotas, lots(rows, seed, self.name)), reasons)
