"""Retrieval: where the right candidates of each query stand among all, without the matrix of all scores.

Source: recall at k as in Karpathy and Fei-Fei 2015, arXiv 1412.2306, with several right candidates per query: one among
the first k is enough. Works for both directions, and for pictures that share a caption.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

TIE = 1e-6
"""Scores that are no further apart are equal: a cosine in float32 is off by 1e-7, differently in each block."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where the best right candidate of each query stands: three counts (n,) of candidates."""

    above: np.ndarray
    """Candidates with a higher score."""
    equal: np.ndarray
    """Candidates with the same score, itself included."""
    right: np.ndarray
    """Right ones among these."""

    def hits(self, k: int) -> np.ndarray:
        """Chance of each query that a right candidate is among the first k, equal scores in random order: 0..1.

        Of e equal candidates with r right ones s = k - above are among the first k: 1 - C(e - r, s) / C(e, s). An
        encoder that gives every row the same vector gets k / candidates. The mean is recall at k.
        """
        if k < 1:
            raise ValueError(f"k is {k}; it must be at least 1")
        room = np.clip(k - self.above, 0, self.equal).astype(np.float64)
        missed = np.ones(len(room))
        for one in range(int(self.right.max(initial=0))):
            left = np.maximum(self.equal - room - one, 0) / np.maximum(self.equal - one, 1)
            missed *= np.where(one < self.right, left, 1.0)
        return 1 - missed


def places(queries: np.ndarray, candidates: np.ndarray, pairs: np.ndarray, block: int = 2048) -> Places:
    """Places of the right candidates by inner product of queries (n, d) and candidates (m, d), unit rows.

    pairs (p, 2) holds the numbers of a query and of a candidate that is right for it; a query may have several, and a
    candidate may be right for several. For the other direction swap rows and columns. Time O(n m d), memory O(block²).
    Raises ``ValueError`` for a query without a right candidate, numbers out of range, and rows that are not finite.
    """
    queries, candidates, pairs = _checked(queries, candidates, pairs, block)
    scores = np.concatenate(
        [
            np.einsum("pd,pd->p", queries[part[:, 0]], candidates[part[:, 1]])
            for part in np.split(pairs, range(block, len(pairs), block))
        ]
    )
    best = np.full(len(queries), -np.inf, dtype=np.float32)
    np.maximum.at(best, pairs[:, 0], scores)
    near = scores >= best[pairs[:, 0]] - TIE
    right = np.bincount(pairs[near, 0], minlength=len(queries))
    above, equal = np.zeros(len(queries), np.int64), np.zeros(len(queries), np.int64)
    for start in range(0, len(queries), block):
        rows = slice(start, start + block)
        own = best[rows, None]
        for first in range(0, len(candidates), block):
            found = queries[rows] @ candidates[first : first + block].T
            above[rows] += (found > own + TIE).sum(axis=1)
            equal[rows] += (abs(found - own) <= TIE).sum(axis=1)
    return Places(above, np.maximum(equal, right), right)


def _checked(
    queries: np.ndarray, candidates: np.ndarray, pairs: np.ndarray, block: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    queries, candidates = np.asarray(queries, dtype=np.float32), np.asarray(candidates, dtype=np.float32)
    pairs = np.unique(np.asarray(pairs, dtype=np.int64).reshape(-1, 2), axis=0)
    if queries.ndim != 2 or candidates.ndim != 2 or queries.shape[1] != candidates.shape[1] or block < 1:
        raise ValueError(f"rows must be equally wide, got {queries.shape} and {candidates.shape}; block {block}")
    if not (np.isfinite(queries).all() and np.isfinite(candidates).all()):
        raise ValueError("a row is not finite; leave it out before the search")
    if pairs.size and (pairs.min() < 0 or (pairs >= [len(queries), len(candidates)]).any()):
        raise ValueError(f"pairs reach {pairs.max(axis=0)}; there are {len(queries)} and {len(candidates)} rows")
    alone = np.setdiff1d(np.arange(len(queries)), pairs[:, 0])
    if alone.size:
        raise ValueError(f"{alone.size} of {len(queries)} queries have no right candidate, the first is {alone[0]}")
    return queries, candidates, pairs
