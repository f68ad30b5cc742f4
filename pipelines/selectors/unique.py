"""Of rows with the same key one stays: exact duplicates, by whatever counts as the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field, field_validator

from potstill.pipelines import preference
from potstill.pipelines.keys import together
from potstill.pipelines.neighbours.semantic import names
from potstill.pipelines.rowset import RowSet
from potstill.pipelines.selectors.selector import Choice, Selector

DUPLICATE = "duplicate"


class Unique(Selector):
    """Writes ``<name>_duplicate_of``: the id of the kept row with the same key, null for kept rows.

    Rows go in the order of ``prefer``, then of ids; the first of each key stays, the others are dropped for
    ``duplicate``. A row without a key, or without a part of it, is kept. O(n log n) time.
    """

    kind: Literal["unique"] = "unique"
    key: tuple[str, ...] = Field(min_length=1)
    """Columns that must all be equal: ``pixel_hash`` for one row per picture, whatever its encoding; ``caption``."""
    prefer: preference.Preference | None = None
    """Of equal rows the one with the largest stays: a column, or ``width * height``. Nulls come last."""

    @field_validator("key", mode="before")
    @classmethod
    def _one_column(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    def reads(self) -> tuple[str, ...]:
        """The key, and the preference."""
        return tuple(dict.fromkeys((*self.key, *preference.reads(self.prefer))))

    def writes(self) -> Mapping[str, pa.DataType]:
        """Who stands for the row."""
        return {f"{self.name}_duplicate_of": pa.string()}

    def select(self, rows: RowSet, seed: int) -> Choice:
        """The first row of each key, and all without one."""
        keys = together(list(rows.columns(self.key).values()))
        order = preference.order(rows, self.prefer)
        order = order[keys[order] >= 0]
        _, first, which = np.unique(keys[order], return_index=True, return_inverse=True)
        behind = np.full(len(rows), -1)
        behind[order] = order[first[which]]
        behind[behind == np.arange(len(rows))] = -1
        reasons = np.full(len(rows), DUPLICATE, object)
        return Choice(behind < 0, reasons, {f"{self.name}_duplicate_of": names(rows, behind)})
