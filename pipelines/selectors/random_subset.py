"""A uniform random subset of fixed size: the control that every other selector must beat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pyarrow as pa
import xxhash
from pydantic import Field

from potstill.pipelines.selectors.selector import Selector


class RandomSubset(Selector):
    """Keeps ``budget`` rows, or all when there are fewer. O(n log n) time, 16 bytes a row.

    Rows are ranked by a hash of (seed, name, id): the same rows whatever their order, and a smaller budget keeps a
    subset of what a larger one keeps.
    """

    kind: Literal["random_subset"] = "random_subset"
    budget: int = Field(gt=0)
    """Rows to keep."""

    def reads(self) -> tuple[str, ...]:
        """None: the ids are enough."""
        return ()

    def select(self, ids: Sequence[str], columns: pa.Table, seed: int) -> np.ndarray:
        """True for the ``budget`` ids of lowest hash."""
        ranks = [xxhash.xxh3_128_hexdigest(f"{seed}/{self.name}/{id_}".encode()) for id_ in ids]
        keep = np.zeros(len(ids), dtype=bool)
        keep[np.argsort(np.array(ranks, dtype="U32"), kind="stable")[: self.budget]] = True
        return keep
