"""Numbers about all rows, or those of a group: pure functions of arrays, exact.

``values`` are float64 (n,), NaN where a row has none; ``groups`` are whole numbers from 0, int64 (n,), -1 where a row
belongs to none. Rows without a value or a group count for nothing. O(n log n) time.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

FINEST = 10**9  # denominator of a share, so that 0.29 of 100 rows is 29, and not a little less as in floating point


def counts(groups: np.ndarray) -> np.ndarray:
    """Per row, how many rows its group has, int64 (n,); 0 without a group."""
    return _spread(np.bincount(groups[groups >= 0]), groups)


def ranks(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Per row its place in its group, int64 (n,): 1 for the largest value, of equal ones for the first; else 0."""
    order, starts, lengths = _sorted(-values, groups)
    places = np.zeros(len(values), np.int64)
    places[order] = np.arange(len(order)) - np.repeat(starts, lengths) + 1
    return places


def quotas(values: np.ndarray, groups: np.ndarray, share: float) -> np.ndarray:
    """Per row, ``share`` (0 to 1) of its group's rows with a value, int64 (n,), to the nearest, a half upwards."""
    part = Fraction(str(share)).limit_denominator(FINEST)
    sizes = np.bincount(groups[_usable(values, groups)], minlength=groups.max(initial=-1) + 1)
    return _spread((2 * sizes * part.numerator + part.denominator) // (2 * part.denominator), groups)


def quantiles(values: np.ndarray, groups: np.ndarray, share: float) -> np.ndarray:
    """Per row the ``share`` quantile (0 to 1) of its group's m values, float64 (n,); NaN where there are none.

    Linear between the values around place (m - 1) * share, counted from 0 (Hyndman and Fan 1996, definition 7).
    """
    part = Fraction(str(share)).limit_denominator(FINEST)
    order, starts, lengths = _sorted(values, groups)
    place, rest = np.divmod((lengths - 1) * part.numerator, part.denominator)
    low, high = (values[order[starts + np.minimum(at, lengths - 1)]] for at in (place, place + 1))
    found = np.full(int(groups.max(initial=-1)) + 1, np.nan)
    with np.errstate(invalid="ignore", over="ignore"):
        between = low + (high - low) * (rest / part.denominator)
    found[groups[order[starts]]] = np.where((rest == 0) | (low == high), low, between)
    return _spread(found, groups)


def means(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Per row the arithmetic mean of its group's values, float64 (n,); NaN where there are none."""
    usable = _usable(values, groups)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        sums = np.bincount(groups[usable], values[usable], int(groups.max(initial=-1)) + 1)
        return _spread(sums / np.bincount(groups[usable], minlength=len(sums)), groups)


def deviations(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Per row the standard deviation of its group's m values around their mean (divided by m), float64 (n,)."""
    with np.errstate(invalid="ignore", over="ignore"):
        return np.sqrt(means((values - means(values, groups)) ** 2, groups))


def _sorted(values: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Usable rows by group, then value, then place; where in that order each group begins, and how long it is."""
    usable = np.flatnonzero(_usable(values, groups))
    order = usable[np.lexsort((values[usable], groups[usable]))]
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    return order, starts, np.diff(np.append(starts, len(order)))


def _usable(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    return ~np.isnan(values) & (groups >= 0)


def _spread(found: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """What was found per group, to its rows."""
    return np.append(found, np.array(np.nan if found.dtype.kind == "f" else 0, found.dtype))[groups]
