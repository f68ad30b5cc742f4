"""In which order rows are seen: a function of the seed alone, so that a training can go on anywhere.

An epoch is all row groups in a random order, one after the other, and epochs follow each other without a gap. That
sequence is cut into windows of equal length, and within a window the rows of an epoch are mixed. Worker r of W takes
windows r, r + W, ...; all windows being equally long, every worker has seen the same number of rows at every step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

FIELDS = np.dtype([("epoch", np.int64), ("group", np.int64), ("row", np.int64)])


@dataclass(frozen=True, slots=True)
class Order:
    """The order of rows in row groups of these sizes."""

    sizes: tuple[int, ...]
    window: int
    seed: int
    shuffle: bool = True

    @property
    def rows(self) -> int:
        """Rows of an epoch."""
        return sum(self.sizes)

    def window_rows(self, index: int) -> np.ndarray:
        """Rows of a window in order: a record array (window,) of epoch (from 1), group, and row within the group."""
        start, stop = index * self.window, (index + 1) * self.window
        parts = []
        while start < stop:
            epoch, offset = divmod(start, self.rows)
            length = min(stop - start, self.rows - offset)
            part = self._span(epoch, offset, length)
            if self.shuffle:
                part = part[np.random.default_rng([self.seed, epoch, index]).permutation(len(part))]
            parts.append(part)
            start += length
        return np.concatenate(parts)

    def _span(self, epoch: int, offset: int, length: int) -> np.ndarray:
        """``length`` rows of an epoch's row groups from a position on."""
        groups, ends = _epoch(self.sizes, self.seed, epoch, self.shuffle)
        places = np.arange(offset, offset + length)
        at = np.searchsorted(ends, places, side="right")
        span = np.empty(length, FIELDS)
        span["epoch"], span["group"] = epoch + 1, groups[at]
        span["row"] = places - np.where(at > 0, ends[at - 1], 0)
        return span

    def windows_for(self, rows: int, workers: int) -> int:
        """Windows of all workers together in which each worker finds so many rows; the same number for each."""
        return -(-rows // self.window) * workers


@lru_cache(maxsize=4)
def _epoch(sizes: Sequence[int], seed: int, epoch: int, shuffle: bool) -> tuple[np.ndarray, np.ndarray]:
    """Row groups of an epoch in order, and the number of rows up to the end of each."""
    groups = np.arange(len(sizes))
    if shuffle:
        groups = np.random.default_rng([seed, epoch]).permutation(groups)
    return groups, np.cumsum(np.asarray(sizes)[groups])
