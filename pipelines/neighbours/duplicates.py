"""Near duplicates: for each row the closest one before it, and which rows stand for which.

Source: Abbas et al. 2023 (SemDeDup, arXiv 2303.09540): cosine within k-means clusters. Theirs compares a row with all
before it in the order of the cluster and lets a dropped row drop others, so that a chain of small steps shrinks to its
first row. Here a row is dropped only for one that is kept and within the threshold of it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from potstill.pipelines.neighbours.directions import cosines, directions, rounding
from potstill.pipelines.neighbours.kmeans import Centroids, spherical_kmeans
from potstill.pipelines.neighbours.spill import Partition

TILE = 512
"""Rows compared at a time with all before them."""
CAP = 20_000
"""A cluster of more rows is split once more."""
EDGES = 16
"""Close rows that are remembered of those before a row, the first of them."""
SAMPLE = 256


def earlier(units: np.ndarray, least: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What comes before each direction (n, d) in the order given and is close to it.

    Largest cosine with a row before: float64 (n,), NaN for the first. Pairs (row, row before) of cosine ``least`` or
    more, at most the first :data:`EDGES` a row: int64 (e, 2), and their cosines (e,). Memory: TILE * n floats.
    """
    best, pairs, found = np.full(len(units), np.nan), [np.empty((0, 2), np.int64)], [np.empty(0)]
    slack = rounding(units.shape[1])
    for at in range(0, len(units), TILE):
        tile = units[at : at + TILE]
        near = tile @ units[: at + len(tile)].T
        own = np.arange(at, at + len(tile))
        near[:, at:][np.arange(len(tile))[:, None] <= np.arange(len(tile))] = -np.inf
        later = own > 0
        closest = near.argmax(axis=1)[:, None]
        best[own[later]] = cosines(tile, units, closest)[later, 0]
        row, before = np.nonzero(near >= least - slack)
        counted = np.arange(len(row)) - np.searchsorted(row, row)
        row, before = row[counted < EDGES], before[counted < EDGES]
        exact = cosines(tile[row], units, before[:, None])[:, 0]
        close = exact >= least
        pairs.append(np.stack([own[row], before], axis=1)[close])
        found.append(exact[close])
    return best, np.concatenate(pairs), np.concatenate(found)


def match(partition: Partition, least: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """:func:`earlier` within each cluster of a partition, rows in the order of their keys and named by them.

    Keys (m,), a row once for each cluster it is in; largest cosines (m,); pairs (e, 2); their cosines (e,).
    """
    rows = partition.read()
    keys, best, pairs, found = [], [], [np.empty((0, 2), np.int64)], [np.empty(0)]
    for group in np.split(rows, np.flatnonzero(np.diff(rows["group"])) + 1):
        units = directions(group["vector"])
        for part in _split(units):
            closest, close, cosine = earlier(units[part], least)
            own = group["key"][part]
            keys.append(own)
            best.append(closest)
            pairs.append(own[close])
            found.append(cosine)
    return np.concatenate(keys), np.concatenate(best), np.concatenate(pairs), np.concatenate(found)


def _split(units: np.ndarray) -> Iterator[np.ndarray]:
    """Parts of a cluster to compare within, ascending places: the whole, or, above :data:`CAP`, smaller clusters.

    Each row is then in the two that are nearest, so that few pairs across a border are missed.
    """
    if len(units) <= CAP:
        yield np.arange(len(units))
        return
    count = -(-2 * len(units) // CAP)
    leaves = Centroids(spherical_kmeans(units[:: -(-len(units) // (count * SAMPLE))], count))
    labels = leaves.ranked(units, 2)
    for leaf in range(len(leaves)):
        yield np.flatnonzero((labels == leaf).any(axis=1))


def stars(rows: int, pairs: np.ndarray, cosine: np.ndarray) -> np.ndarray:
    """Which row each of ``rows`` stands behind: int64 (rows,), -1 for rows that are kept.

    Rows are taken in order; one is dropped if a kept row is among its pairs (row, row before), and stands behind the
    closest of those, of equal ones the first. So a dropped row is within the threshold of the row that stands for it.
    """
    kept, settled = np.ones(rows, bool), np.ones(rows, bool)
    settled[pairs[:, 0]] = False
    open_ = pairs
    while len(open_):
        row, before = open_.T
        dropped = row[settled[before] & kept[before]]
        kept[dropped], settled[dropped] = False, True
        waiting = np.zeros(rows, bool)
        waiting[row[~settled[before]]] = True
        settled[row[~waiting[row]]] = True
        open_ = open_[~settled[row]]
    behind = np.full(rows, -1, np.int64)
    stands = kept[pairs[:, 1]] & ~kept[pairs[:, 0]]
    order = np.lexsort((-pairs[stands, 1], cosine[stands]))
    behind[pairs[stands][order, 0]] = pairs[stands][order, 1]
    return behind
