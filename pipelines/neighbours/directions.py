"""Vectors as directions on a grid that makes sums and cosines exact, whatever order they are computed in."""

from __future__ import annotations

import numpy as np
import xxhash

STEP = 2.0**-24
"""Grid of a direction's components. A float16 is a multiple of it, and float32 holds every multiple up to 1. Products
are multiples of 2^-48, so float64 adds those of two directions without rounding, and 5 * 10^8 directions as well."""
ROWS_AT_ONCE = 2048
"""Rows that are handled in float64 at a time."""


def directions(vectors: np.ndarray) -> np.ndarray:
    """Vectors (n, d) of any length as unit vectors with components rounded to :data:`STEP`: float32 (n, d).

    A vector that has no direction (zero, infinite, not a number) becomes zeros. Depends on the vector alone.
    """
    result = np.empty(vectors.shape, np.float32)
    for at in range(0, len(vectors), ROWS_AT_ONCE):
        part = vectors[at : at + ROWS_AT_ONCE].astype(np.float64)
        part[~np.isfinite(part).all(axis=1)] = 0
        part /= np.maximum(np.abs(part).max(axis=1, initial=0, keepdims=True), np.finfo(float).tiny)
        length = np.sqrt((part * part).sum(axis=1, keepdims=True))
        part = np.divide(part, length, out=np.zeros_like(part), where=length > 0)
        result[at : at + ROWS_AT_ONCE] = np.rint(part / STEP) * STEP + 0.0  # no negative zeros: equal means equal bytes
    return result


def cosines(units: np.ndarray, others: np.ndarray, which: np.ndarray) -> np.ndarray:
    """Cosine of each direction (n, d) with those of ``others`` (k, d) that ``which`` (n, m) names: float64 (n, m).

    Exact on the grid, so equal on every machine and for any way of cutting rows into blocks.
    """
    found = np.empty(which.shape, np.float64)
    for at in range(0, len(units), ROWS_AT_ONCE):
        part = slice(at, at + ROWS_AT_ONCE)
        named = others[which[part]].astype(np.float64)
        found[part] = np.matmul(named, units[part].astype(np.float64)[:, :, None])[:, :, 0]
    return found


def rounding(width: int) -> float:
    """The most by which a cosine in float32, summed in any order, can be off: d * 2^-24, twice for safety."""
    return 2 * width * STEP


def prints(units: np.ndarray) -> np.ndarray:
    """A number per direction that is equal for equal ones: uint64 (n,); for different ones with chance 2^-64."""
    rows = np.ascontiguousarray(units)
    return np.fromiter((xxhash.xxh3_64_intdigest(row) for row in rows), np.uint64, len(rows))
