"""Training, validation and test rows, such that no group is cut."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field, field_validator, model_validator

from potstill.pipelines import schema
from potstill.pipelines.groups import draw
from potstill.pipelines.rowset import RowSet
from potstill.pipelines.selectors.random_subset import lots
from potstill.pipelines.selectors.selector import Choice, Selector

logger = logging.getLogger(__name__)

Part = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


class Split(Selector):
    """Writes ``<name>``: the part that the row belongs to. Drops nothing, or what ``keep`` does not name.

    Rows with an equal value in any column of ``by`` are in one part, and so are all that hang together so. The part is
    drawn from a hash of the group: the same whatever the order of rows, and the same when rows are added, unless a new
    row joins two groups that were apart. Shares are those of groups, so those of rows come close to them where no group
    is large; the log says what came out. O(n log n) time.
    """

    kind: Literal["split"] = "split"
    by: tuple[str, ...] = (schema.IMAGE_ID,)
    """Columns that hold groups, such as ``near_duplicates_group``. A row without a value is in no group of that column.
    """
    parts: dict[Part, Annotated[float, Field(gt=0)]] = Field(
        default={"train": 0.9, "val": 0.05, "test": 0.05}, min_length=2
    )
    """Part -> share of the groups, in proportion to the others."""
    keep: tuple[str, ...] | None = None
    """Parts to go on with; the others are dropped for ``in_<part>``. None keeps all."""

    @field_validator("by", mode="before")
    @classmethod
    def _one_column(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _kept_parts_are_there(self) -> Split:
        unknown = sorted(set(self.keep or ()) - set(self.parts))
        if unknown:
            raise ValueError(f"keep names {', '.join(unknown)}, but the parts are {', '.join(self.parts)}")
        return self

    def reads(self) -> tuple[str, ...]:
        """The groups."""
        return self.by

    def writes(self) -> Mapping[str, pa.DataType]:
        """The part."""
        return {self.name: pa.string()}

    def select(self, rows: RowSet, seed: int) -> Choice:
        """Every row's part, and those that go on."""
        columns = rows.columns(self.by)
        drawn = draw({name: columns[name] for name in self.by}, lots(rows, seed, self.name), f"{seed}/{self.name}")
        ends = np.cumsum(list(self.parts.values()))
        part = np.searchsorted(ends[:-1] / ends[-1], drawn, side="right")
        counts = dict(zip(self.parts, np.bincount(part, minlength=len(ends)).tolist(), strict=True))
        logger.info("%s: %s", self.name, ", ".join(f"{name} {count}" for name, count in counts.items()))
        words = np.array(list(self.parts), object)[part]
        keep = np.isin(part, [place for place, name in enumerate(self.parts) if name in (self.keep or self.parts)])
        return Choice(keep, "in_" + words, {self.name: pa.array(words, pa.string())})
