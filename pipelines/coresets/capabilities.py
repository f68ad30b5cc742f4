"""mmSSR's rule: a budget over capabilities, inside one over style bins, the smallest bin first, debt carried on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from potstill.pipelines.coresets.groups import apportion


def share_out(scores: np.ndarray, styles: Sequence[np.ndarray], weights: np.ndarray, budget: int) -> np.ndarray:
    """Which capability each row is taken for: int64 (n,), -1 for rows not taken.

    ``scores`` (n, c), NaN where a row does not serve a capability; ``styles``: positions of each bin's rows, a row may
    be in several; ``weights`` (c,) > 0. Round after round the rest of the budget is split by weight and each capability
    takes what it can get; one that gets nothing leaves (Lyu et al. 2025, arXiv 2503.13383). Until the budget is full
    or no capability is left.
    """
    served = np.full(len(scores), -1, np.int64)
    orders = [np.argsort(-column, kind="stable")[: np.isfinite(column).sum()] for column in scores.T]
    member = np.zeros((len(styles), len(scores)), bool)
    for style, rows in enumerate(styles):
        member[style, rows] = True
    active = list(range(len(weights)))
    while active and (left := budget - int((served >= 0).sum())):
        for capability, share in zip(tuple(active), apportion(weights[active], left), strict=True):
            free = orders[capability][served[orders[capability]] < 0]
            served[over_styles(free, member[:, free], int(share))] = capability
            if len(free) == 0:
                active.remove(capability)
    return served


def over_styles(order: np.ndarray, member: np.ndarray, share: int) -> np.ndarray:
    """Up to ``share`` of the rows in ``order`` (m,), best first, spread over bins: (at most share,).

    ``member`` (bins, m): which rows are in which bin. Bins take ``max(share // bins, 1)`` each, the one with the fewest
    rows first; what a bin lacks is added to the next one's part.
    """
    counts = member.sum(1)
    bins = [index for index in np.argsort(counts, kind="stable").tolist() if counts[index]]
    each, debt = max(share // max(len(bins), 1), 1), 0
    free = np.ones(len(order), bool)
    taken: list[int] = []
    for index in bins:
        there = np.flatnonzero(member[index] & free)
        chosen = there[: min(each + debt, share - len(taken))]
        debt = max(each + debt - len(there), 0)
        free[chosen] = False
        taken += order[chosen].tolist()
    return np.array(taken, np.int64)
