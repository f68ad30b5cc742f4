"""Spherical k-means of directions in memory. Equal input gives equal centroids: sums and comparisons are exact.

Source: Dhillon and Modha 2001, Concept Decompositions for Large Sparse Text Data (Machine Learning 42); two levels as
in the inverted files of Jegou, Douze and Schmid 2011 (PAMI 33), here FAISS.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from potstill.pipelines.neighbours.directions import cosines, directions, rounding

ITERATIONS = 20
SPARE = 2
"""Leaves looked at beyond those asked for, in case float32 ranks them wrongly."""
PROBES = 4
"""Cells that a row is compared with the centroids of, where there are cells."""
ROWS_AT_ONCE = 16_384


class Centroids:
    """Directions ``leaves`` (k, d) to be nearest to, on one level, or found through the ``cells`` (c, d) they lie in.

    With cells a row is compared with the leaves of the :data:`PROBES` nearest ones: c + PROBES k / c cosines and not k.
    """

    def __init__(self, leaves: np.ndarray, cells: np.ndarray | None = None) -> None:
        self.leaves, self.cells = leaves, cells

    def __len__(self) -> int:
        return len(self.leaves)

    def __reduce__(self) -> tuple[type[Centroids], tuple[np.ndarray, np.ndarray | None]]:
        return Centroids, (self.leaves, self.cells)

    def nearest(self, units: np.ndarray, count: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """The ``count`` nearest leaves of directions (n, d), nearest first; with cells at most :data:`PROBES`.

        Cosines, float64, and numbers, int64, each (n, min(count, k)).
        """
        found = self.ranked(units, count)
        return cosines(units, self.leaves, found), found

    def ranked(self, units: np.ndarray, count: int = 1) -> np.ndarray:
        """Numbers of the ``count`` nearest leaves, of equally near ones the first: int64 (n, min(count, k)).

        Rows for which float32 cannot tell are ranked by exact cosines. One case is left where the company of a row
        might show: more than :data:`SPARE` leaves too many, all nearer to each other than float32 can tell.
        """
        wanted = min(count + SPARE, len(self))
        if self.cells is None:
            near, found = self._index.search(units, wanted)
        else:
            probed = Centroids(self.cells).ranked(units, PROBES)
            near, found = self._index.search_preassigned(units, wanted, probed, np.zeros(probed.shape, np.float32))
        close = near[:, :-1] - near[:, 1:] <= 2 * rounding(units.shape[1])
        unsure = np.flatnonzero(close[:, :count].any(axis=1))
        exact = np.where(found[unsure] < 0, -2, cosines(units[unsure], self.leaves, found[unsure]))
        order = np.lexsort((found[unsure], -exact), axis=1)
        found[unsure] = np.take_along_axis(found[unsure], order, 1)
        return found[:, :count]

    @cached_property
    def _index(self) -> Any:
        import faiss

        faiss.omp_set_num_threads(1)  # workers share the machine by processes
        width = self.leaves.shape[1]
        if self.cells is None:
            index = faiss.IndexFlatIP(width)
        else:
            self._quantizer = faiss.IndexFlatIP(width)  # kept: the index only points to it
            self._quantizer.add(self.cells)
            index = faiss.IndexIVFFlat(self._quantizer, width, len(self.cells), faiss.METRIC_INNER_PRODUCT)
            index.is_trained, index.nprobe = True, min(PROBES, len(self.cells))
        index.add(self.leaves)
        return index


def spherical_kmeans(units: np.ndarray, k: int) -> np.ndarray:
    """At most ``k`` centroids of directions (n, d), n > 0: float32 (k, d), all different.

    Starts from the first k rows, so rows come in random order. A cluster that lost its rows starts again from a row
    that is farthest from its centroid; fewer than k come back only where fewer than k rows differ.
    """
    centroids = units[:k]
    labels, total = np.full(len(units), -1), np.zeros(centroids.shape)
    for _ in range(ITERATIONS):
        found = Centroids(centroids).ranked(units)[:, 0]
        new = np.flatnonzero(found != labels)
        old = new[labels[new] >= 0]
        total += sums(units[new], found[new], len(total))
        total -= sums(units[old], labels[old], len(total))  # exact: what is added and taken away leaves no trace
        labels = found
        moved = directions(total)
        lost = np.flatnonzero(~moved.any(axis=1))
        if len(lost):
            far = np.argsort(cosines(units, centroids, labels[:, None])[:, 0], kind="stable")
            moved[lost] = units[far[: len(lost)]]
        if np.array_equal(moved, centroids):
            break
        centroids = moved
    _, first = np.unique(centroids, axis=0, return_index=True)
    return centroids[np.sort(first)]


def sums(units: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    """Sum of the directions of each label: float64 (k, d), exact and so the same in any order."""
    total = np.zeros((k, units.shape[1]))
    for at in range(0, len(units), ROWS_AT_ONCE):
        part = labels[at : at + ROWS_AT_ONCE]
        order = np.argsort(part, kind="stable")
        present, starts = np.unique(part[order], return_index=True)
        total[present] += np.add.reduceat(units[at : at + ROWS_AT_ONCE][order].astype(np.float64), starts)
    return total
