"""Keep the rows for which conditions hold that may look at all rows: quantiles, ranks, the top of each group."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from potstill.pipelines.filters import expression, over_rows
from potstill.pipelines.filters.filter import conditions_of, first_failed
from potstill.pipelines.filters.measures import Measure, measured
from potstill.pipelines.rowset import RowSet
from potstill.pipelines.selectors.selector import Choice, Selector


class SetFilter(Selector):
    """A filter whose conditions may look at all rows that reach it: top 30 % of a score, above its source's mean.

    O(n log n) time; a few numbers a row in memory. Filters before it change what it sees; its own conditions do not.
    """

    kind: Literal["set_filter"] = "set_filter"
    keep: Annotated[dict[str, str], Field(min_length=1), conditions_of(over_rows.parse)]
    """Reason -> condition, as in a filter, and with ``quantile``, ``rank``, ``top``, ``top_fraction``, ``count``,
    ``mean`` and ``std``."""

    @cached_property
    def _parsed(self) -> dict[str, tuple[ast.expr, dict[str, Measure]]]:
        return {reason: over_rows.parse(text) for reason, text in self.keep.items()}

    @property
    def conditions(self) -> dict[str, ast.expr]:
        """Reason -> condition over columns and :attr:`measures`."""
        return {reason: tree for reason, (tree, _) in self._parsed.items()}

    @property
    def measures(self) -> dict[str, Measure]:
        """What is worked out over all rows first: name -> call."""
        return {name: measure for _, found in self._parsed.values() for name, measure in found.items()}

    def reads(self) -> tuple[str, ...]:
        """Columns that the conditions name."""
        parts = [part for measure in self.measures.values() for part in (measure.of, measure.by) if part]
        named = {name for tree in (*self.conditions.values(), *parts) for name in expression.names(tree)}
        return tuple(sorted(named - set(self.measures)))

    def decide(self, columns: Mapping[str, Any], rows: int) -> np.ndarray:
        """Why each row is dropped, as :meth:`Filter.decide`: rows in the order of their ids, which breaks ties."""
        return first_failed(self.conditions, measured(self.measures, columns, rows), rows)

    def select(self, rows: RowSet, seed: int) -> Choice:
        """The rows that meet all conditions, and the numbers that it was decided by."""
        columns = measured(self.measures, rows.columns(self.reads()), len(rows))
        reasons = first_failed(self.conditions, columns, len(rows))
        evidence: dict[str, pa.Array] = {name: columns[name] for name in self.measures}
        return Choice(np.equal(reasons, None), reasons, evidence=evidence)
