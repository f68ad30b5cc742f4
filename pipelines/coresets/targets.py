"""What rows are transported to: vectors from Parquet files, and the means of classes."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq

from potstill.pipelines.coresets.files import matrix, parquet_files
from potstill.pipelines.rowset import unit


def read_vectors(path: str, column: str) -> np.ndarray:
    """Unit vectors of a column of Parquet files, rows without one left out: float64 (m, d). None at all: an error."""
    found = []
    for file in parquet_files(path):
        names = pq.read_schema(file).names
        if column not in names:
            raise ValueError(f"{file} has no column {column!r}; columns: {', '.join(names)}")
        found.append(matrix(pq.read_table(file, columns=[column])[column].drop_null()))
    widths = sorted({part.shape[1] for part in found if len(part)})
    if len(widths) != 1:
        raise ValueError(f"{column} of {path} should hold vectors of one length, found lengths {widths}")
    return unit(np.concatenate([part for part in found if len(part)]))


def means(features: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The unit mean of each group's vectors, float64 (g, d), groups ascending; and each row's place among them (m,)."""
    groups, place, counts = np.unique(codes, return_inverse=True, return_counts=True)
    if len(groups) == len(features):
        return features[np.argsort(codes)].astype(np.float64), place
    order = np.argsort(place, kind="stable")
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    return unit(np.add.reduceat(features[order].astype(np.float64), starts, axis=0)), place


def costs(points: np.ndarray, path: str, column: str, max_bytes: int) -> np.ndarray:
    """1 - cosine between points (g, d) and the m vectors of a column of Parquet files: float64 (g, m), 0 to 2.

    Raises ``ValueError`` when the widths differ, or a plan between the two takes more than ``max_bytes``.
    """
    goal = read_vectors(path, column)
    if not len(points):
        return np.zeros((0, len(goal)))
    if points.shape[1] != goal.shape[1]:
        raise ValueError(
            f"vectors of the rows have {points.shape[1]} numbers, those of {path} {goal.shape[1]}: make both with the "
            "same model"
        )
    needed = 32 * len(points) * len(goal)
    if needed > max_bytes:
        raise ValueError(
            f"transport between {len(points)} points and {len(goal)} targets needs {needed} bytes, max_bytes allows "
            f"{max_bytes}: raise it, transport classes or clusters (by), or give fewer targets"
        )
    return 1 - points @ goal.T
