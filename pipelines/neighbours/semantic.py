"""Near duplicates of a whole set: clusters, then cosines within each, then who stands for whom."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from potstill.pipelines.neighbours.duplicates import match, stars
from potstill.pipelines.neighbours.pool import Pool
from potstill.pipelines.rowset import RowSet

DUPLICATE = "semantic_duplicate"
NO_VECTOR = "no_vector"


@dataclass(frozen=True, slots=True)
class Matches:
    """What is close to each of n rows among the rows that go before it."""

    clusters: np.ndarray
    """Number of the cluster: int32 (n,), -1 without a vector."""
    cosine: np.ndarray
    """Largest cosine to a row before: float64 (n,), NaN where there is none in the row's clusters."""
    behind: np.ndarray
    """Position of the kept row that stands for this one: int64 (n,), -1 for kept rows."""


def matches(pool: Pool, order: np.ndarray, least: float, cluster_rows: int, seed: int, name: str) -> Matches:
    """Matches of cosine ``least`` or more; ``order`` (n,) holds all positions, those to keep first.

    Rows of equal direction are one for all that follows, so that thousands of the same vector cost nothing. The others
    are compared within clusters of about ``cluster_rows``, each row in its nearest and, where a match could lie across
    the border, in the second nearest too.
    """
    rows = len(order)
    clusters, cosine, behind = np.full(rows, -1, np.int32), np.full(rows, np.nan), np.full(rows, -1, np.int64)
    there = order[pool.there[order]]
    if not len(there):
        return Matches(clusters, cosine, behind)
    _, first, which = np.unique(pool.prints[there], return_index=True, return_inverse=True)
    original = there[first[which]]
    different = np.zeros(rows, bool)
    different[original] = True
    centroids = pool.fit(different, math.ceil(len(first) / cluster_rows), seed, f"{name}/fit")
    rank = np.empty(rows, np.int64)
    rank[order] = np.arange(rows)
    reach = math.sqrt(1 - least * least)
    assigned = pool.assign(np.where(different, rank, -1), centroids, f"{name}/match", reach)
    best, pairs, found = np.full(rows, np.nan), [], []
    for keys, closest, close, exact in pool.rows.over(match, [(part, least) for part in assigned.partitions]):
        np.fmax.at(best, keys, closest)
        pairs.append(close)
        found.append(exact)
    ranked = stars(rows, np.concatenate(pairs), np.concatenate(found))
    behind[order] = np.where(ranked < 0, -1, order[ranked])
    cosine[order] = best
    same, of = there[there != original], original[there != original]
    behind[same], cosine[same] = np.where(behind[of] < 0, of, behind[of]), 1
    clusters[:] = assigned.labels
    clusters[same] = clusters[of]
    return Matches(clusters, cosine, behind)


def names(rows: RowSet, positions: np.ndarray) -> pa.Array:
    """Sample ids of positions, null for negative ones."""
    width = rows.ids.dtype.itemsize
    ids = pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(rows), [None, pa.py_buffer(rows.ids)])
    return ids.take(pa.array(positions, mask=positions < 0)).cast(pa.binary()).cast(pa.string())


def measured(values: np.ndarray) -> pa.Array:
    """Numbers as float32, null for NaN."""
    return pa.array(values, pa.float32(), from_pandas=True)


def numbered(clusters: np.ndarray) -> pa.Array:
    """Clusters, null for -1."""
    return pa.array(clusters, pa.int32(), mask=clusters < 0)
