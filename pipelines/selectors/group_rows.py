"""Groups of rows that share a key: the pictures of a topic, of an album, of a page; or any rows, at random."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field, model_validator

from potstill.pipelines.rowset import RowSet
from potstill.pipelines.selectors.grouping import Grouping
from potstill.pipelines.selectors.random_subset import lots


class GroupRows(Grouping):
    """Cuts the rows of each key, in random order, into groups of ``size``; what is left over is a smaller group.

    A left-over below ``least`` is in no group. O(n log n) time. More rows of a key change the groups of that key only.
    """

    kind: Literal["group_rows"] = "group_rows"
    by: str | None = None
    """Column with the key; rows without one are in no group. None: one key for all."""
    field: str | None = None
    """Name under which the key stands in the column, where that holds JSON objects, as ``meta`` does."""
    size: int = Field(ge=2, le=64)
    """Most rows of a group."""
    least: int = Field(default=2, ge=2, le=64)
    """Fewest rows of a group."""

    @model_validator(mode="after")
    def _bounds_fit(self) -> GroupRows:
        if self.least > self.size:
            raise ValueError(f"least is {self.least} and size {self.size}; least must not be larger")
        if self.field and not self.by:
            raise ValueError(f"field {self.field!r} is looked for in the column `by`; name one, such as meta")
        return self

    def reads(self) -> tuple[str, ...]:
        """The key."""
        return (self.by,) if self.by else ()

    def groups(self, rows: RowSet, seed: int) -> Iterator[list[int]]:
        """Groups of one key after the other."""
        keys = [self._key(value) for value in rows.column(self.by).to_pylist()] if self.by else [True] * len(rows)
        members: dict[object, list[int]] = defaultdict(list)
        for position in lots(rows, seed, self.name).argsort(kind="stable").tolist():
            if keys[position] is not None:
                members[keys[position]].append(position)
        for group in members.values():
            for start in range(0, len(group), self.size):
                if len(group) - start >= self.least:
                    yield group[start : start + self.size]

    def _key(self, value: Any) -> Any:
        """The key in a value of the column; None where there is none."""
        if self.field is None or value is None:
            return value
        found = json.loads(value)
        key = found.get(self.field) if isinstance(found, dict) else None
        return json.dumps(key, sort_keys=True) if isinstance(key, dict | list) else key
