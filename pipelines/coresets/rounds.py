"""Picking from shards that are in memory one at a time, and how well the picks stand for all."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from potstill.pipelines.coresets.greedy import nearest
from potstill.pipelines.coresets.vectors import Shards

Pick = Callable[[np.ndarray, int, np.ndarray, np.ndarray], np.ndarray]
"""Picks from (features, budget, ground, mean), as in :mod:`potstill.pipelines.coresets.greedy`."""


def picked(shards: Shards, budget: int, pick: Pick, sample: np.ndarray) -> np.ndarray:
    """Positions in the order of picking. With several shards in two rounds (GreeDi, Mirzasoleiman et al. 2013).

    Each shard picks ``budget`` of its own rows, then the same rule picks from those, judged by the rows that are true
    in ``sample`` (n,) and the mean of all.
    """
    found, ground, total, rows = [], [], np.float64(0), 0
    for part in shards:
        if not len(part.at):
            continue
        mean = part.features.mean(0, dtype=np.float64).astype(np.float32)
        chosen = pick(part.features, budget, part.features, mean)
        if shards.count == 1:
            return part.at[chosen]
        found.append(part.at[chosen])
        ground.append(part.where(sample).features)
        total, rows = total + part.features.sum(0, dtype=np.float64), rows + len(part.at)
    if not found:
        return np.zeros(0, np.int64)
    wanted = np.zeros(len(sample), bool)
    wanted[np.concatenate(found)] = True
    union = shards.collect(wanted)
    return union.at[pick(union.features, budget, np.concatenate(ground), (total / rows).astype(np.float32))]


def picked_by_group(shards: Shards, codes: np.ndarray, quotas: np.ndarray, pick: Pick) -> np.ndarray:
    """Positions, group after group in the order of picking. Each group must lie in one shard; ``codes`` (n,)."""
    found: dict[int, np.ndarray] = {}
    for part in shards:
        mine = codes[part.at]
        for group in np.unique(mine[mine >= 0]).tolist():
            features, at = part.features[mine == group], part.at[mine == group]
            mean = features.mean(0, dtype=np.float64).astype(np.float32)
            found[group] = at[pick(features, int(quotas[group]), features, mean)]
    return np.concatenate([np.zeros(0, np.int64), *(found[group] for group in sorted(found))])


def standing(shards: Shards, chosen: np.ndarray) -> tuple[np.ndarray, float]:
    """How ``chosen``, boolean (n,), stands for all.

    Cosine of each row with the nearest chosen one, float32 (n,), NaN where there is no vector; and the distance between
    the mean of the chosen and the mean of all.
    """
    few = shards.collect(chosen)
    near = np.full(len(chosen), np.nan, np.float32)
    total, rows = np.float64(0), 0
    for part in shards:
        near[part.at] = nearest(part.features, few.features)
        if len(part.at):
            total, rows = total + part.features.sum(0, dtype=np.float64), rows + len(part.at)
    gap = np.linalg.norm(few.features.mean(0, dtype=np.float64) - total / rows) if len(few.at) else np.nan
    return near, float(gap)
