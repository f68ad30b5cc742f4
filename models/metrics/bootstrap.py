"""A mean of values per row, and how far it would move with other rows: the percentile bootstrap.

Source: Efron and Tibshirani 1993, chapter 13; by groups: Davison and Hinkley 1997, section 3.8.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number from ``n`` values, between the bounds of its interval; the bounds are NaN where none is known."""

    value: float
    low: float
    high: float
    n: int


def mean_interval(
    values: Sequence[float] | np.ndarray,
    *,
    seed: int = 0,
    resamples: int = 1000,
    confidence: float = 0.95,
    groups: Sequence[Hashable] | None = None,
) -> Estimate:
    """The mean of values (n,) with its percentile interval: of ``resamples`` means of n values drawn with replacement.

    ``groups`` (n,) names what is drawn as a whole: questions about one picture are no independent rows, and without
    groups the interval would be too narrow. The order of the values does not matter. NaN for no values; values that are
    all equal have an interval of no width, which says only that the rows cannot tell.
    Raises ``ValueError`` for a value that is not finite, for resamples below 1, for a confidence outside 0..1.
    """
    data = np.asarray(values, dtype=np.float64)
    if resamples < 1 or not 0 < confidence < 1:
        raise ValueError(f"resamples is {resamples}, confidence {confidence}; give 1 or more, and between 0 and 1")
    if not np.isfinite(data).all():
        raise ValueError(
            f"{int((~np.isfinite(data)).sum())} of {data.size} values are not finite; leave those rows out"
        )
    if data.ndim != 1 or (groups is not None and len(groups) != len(data)):
        raise ValueError(f"values have shape {data.shape}, groups {None if groups is None else len(groups)}: not rows")
    if not data.size:
        return Estimate(float("nan"), float("nan"), float("nan"), 0)
    places: dict[Hashable, int] = {}
    keys = range(len(data)) if groups is None else groups
    at = np.fromiter((places.setdefault(key, len(places)) for key in keys), np.int64, len(data))
    sums, counts = np.bincount(at, weights=data), np.bincount(at)
    order = np.lexsort((counts, sums))  # equal rows in another order must draw the same means
    sums, counts = sums[order], counts[order]
    rng = np.random.default_rng(seed)
    means = np.empty(resamples)
    for draw in range(resamples):
        drawn = rng.integers(0, len(sums), len(sums))
        means[draw] = sums[drawn].sum() / counts[drawn].sum()
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Estimate(math.fsum(data) / data.size, float(low), float(high), data.size)
