"""Moderate coreset: rows at middling distance from the median of their class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from potstill.pipelines.coresets import groups
from potstill.pipelines.coresets.vectors import Shards
from potstill.pipelines.rowset import RowSet
from potstill.pipelines.selectors.selector import Choice, Selector


class Moderate(Selector):
    """Writes ``<name>_distance``, of the unit vector from the median of its class, and keeps the middle of all rows.

    Xia et al. 2023, "Moderate coreset" (ICLR): the ``budget`` rows around the median of the sorted distances, of all
    classes together. Those nearer are dropped for ``too_typical``, those farther for ``too_far``, without vector or
    label for ``no_vector``, ``no_label``. Robust to up to half of a class being wrong; no promise on accuracy. O(n d)
    time and a sort, n x d x 4 bytes.
    """

    kind: Literal["moderate"] = "moderate"
    budget: int = Field(gt=0)
    """Rows to keep."""
    embedding: str
    """Column of vectors; their length does not matter."""
    label: str
    """Column of classes."""
    shards: int = Field(default=1, ge=1, le=512)
    """Parts that are in memory in turn; a class stays in one."""
    max_bytes: int = Field(default=4 * 2**30, ge=1)
    """Most bytes of vectors in memory: rows x dimensions x 4 of one shard."""
    speed: ClassVar[Mapping[str, Any]] = {"max_bytes": True, "shards": True}

    def reads(self) -> tuple[str, ...]:
        """Vectors and labels."""
        return tuple(dict.fromkeys((self.embedding, self.label)))

    def writes(self) -> Mapping[str, pa.DataType]:
        """Euclidean distance, 0 to 2."""
        return {f"{self.name}_distance": pa.float32()}

    def select(self, rows: RowSet, seed: int) -> Choice:
        """Distances class by class, then the middle of all; lower id on ties."""
        codes = groups.codes(rows.column(self.label))[1]
        distances = np.full(len(rows), np.nan, np.float32)
        reasons = np.where(codes < 0, "no_label", "no_vector").astype(object)
        with Shards(rows, self.embedding, self.shards, self.label, self.max_bytes) as shards:
            for part in shards:
                labelled = part.where(codes >= 0)
                distances[labelled.at] = from_median(labelled.features, codes[labelled.at])
        order = np.argsort(distances, kind="stable")[: np.isfinite(distances).sum()]
        spare = max(0, len(order) - self.budget)
        near, kept, far = np.split(order, [spare // 2, spare // 2 + len(order) - spare])
        reasons[near], reasons[far] = "too_typical", "too_far"
        keep = np.zeros(len(rows), bool)
        keep[kept] = True
        return Choice(keep, reasons, {f"{self.name}_distance": pa.array(distances, from_pandas=True)})


def from_median(features: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Euclidean distance of each row (m, d) from the median, coordinate by coordinate, of its class: float32 (m,)."""
    found = np.zeros(len(features), np.float32)
    for group in np.unique(codes):
        mine = features[codes == group]
        found[codes == group] = np.linalg.norm(mine - np.median(mine, axis=0), axis=1)
    return found
