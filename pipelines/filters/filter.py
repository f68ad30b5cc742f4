"""Keep the rows for which conditions over their columns hold; say which condition a dropped row failed."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field, WrapValidator

from potstill.pipelines.filters import expression
from potstill.pipelines.stage import Stage


def conditions_of(parse: Callable[[str], object]) -> WrapValidator:
    """Checks a mapping of reasons to conditions, each by ``parse``; a single condition has the reason ``failed``."""

    def check(value: Any, handler: Callable[[Any], dict[str, str]]) -> dict[str, str]:
        found = handler({"failed": value} if isinstance(value, str) else value)
        for condition in found.values():
            parse(condition)
        return found

    return WrapValidator(check)


class Filter(Stage):
    """Decides from columns alone, so that changing a threshold runs no model."""

    kind: Literal["filter"] = "filter"
    keep: Annotated[dict[str, str], Field(min_length=1), conditions_of(expression.parse)]
    """Reason -> condition. A row is kept when all conditions hold, else dropped for the first one that does not. A
    condition that cannot be told because a column is null drops the row too, for ``<reason>_unknown``."""

    @cached_property
    def conditions(self) -> dict[str, ast.expr]:
        """Reason -> condition, as :mod:`expression` evaluates it."""
        return {reason: expression.parse(text) for reason, text in self.keep.items()}

    def reads(self) -> tuple[str, ...]:
        """Columns that the conditions name."""
        return tuple(sorted({name for tree in self.conditions.values() for name in expression.names(tree)}))

    def decide(self, columns: Mapping[str, pa.ChunkedArray | pa.Array], rows: int) -> np.ndarray:
        """Why each row is dropped: object array of ``rows`` reasons, ``None`` for a kept row."""
        return first_failed(self.conditions, columns, rows)


def first_failed(conditions: Mapping[str, ast.expr], columns: Mapping[str, Any], rows: int) -> np.ndarray:
    """Per row the reason of the first condition that does not hold, or cannot be told; ``None`` where all hold."""
    reasons = np.full(rows, None, dtype=object)
    for reason, tree in conditions.items():
        holds = expression.evaluate(tree, columns, rows)
        unknown = np.asarray(holds.is_null())
        fails = ~np.asarray(holds.fill_null(True))
        first = np.equal(reasons, None)
        reasons[first & fails] = reason
        reasons[first & unknown] = f"{reason}_unknown"
    return reasons
