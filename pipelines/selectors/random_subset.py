"""A uniform random subset of fixed size: the control that every other selector must beat."""

from __future__ import annotations

from typing import Literal

import numpy as np
import xxhash
from pydantic import Field

from potstill.pipelines.rowset import RowSet
from potstill.pipelines.selectors.selector import Choice, Selector


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

    def select(self, rows: RowSet, seed: int) -> Choice:
        """The ``budget`` ids of lowest hash."""
        keep = np.zeros(len(rows), dtype=bool)
        keep[np.argsort(lots(rows, seed, self.name), kind="stable")[: self.budget]] = True
        return Choice(keep)


def lots(rows: RowSet, seed: int, name: str) -> np.ndarray:
    """A random number for each row, uint64 (n,), from (seed, stage name, sample id) alone."""
    key = f"{seed}/{name}/".encode()
    return np.fromiter((xxhash.xxh3_64_intdigest(key + id_) for id_ in rows.ids.tolist()), np.uint64, len(rows))
