"""Vectors of the rows, of unit length, read in shards that fit into memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import xxhash

from potstill.pipelines import schema
from potstill.pipelines.rowset import RowSet, vectors


@dataclass(frozen=True, slots=True)
class Part:
    """Some rows: unit vectors float32 (m, d) and positions, ascending (m,)."""

    features: np.ndarray
    at: np.ndarray

    def where(self, wanted: np.ndarray) -> Part:
        """The rows whose position is true in ``wanted``, boolean (n,)."""
        mine = wanted[self.at]
        return self if mine.all() else Part(self.features[mine], self.at[mine])


class Shards:
    """The rows that have a usable vector, in ``count`` shards by a hash of their id, or of the label in ``key``.

    Iterating reads the column once per shard (once in all for a single shard, which stays in memory) and raises
    ``ValueError`` when a shard takes more than ``max_bytes``.
    """

    def __init__(self, rows: RowSet, column: str, count: int, key: str | None, max_bytes: int) -> None:
        self._rows, self._column, self.count, self._key, self._max_bytes = rows, column, count, key, max_bytes
        self._held: Part | None = None

    def __iter__(self) -> Iterator[Part]:
        if self.count > 1:
            yield from map(self._read, range(self.count))
        else:
            self._held = self._held or self._read(0)
            yield self._held

    def usable(self) -> np.ndarray:
        """Which rows have a vector: boolean (n,)."""
        found = np.zeros(len(self._rows), bool)
        for part in self:
            found[part.at] = True
        return found

    def collect(self, wanted: np.ndarray) -> Part:
        """The rows whose position is true in ``wanted``, of all shards together."""
        parts, taken = [], 0
        for part in self:
            parts.append(part.where(wanted))
            taken += parts[-1].features.nbytes
            if taken > self._max_bytes:
                raise ValueError(
                    f"vectors of the rows picked in {self.count} shards take more than max_bytes = {self._max_bytes}: "
                    "lower the budget, raise max_bytes, or split by groups (by)"
                )
        return joined(parts)

    def _read(self, number: int) -> Part:
        columns = [self._column] if self._key is None else list(dict.fromkeys([self._column, self._key]))
        parts, taken = [], 0
        for places, (mine, features) in self._rows.map(_share, columns, self._column, self._key, self.count, number):
            parts.append(Part(features, places[mine]))
            taken += features.nbytes
            if taken > self._max_bytes:
                dim = features.shape[1]
                raise ValueError(
                    f"{self._column}, {len(self._rows)} rows x {dim} numbers in {self.count} shards, needs about "
                    f"{len(self._rows) * dim * 4 // self.count} bytes at a time and max_bytes is {self._max_bytes}: "
                    "raise it, set more shards, or let a filter or random_subset go before"
                )
        return joined(parts)


def joined(parts: list[Part]) -> Part:
    """Parts as one, by position."""
    parts = [part for part in parts if len(part.at)]
    if not parts:
        return Part(np.zeros((0, 0), np.float32), np.zeros(0, np.int64))
    at = np.concatenate([part.at for part in parts])
    order = np.argsort(at)
    return Part(np.concatenate([part.features for part in parts])[order], at[order])


def unit(features: np.ndarray) -> np.ndarray:
    """Rows divided by their length; a row of zeros stays one."""
    length = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.where(length > 0, length, 1)


def _share(table: pa.Table, column: str, key: str | None, count: int, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Places of a shard's rows in the block, and their unit vectors. Vectors that are not finite count as missing."""
    mine = np.asarray(table[column].is_valid())
    if count > 1:
        labels = table[key or schema.SAMPLE_ID].to_pylist()
        shards = (xxhash.xxh3_64_intdigest(str(label).encode()) % count for label in labels)
        mine = mine & (np.fromiter(shards, np.int64, len(mine)) == number)
    features = vectors(table[column].filter(pa.array(mine)))
    finite = np.isfinite(features).all(1)
    return np.flatnonzero(mine)[finite], unit(features[finite])
