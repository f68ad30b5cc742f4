"""The clusters that the vectors of another set fall into."""

from __future__ import annotations

import numpy as np

from potstill.pipelines import evaluation
from potstill.pipelines.neighbours.directions import directions
from potstill.pipelines.neighbours.kmeans import Centroids
from potstill.pipelines.rowset import vectors


def nearest(url: str, column: str, centroids: Centroids) -> np.ndarray:
    """Number of the nearest centroid of each vector in the files at ``url`` that has a direction: int64 (m,).

    Raises ``ValueError`` for files that are not there, have no such column, or vectors of another width.
    """
    units = directions(vectors(evaluation.load(url, [column], column)[column].combine_chunks()))
    units = units[units.any(axis=1)]
    if not len(units):
        raise ValueError(f"against: {url} has no vector in {column!r}; give a set of pictures that were embedded")
    if units.shape[1] != centroids.leaves.shape[1]:
        raise ValueError(
            f"against: its vectors have {units.shape[1]} numbers, those of the rows {centroids.leaves.shape[1]}; "
            "embed both with the same model"
        )
    return centroids.ranked(units)[:, 0]
