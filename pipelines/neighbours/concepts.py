"""Concept clusters: how complex each is, and which rows of a cluster a budget takes.

Source: Abbas et al. 2024, Effective pruning of web-scale datasets based on complexity of concept clusters, arXiv
2401.04578, section 3.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from potstill.pipelines.neighbours.kmeans import Centroids
from potstill.pipelines.neighbours.quotas import quotas

NEIGHBOURS = 20
"""Nearest centroids that the distance between clusters is the mean over."""
FLOOR = 0.5
"""Every cluster gets this share of an equal one, as far as it has rows: the bound of the official code."""

Budget = Annotated[int, Field(ge=1)] | Annotated[float, Field(gt=0, le=1)]
"""Rows to keep, as a whole number, or a share of the rows, up to 1.0."""


def rows_of(budget: int | float, rows: int) -> int:
    """A budget in rows, no more than there are; a share is rounded to the nearest, to one row at least."""
    return min(budget if isinstance(budget, int) else max(1, int(budget * rows + 0.5)), rows)


def complexity(leaves: np.ndarray, labels: np.ndarray, near: np.ndarray) -> np.ndarray:
    """d_inter * d_intra of each cluster: float64 (k,), 0 to 4.

    d_intra is the mean cosine distance of a cluster's rows, ``labels`` and ``near`` (m,), to its centroid; d_inter that
    of the centroid to its :data:`NEIGHBOURS` nearest others. 0 for a cluster without rows and for an only one.
    """
    sizes = np.bincount(labels, minlength=len(leaves))
    intra = np.bincount(labels, 1 - near, minlength=len(leaves)) / np.maximum(sizes, 1)
    close, found = Centroids(leaves).nearest(leaves, NEIGHBOURS + 1)
    others = np.where(found == np.arange(len(leaves))[:, None], np.nan, 1 - close)
    inter = np.nanmean(others, axis=1) if len(leaves) > 1 else np.zeros(1)
    return inter * intra


def cluster_quotas(complexities: np.ndarray, sizes: np.ndarray, budget: int, temperature: float) -> np.ndarray:
    """Rows of each cluster, int64 (k,), of sum ``budget``: in proportion to softmax(complexity / temperature).

    No more than a cluster has, and no fewer than :data:`FLOOR` of an equal share, or one; where the budget is too small
    for that, no lower bound.
    """
    scaled = complexities / temperature
    shares = np.exp(scaled - scaled.max())
    least = np.minimum(max(1, int(FLOOR * budget / len(sizes))), np.maximum(sizes - 1, 0))
    if least.sum() > budget:
        least = np.zeros_like(sizes)
    return quotas(shares / shares.sum(), budget, least, sizes)


def within(labels: np.ndarray, order: np.ndarray, quota: np.ndarray) -> np.ndarray:
    """Whether a row is among the first ``quota[label]`` of its cluster in ``order``: bool (m,)."""
    sorted_ = order[np.argsort(labels[order], kind="stable")]
    place = np.arange(len(labels)) - np.searchsorted(labels[sorted_], labels[sorted_])
    keep = np.zeros(len(labels), bool)
    keep[sorted_] = place < quota[labels[sorted_]]
    return keep
