"""Rows on their way from blocks to partitions, in files of a scratch folder: one a block, sorted by partition."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from potstill.pipelines.rundir import RunDir

Piece = tuple[str, int, int]
"""File, first row, row behind the last."""


def record(kind: np.dtype, width: int) -> np.dtype:
    """What is kept of a row: ``key``, a number that no other row has; ``group``; ``vector`` as it came."""
    return np.dtype([("key", "<i8"), ("group", "<i4"), ("vector", kind.newbyteorder("<"), (width,))])


def write(
    folder: RunDir, name: str, keys: np.ndarray, groups: np.ndarray, vectors: np.ndarray, ends: np.ndarray
) -> np.ndarray:
    """Write a block's rows by group. ``ends`` (p,): partition i holds the groups below ``ends[i]`` and not before.

    Returns the rows before each partition, and all: int64 (p + 1,).
    """
    order = np.argsort(groups, kind="stable")
    rows = np.empty(len(order), record(vectors.dtype, vectors.shape[1]))
    rows["key"], rows["group"], rows["vector"] = keys[order], groups[order], vectors[order]
    folder.write_bytes(name, rows.tobytes(), durable=False)
    return np.concatenate([[0], np.searchsorted(rows["group"], ends)])


@dataclass(frozen=True, slots=True)
class Partition:
    """The rows of some groups, in pieces of the blocks' files. Small and picklable."""

    folder: RunDir
    kind: np.dtype
    pieces: tuple[Piece, ...]

    def read(self) -> np.ndarray:
        """The rows by group and key: a record array, the same however the rows were cut into blocks."""
        size, parts = self.kind.itemsize, []
        for name, start, stop in self.pieces:
            with self.folder.open(name) as file:
                file.seek(start * size)
                parts.append(np.frombuffer(file.read((stop - start) * size), self.kind))
        rows = np.concatenate(parts) if parts else np.empty(0, self.kind)
        return rows[np.lexsort((rows["key"], rows["group"]))]


def partitions(folder: RunDir, kind: np.dtype, names: Sequence[str], before: np.ndarray) -> Iterator[Partition]:
    """The partitions of blocks' files, of which ``before`` (blocks, p + 1) says how many rows come before each."""
    for number in range(before.shape[1] - 1):
        starts, stops = before[:, number].tolist(), before[:, number + 1].tolist()
        pieces = [piece for piece in zip(names, starts, stops, strict=True) if piece[1] < piece[2]]
        yield Partition(folder, kind, tuple(pieces))
