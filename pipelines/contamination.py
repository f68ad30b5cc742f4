"""What of an evaluation set is too close to a row: an equal key, a near hash, a near vector."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from potstill.pipelines import evaluation, hamming
from potstill.pipelines.neighbours.directions import cosines, directions
from potstill.pipelines.rowset import RowSet, vectors
from potstill.pipelines.rundir import RunDir

_TOP = 4
"""Nearest vectors in float32 whose cosines are then computed exactly."""


@dataclass
class Matches:
    """The evaluation row that each of n rows is too close to, and by what."""

    at: np.ndarray
    """Its position: int64 (n,), -1 where none is."""
    reasons: np.ndarray
    """Object (n,) of words, None where none is."""

    @classmethod
    def none(cls, count: int) -> Matches:
        """No match yet."""
        return cls(np.full(count, -1), np.full(count, None, object))

    def add(self, at: np.ndarray, close: np.ndarray, reason: str) -> None:
        """Note further matches, of rows that had none."""
        new = close & (self.at < 0)
        self.at[new], self.reasons[new] = at[new], reason


def equal(column: pa.Array, others: pa.ChunkedArray) -> np.ndarray:
    """Position of the first of ``others`` with the same value, per row: int64 (n,), -1 where there is none."""
    if pa.types.is_null(column.type) or pa.types.is_null(others.type):
        return np.full(len(column), -1)
    try:
        at = pc.index_in(column, value_set=others.cast(column.type).combine_chunks(), skip_nulls=True)
    except pa.ArrowException as error:
        raise ValueError(f"against: its key is {others.type}, that of the rows {column.type}") from error
    return np.asarray(at.fill_null(-1)).astype(np.int64)


def similar(column: pa.Array, others: pa.ChunkedArray, limit: int, least: int) -> tuple[np.ndarray, np.ndarray]:
    """Position of the nearest hash, int64 (n,), -1 where none is within ``limit`` bits; the distance.

    Hashes with fewer than ``least`` ones are near to nothing. Of equally near ones the first counts.
    """
    (mine, rows), (theirs, known) = (_telling(each, least) for each in (column, others.combine_chunks()))
    best = np.full(len(column), np.iinfo(np.int64).max)
    if len(rows) and len(known):
        widths = [hamming.WORD * part.shape[1] for part in (theirs, mine)]
        if widths[0] != widths[1]:
            raise ValueError(f"against: its hashes have {widths[0]} bits, those of the rows {widths[1]}")
        order = hamming.dealt(theirs[known])
        one, other = (hamming.reordered(part, order) for part in (mine[rows], theirs[known]))
        for at, of, apart in hamming.pairs(one, other, limit):
            np.minimum.at(best, rows[at], apart * len(theirs) + known[of])
    found = best < np.iinfo(np.int64).max
    apart, of = np.divmod(best, max(len(theirs), 1))
    return np.where(found, of, -1), np.where(found, apart, -1)


def _telling(column: pa.Array, least: int) -> tuple[np.ndarray, np.ndarray]:
    """Hashes, and the positions of those that say something."""
    hashes, there = hamming.codes(column)
    return hashes, np.flatnonzero(there & (hamming.ones(hashes) >= least))


def closest(rows: RowSet, column: str, url: str) -> tuple[np.ndarray, np.ndarray]:
    """Position of the evaluation vector of largest cosine to each row's, int64 (n,), -1 without a vector; the cosine,
    float64 (n,), NaN without."""
    at, cosine = np.full(len(rows), -1), np.full(len(rows), np.nan)
    home = RunDir(url).url  # a path of this process: a worker may stand in another folder
    for places, (of, found) in rows.map(_closest, [column], column, home):
        at[places], cosine[places] = of, found
    return at, cosine


def _closest(table: pa.Table, column: str, url: str) -> tuple[np.ndarray, np.ndarray]:
    """The same for a block. Nearest ones are found in float32 by FAISS, then compared exactly, so that neither blocks
    nor machines matter."""
    import faiss

    theirs, known = _directed(evaluation.load(url, [column], column)[column].combine_chunks())
    mine, at = _directed(table[column].combine_chunks())
    of, cosine = np.full(table.num_rows, -1), np.full(table.num_rows, np.nan)
    if len(at) and len(known):
        if mine.shape[1] != theirs.shape[1]:
            raise ValueError(f"against: its vectors have {theirs.shape[1]} numbers, those of the rows {mine.shape[1]}")
        faiss.omp_set_num_threads(1)  # workers share the machine by processes
        index = faiss.IndexFlatIP(theirs.shape[1])
        index.add(theirs)
        _, near = index.search(mine, min(_TOP, len(known)))
        near.sort(axis=1)
        exact = cosines(mine, theirs, near)
        best = exact.argmax(axis=1)[:, None]
        of[at] = known[np.take_along_axis(near, best, axis=1)[:, 0]]
        cosine[at] = np.take_along_axis(exact, best, axis=1)[:, 0]
    return of, cosine


def _directed(column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Directions, and the positions of the rows that have one."""
    units = directions(vectors(column))
    good = units.any(axis=1)
    return units[good], np.flatnonzero(np.asarray(column.is_valid()))[good]
