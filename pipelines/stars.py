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
    group: np.ndarray
    """Position of the first of all that hang together: int64 (n,), -1 for rows that were not compared."""


def stars(hashes: np.ndarray, limit: int, order: np.ndarray, pictures: np.ndarray) -> Stars:
    """Stars among the rows of ``order``, positions in the order of preference, by their hashes (n, words) of uint64.

    A row leads when no leader before it is within ``limit`` bits. Every other one is with its nearest leader, of
    equally near ones the first: so no chain leads from a row to one that is farther away. Rows of one picture, a number
    per row (n,), are as one: none stands for another. Two stars are one group when a row is near to both leaders.
    """
    behind, distance, group = (np.full(len(hashes), -1) for _ in range(3))
    hashes = hashes[order]
    hashes = hamming.reordered(hashes, hamming.dealt(hashes))
    leads = hamming.leaders(hashes, limit)
    first, rest = np.flatnonzero(leads), np.flatnonzero(~leads)
    best = np.full(len(rest), np.iinfo(np.int64).max)
    ends = [(rest[:0], rest[:0])]
    for one, other, apart in hamming.pairs(hashes[rest], hashes[first], limit):
        np.minimum.at(best, one, apart * len(order) + first[other])
        ends.append((rest[one], first[other]))
    group[order] = order[components(len(order), *(np.concatenate(parts) for parts in zip(*ends, strict=True)))]
    if len(rest):
        apart, leader = np.divmod(best, len(order))
        other = pictures[order[rest]] != pictures[order[leader]]
        behind[order[rest[other]]], distance[order[rest[other]]] = order[leader[other]], apart[other]
    return Stars(behind, distance, group)
