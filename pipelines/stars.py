"""Who stands for whom among hashes: the groups of near duplicates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from potstill.pipelines import hamming
from potstill.pipelines.keys import components


@dataclass(frozen=True, slots=True)
class Stars:
    """What is near to each of n rows."""

    behind: np.ndarray
    """Position of the row that stands for this one: int64 (n,), -1 for rows that none stands for."""
    distance: np.ndarray
    """Bits to it: int64 (n,), -1 without."""
    difference: np.ndarray
    """Largest difference of a field to it: int64 (n,), -1 without, or without fields."""
    group: np.ndarray
    """Position of the first of all that hang together: int64 (n,), -1 for rows that were not compared."""


def stars(
    hashes: np.ndarray,
    limit: int,
    order: np.ndarray,
    pictures: np.ndarray,
    fields: np.ndarray | None = None,
    most: int = 255,
) -> Stars:
    """Stars among the rows of ``order``, positions in the order of preference, by their hashes (n, words) of uint64.

    Two rows are near within ``limit`` bits, if none of their ``fields`` (n, k) of uint8 differs by more than ``most``.
    A row leads when no leader before it is near. Every other one is with its nearest leader in bits, of equally near
    ones the first: so no chain leads from a row to one that is farther away. Rows of one picture, a number per row
    (n,), are as one: none stands for another. Two stars are one group when a row is near to both leaders.
    """

    def alike(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        if fields is None:
            return hamming.any_two(one, other)
        return _differences(fields, order[one], order[other]) <= most

    behind, distance, difference, group = (np.full(len(hashes), -1) for _ in range(4))
    hashes = hashes[order]
    hashes = hamming.reordered(hashes, hamming.dealt(hashes))
    leads = hamming.leaders(hashes, limit, alike)
    first, rest = np.flatnonzero(leads), np.flatnonzero(~leads)
    best = np.full(len(rest), np.iinfo(np.int64).max)
    ends = [(rest[:0], rest[:0])]
    for one, other, apart in hamming.pairs(hashes[rest], hashes[first], limit):
        same = alike(rest[one], first[other])
        row, leader = one[same], first[other[same]]
        np.minimum.at(best, row, apart[same] * len(order) + leader)
        ends.append((rest[row], leader))
    group[order] = order[components(len(order), *(np.concatenate(parts) for parts in zip(*ends, strict=True)))]
    if len(rest):
        apart, leader = np.divmod(best, len(order))
        other = pictures[order[rest]] != pictures[order[leader]]
        row, leader = order[rest[other]], order[leader[other]]
        behind[row], distance[row] = leader, apart[other]
        if fields is not None:
            difference[row] = _differences(fields, row, leader)
    return Stars(behind, distance, difference, group)


def _differences(fields: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    a, b = fields[one], fields[other]
    return (np.maximum(a, b) - np.minimum(a, b)).max(axis=1)
