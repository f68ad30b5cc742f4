"""What workers do with one block of vectors: look through it, hand out some, assign them to clusters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from potstill.pipelines.neighbours import spill
from potstill.pipelines.neighbours.directions import directions, prints
from potstill.pipelines.neighbours.kmeans import Centroids, spherical_kmeans
from potstill.pipelines.rowset import Block, vectors
from potstill.pipelines.rundir import RunDir


def look(table: pa.Table, column: str) -> tuple[np.ndarray, np.ndarray, tuple[str, int] | None]:
    """Places of the rows that have a direction, what tells the directions apart, number format and width of vectors."""
    try:
        found = vectors(table[column])
    except ValueError as error:
        raise ValueError(f"column {column!r}: {error}") from error
    units = directions(found)
    good = units.any(axis=1)
    kind = table[column].type
    half = pa.types.is_fixed_size_list(kind) and pa.types.is_float16(kind.value_type)
    at = np.flatnonzero(np.asarray(table[column].is_valid()))[good]
    return at, prints(units[good]), ("<f2" if half else "<f4", found.shape[1]) if len(found) else None


def chosen(block: Block, keys: np.ndarray, column: str, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Places of a block's rows whose key is not negative, and their vectors: float32 (m, width)."""
    at = np.flatnonzero(keys >= 0)
    if not len(at):  # and maybe a column without a type
        return at, np.empty((0, width), np.float32)
    return at, vectors(block.read([column])[column].take(pa.array(at)))


def units(block: Block, keys: np.ndarray, column: str, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Keys and directions of the rows that have a key."""
    at, found = chosen(block, keys, column, width)
    return keys[at], directions(found)


@dataclass(frozen=True, slots=True)
class Assigning:
    """An assignment to the centroids in a file, and where vectors go that are spilled by cluster."""

    column: str
    folder: RunDir
    centroids: str
    kind: np.dtype
    ends: np.ndarray
    """Partition i gets the clusters below ``ends[i]`` and not before."""
    reach: float | None
    """Sine of the angle up to which the border to the second nearest cluster counts as near; None spills nothing."""


def assign(
    block: Block, keys: np.ndarray, file: str, work: Assigning
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
    """Places of the rows that have a key, their clusters, cosines, and what :func:`spill.write` returns."""
    at, found = chosen(block, keys, work.column, work.kind["vector"].shape[0])
    centroids = load(work.folder, work.centroids)
    near, labels = centroids.nearest(directions(found), 2)
    before = None
    if work.reach is not None:
        twice = np.flatnonzero(_by_the_border(centroids.leaves, near, labels, work.reach))
        rows = np.concatenate([np.arange(len(at)), twice])
        groups = np.concatenate([labels[:, 0], labels[twice, -1]])
        raw = found.astype(work.kind["vector"].base)
        before = spill.write(work.folder, file, keys[at[rows]], groups, raw[rows], work.ends)
    return at, labels[:, 0].astype(np.int32), near[:, 0], before


def _by_the_border(leaves: np.ndarray, near: np.ndarray, labels: np.ndarray, reach: float) -> np.ndarray:
    """Whether rows lie within an angle of sine ``reach`` of the border to their second nearest centroid: (n,).

    The border is the plane between the two, (x, a - b) = 0; a row on its other side is no closer than the plane.
    """
    if labels.shape[1] < 2:
        return np.zeros(len(labels), bool)
    between = np.linalg.norm(leaves[labels[:, 0]].astype(np.float64) - leaves[labels[:, 1]], axis=1)
    return near[:, 0] - near[:, 1] < reach * between


def save(folder: RunDir, name: str, centroids: Centroids) -> None:
    """Centroids as a file that every worker can read."""
    cells = centroids.leaves[:0] if centroids.cells is None else centroids.cells
    folder.write(name, lambda file: np.savez(file, leaves=centroids.leaves, cells=cells), durable=False)


def load(folder: RunDir, name: str) -> Centroids:
    """Centroids from a file."""
    with folder.open(name) as file, np.load(file, allow_pickle=False) as arrays:
        return Centroids(arrays["leaves"], arrays["cells"] if len(arrays["cells"]) else None)


def train(partition: spill.Partition, k: int) -> np.ndarray:
    """Centroids of a partition's rows in the order of their keys: float32 (k, d)."""
    return spherical_kmeans(directions(partition.read()["vector"]), k)
