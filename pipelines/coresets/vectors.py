"""Vectors of the rows, of unit length, read in shards that fit into memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import IO

import numpy as np
import pyarrow as pa
import xxhash

from potstill.pipelines import schema
from potstill.pipelines.rowset import RowSet, unit, vectors


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

    The column is read once: a single shard stays in memory, several wait in temporary files of this machine, 4 bytes
    a number, until the ``with`` block ends. ``ValueError`` when a shard takes more than ``max_bytes``.
    """

    def __init__(self, rows: RowSet, column: str, count: int, key: str | None, max_bytes: int) -> None:
        self._rows, self._column, self.count, self._key, self._max_bytes = rows, column, count, key, max_bytes
        self._open, self._files = ExitStack(), list[IO[bytes]]()
        self._at: list[np.ndarray] = []
        self._held: Part | None = None

    def __enter__(self) -> Shards:
        if self.count == 1:
            self._held = self._hold()
            return self
        with ExitStack() as stack:
            self._files = [stack.enter_context(TemporaryFile()) for _ in range(self.count)]
            self._spill()
            self._open = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def __iter__(self) -> Iterator[Part]:
        if self._held:
            yield self._held
        for at, file in zip(self._at, self._files, strict=True):
            file.seek(0)
            yield joined([Part(np.frombuffer(file.read(), np.float32).reshape(len(at), -1 if len(at) else 0), at)])

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

    def _blocks(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Positions, unit vectors and shards of the usable rows, block by block."""
        columns = [self._column] if self._key is None else list(dict.fromkeys([self._column, self._key]))
        for places, (usable, features, shards) in self._rows.map(_share, columns, self._column, self._key, self.count):
            yield places[usable], features, shards

    def _hold(self) -> Part:
        parts, taken = [], 0
        for at, features, _ in self._blocks():
            parts.append(Part(features, at))
            taken += features.nbytes
            self._check(taken, features.shape[1])
        return joined(parts)

    def _spill(self) -> None:
        found: list[list[np.ndarray]] = [[] for _ in range(self.count)]
        taken = np.zeros(self.count, np.int64)
        for at, features, shards in self._blocks():
            for number in np.unique(shards).tolist():
                mine = features[shards == number]
                self._files[number].write(mine.tobytes())
                found[number].append(at[shards == number])
                taken[number] += mine.nbytes
            self._check(int(taken.max()), features.shape[1])
        self._at = [np.concatenate([np.zeros(0, np.int64), *parts]) for parts in found]

    def _check(self, taken: int, dim: int) -> None:
        if taken > self._max_bytes:
            raise ValueError(
                f"{self._column}, {len(self._rows)} rows x {dim} numbers in {self.count} shards, needs about "
                f"{len(self._rows) * dim * 4 // self.count} bytes at a time and max_bytes is {self._max_bytes}: "
                "raise it, set more shards, or let a filter or random_subset go before"
            )


def joined(parts: list[Part]) -> Part:
    """Parts as one, by position."""
    parts = [part for part in parts if len(part.at)]
    if not parts:
        return Part(np.zeros((0, 0), np.float32), np.zeros(0, np.int64))
    at = np.concatenate([part.at for part in parts])
    order = np.argsort(at)
    return Part(np.concatenate([part.features for part in parts])[order], at[order])


def _share(table: pa.Table, column: str, key: str | None, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places of the usable rows in the block, their unit vectors and shards. A vector must be finite to be usable."""
    there = np.flatnonzero(np.asarray(table[column].is_valid()))
    features = vectors(table[column])
    finite = np.isfinite(features).all(1)
    there = there[finite]
    shards = np.zeros(len(there), np.int64)
    if count > 1:
        labels = table[key or schema.SAMPLE_ID].take(pa.array(there)).to_pylist()
        numbers = (xxhash.xxh3_64_intdigest(str(label).encode()) % count for label in labels)
        shards = np.fromiter(numbers, np.int64, len(there))
    return there, unit(features[finite]), shards
