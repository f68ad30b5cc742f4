"""Three ways of picking rows one after the other so that they stand for all: k-centre, herding, facility location.

``features`` (m, d) are the rows to pick from, ``ground`` (g, d) those to stand for, ``mean`` (d,) the mean of all; unit
length, float32; all three are called alike, whatever they need. Each returns the picked rows in the order in which they
were picked, int64 (min(budget, m),); equal rows: the lower position first. A budget of m or more returns all rows in
their own order.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

BATCH, MOST = 32, 256
"""Candidates whose gain is computed together: at first, and at most, for a pick."""
TILE = 65_536
"""Rows of the ground set multiplied at a time."""


def k_centre(features: np.ndarray, budget: int, ground: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """The row nearest to the mean, then again and again the row farthest from those picked.

    The largest distance of a row to its nearest pick is at most twice the least possible (Gonzalez 1985; Sener and
    Savarese 2018, arXiv 1708.00489). O(m budget d) time, O(m) memory. Outliers come first: filter them out before.
    """
    if budget >= len(features):
        return np.arange(len(features))
    picks = [int(np.argmax(features @ mean))]
    nearest = np.full(len(features), -np.inf, np.float32)
    while len(picks) < budget:
        np.maximum(nearest, features @ features[picks[-1]], out=nearest)
        nearest[picks[-1]] = np.inf
        picks.append(int(np.argmin(nearest)))
    return np.array(picks)


def herding(features: np.ndarray, budget: int, ground: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Rows whose mean follows the mean of all: with w = mean, pick argmax <w, f>, then w += mean - f.

    Welling 2009; in the order of iCaRL, Rebuffi et al. 2017, arXiv 1611.07725. When rows may be picked again the error
    of the mean falls as 1 / budget (random: 1 / sqrt(budget)); without, as here, nothing is promised. O(m budget d)
    time, O(m) memory.
    """
    if budget >= len(features):
        return np.arange(len(features))
    free = np.ones(len(features), bool)
    direction = mean.astype(np.float64)
    picks = []
    while len(picks) < budget:
        scores = np.where(free, features @ direction.astype(np.float32), -np.inf)
        picks.append(int(np.argmax(scores)))
        free[picks[-1]] = False
        direction += mean - features[picks[-1]]
    return np.array(picks)


def facility_location(features: np.ndarray, budget: int, ground: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Rows that raise the sum over the ground set of (1 + cosine with the nearest pick) / 2 most, one by one.

    That similarity is 1 - (distance / 2)^2 >= 0, so the greedy choice reaches 1 - 1/e of the best sum (Nemhauser,
    Wolsey and Fisher 1978). Lazy: a gain only falls as picks are added (Minoux 1978), so it is computed anew only when
    it may be the largest. O(g m d) time for the first pick, far less for each other; O(g + m) memory.
    """
    if budget >= len(features):
        return np.arange(len(features))
    best = np.full(len(ground), -1, np.float32)
    gains = np.concatenate([_gains(ground, best, features[part]) for part in _parts(len(features), MOST)])
    picks: list[int] = []
    while len(picks) < budget:
        stale = np.ones(len(features), bool)
        stale[picks] = False
        leader, lead, size = -1, -np.inf, BATCH
        while True:
            hopeful = np.flatnonzero(stale & (gains >= lead))
            if len(hopeful) == 0:
                break
            batch = np.sort(hopeful[np.argsort(-gains[hopeful], kind="stable")[:size]])
            size = min(2 * size, MOST)
            gains[batch] = _gains(ground, best, features[batch])
            stale[batch] = False
            top = int(batch[np.argmax(gains[batch])])
            if gains[top] > lead or (gains[top] == lead and top < leader):
                leader, lead = top, gains[top]
        picks.append(leader)
        for part in _parts(len(ground), TILE):
            np.maximum(best[part], ground[part] @ features[leader], out=best[part])
    return np.array(picks)


def nearest(features: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Cosine of each row with the nearest of the chosen ones (b, d): float32 (m,), in tiles of at most 64 MB."""
    if not len(chosen):
        return np.full(len(features), -1, np.float32)
    rows = max(1, 2**24 // len(chosen))
    parts = [(features[part] @ chosen.T).max(1) for part in _parts(len(features), rows)]
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def _gains(ground: np.ndarray, best: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """What each candidate would add to the sum: float64 (c,)."""
    total = np.zeros(len(candidates))
    for part in _parts(len(ground), TILE):
        better = ground[part] @ candidates.T - best[part, None]
        total += np.maximum(better, 0, out=better).sum(0, dtype=np.float64) / 2
    return total


def _parts(length: int, size: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, length, size))
