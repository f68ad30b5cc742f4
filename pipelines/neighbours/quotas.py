"""How many of a budget each group gets."""

from __future__ import annotations

import numpy as np

HALVINGS = 200


def quotas(shares: np.ndarray, budget: int, least: np.ndarray, most: np.ndarray) -> np.ndarray:
    """Whole numbers (k,) that sum to ``budget`` and lie closest to ``shares * budget``, within ``least`` and ``most``.

    The least-squares problem min |x - shares budget|^2 with sum x = budget and least <= x <= most has the solution
    x = clip(shares budget + m, least, most); m by bisection. What rounding down leaves over goes to the largest
    remainders, of equal ones to the first. Raises ValueError where the bounds do not allow the budget.
    """
    if not (np.all(least <= most) and least.sum() <= budget <= most.sum()):
        raise ValueError(f"a budget of {budget} does not fit between {least.sum()} and {most.sum()}")
    wanted = shares * budget
    low, high = float((least - wanted).min(initial=0)), float((most - wanted).max(initial=0))
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if np.clip(wanted + middle, least, most).sum() < budget:
            low = middle
        else:
            high = middle
    exact = np.clip(wanted + high, least, most)
    found = np.floor(exact).astype(np.int64)
    order = np.argsort(np.round(found - exact, 9), kind="stable")
    open_ = order[found[order] < most[order]]
    found[open_[: budget - found.sum()]] += 1
    return found
