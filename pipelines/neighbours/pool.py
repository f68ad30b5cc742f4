"""The rows of a set that have a vector: looked through, sampled, clustered and assigned block by block.

A pass reads each block once, on the workers of the set; the driver holds some 100 bytes a row and a training sample.
Nothing depends on the order of rows, their blocks or the number of workers: samples are drawn by a hash of (seed, name,
id), sums and comparisons are exact (:mod:`~potstill.pipelines.neighbours.directions`).
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from potstill.pipelines.neighbours import blocks, spill
from potstill.pipelines.neighbours.kmeans import PROBES, Centroids, spherical_kmeans
from potstill.pipelines.neighbours.quotas import quotas
from potstill.pipelines.rowset import RowSet
from potstill.pipelines.rundir import RunDir
from potstill.pipelines.selectors.random_subset import lots

SAMPLE = 256
"""Training rows per centroid."""
FLAT = 512
"""More centroids than this are trained, and searched, on two levels."""
PARTITION_BYTES = 2**26
"""What the vectors of a partition are meant to take as float32."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """The cluster of each of n rows."""

    labels: np.ndarray
    """Number of the nearest centroid: int32 (n,), -1 for rows that were not asked for."""
    near: np.ndarray
    """Cosine to it: float64 (n,), NaN for those."""
    leaves: np.ndarray
    """The centroids: float32 (k, d)."""
    partitions: tuple[spill.Partition, ...] = ()
    """The rows by cluster, where they were spilled."""


@contextmanager
def pool(rows: RowSet, column: str) -> Iterator[Pool]:
    """The rows' vectors, with a folder to spill to: the set's own, or a temporary one for rows held in memory."""
    with ExitStack() as stack:
        folder = rows.scratch if rows.has_scratch else RunDir(stack.enter_context(tempfile.TemporaryDirectory()))
        yield Pool(rows, column, folder)


class Pool:
    """The rows of a set whose column holds a vector that has a direction."""

    def __init__(self, rows: RowSet, column: str, folder: RunDir) -> None:
        self.rows, self._column, self._folder = rows, column, folder
        self.there = np.zeros(len(rows), bool)
        """Which rows have a vector that is not zero, infinite or NaN: (n,)."""
        self.prints = np.zeros(len(rows), np.uint64)
        """Equal where the directions of such rows are equal: (n,)."""
        kinds = set()
        for places, (at, prints, kind) in rows.map(blocks.look, [column], column):
            self.there[places[at]], self.prints[places[at]] = True, prints
            kinds |= {kind} if kind else set()
        if len(kinds) > 1:
            raise ValueError(f"column {column!r} mixes vectors of {' and '.join(map(str, sorted(kinds)))}")
        number, self._width = kinds.pop() if kinds else ("<f4", 0)
        self._kind = spill.record(np.dtype(number), self._width)

    def fit(self, wanted: np.ndarray, k: int, seed: int, name: str) -> Centroids:
        """At most ``k`` centroids of the rows that are ``wanted``, bool (n,), trained on :data:`SAMPLE` rows each."""
        order = np.argsort(lots(self.rows, seed, name), kind="stable")
        order = order[wanted[order]]
        k = min(k, len(order))
        if k <= FLAT:
            return Centroids(self._trained(order, k))
        cells = self._trained(order, math.ceil(math.sqrt(PROBES * k)))
        keys = self._keys(order[: k * SAMPLE])
        sample = self.assign(keys, Centroids(cells), f"{name}/cells", 0, len(cells))
        sizes = np.bincount(sample.labels[keys >= 0], minlength=len(cells))
        share = quotas(sizes / sizes.sum(), k, np.minimum(sizes, 1), sizes)
        calls = [(part, count) for part, count in zip(sample.partitions, share.tolist(), strict=True) if count]
        leaves = np.concatenate(list(self.rows.over(blocks.train, calls)))
        self._folder.remove_tree(f"{name}/cells")
        return Centroids(leaves, cells)

    def clustered(self, wanted: np.ndarray, k: int, seed: int, name: str) -> Assignment:
        """The rows that are ``wanted``, bool (n,), in at most ``k`` clusters."""
        if not wanted.any():
            return Assignment(np.full(len(wanted), -1, np.int32), np.full(len(wanted), np.nan), np.empty((0, 0)))
        return self.assign(np.where(wanted, 0, -1), self.fit(wanted, k, seed, f"{name}/fit"), name)

    def assign(
        self, keys: np.ndarray, centroids: Centroids, name: str, reach: float | None = None, parts: int | None = None
    ) -> Assignment:
        """The nearest centroid of each row that has a key; ``keys``, int64 (n,), are different, or negative for none.

        With ``reach`` vectors are spilled below ``name`` by cluster, and to the second nearest as well where the border
        is within an angle of that sine; into ``parts`` partitions, or as many as keep each small.
        """
        blocks.save(self._folder, f"{name}/centroids", centroids)
        parts = parts or math.ceil(np.count_nonzero(keys >= 0) * self._width * 4 / PARTITION_BYTES) or 1
        parts = min(parts, len(centroids))
        ends = np.ceil(np.arange(1, parts + 1) * len(centroids) / parts).astype(int)
        work = blocks.Assigning(self._column, self._folder, f"{name}/centroids", self._kind, ends, reach)
        files = [f"{name}/block-{number:06d}" for number in range(len(self.rows.blocks))]
        labels, near = np.full(len(self.rows), -1, np.int32), np.full(len(self.rows), np.nan)
        before = []
        for places, (at, found, cosines, rows) in self._over(blocks.assign, keys, files, [work] * len(files)):
            labels[places[at]], near[places[at]] = found, cosines
            before.append(rows)
        spilled = () if reach is None else tuple(spill.partitions(self._folder, self._kind, files, np.array(before)))
        return Assignment(labels, near, centroids.leaves, spilled)

    def _over(self, fn: Callable[..., Any], keys: np.ndarray, *more: list[Any]) -> Iterator[tuple[np.ndarray, Any]]:
        """``fn(block, keys of its rows, ...)`` over the blocks: places of the block's rows and the result."""
        own = [keys[places] for places in self.rows.places]
        calls = list(zip(self.rows.blocks, own, *more, strict=True))
        yield from zip(self.rows.places, self.rows.over(fn, calls), strict=True)

    def _keys(self, order: np.ndarray) -> np.ndarray:
        """The place of each row in an order of some, -1 for the others: int64 (n,)."""
        keys = np.full(len(self.rows), -1, np.int64)
        keys[order] = np.arange(len(order))
        return keys

    def _trained(self, order: np.ndarray, k: int) -> np.ndarray:
        """Centroids of the first rows of an order, trained here."""
        order = order[: k * SAMPLE]
        found = np.empty((len(order), self._width), np.float32)
        more = [self._column] * len(self.rows.blocks), [self._width] * len(self.rows.blocks)
        for _, (keys, units) in self._over(blocks.units, self._keys(order), *more):
            found[keys] = units
        return spherical_kmeans(found, k)
