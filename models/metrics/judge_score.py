"""The mean of what a judge gave, with its interval: scores that judge stages have written, one per row or a list."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

from potstill.models.metrics.bootstrap import Estimate, mean_interval

Scores = Sequence[float | Sequence[float | None] | None]


def judge_score(
    scores: Scores,
    *,
    groups: Sequence[Hashable] | None = None,
    seed: int = 0,
    resamples: int = 1000,
    confidence: float = 0.95,
) -> tuple[Estimate, int]:
    """The mean score with a bootstrap interval, and how many scores are missing (null or NaN): those do not count.

    A row may hold a list of scores, of several answers; rows, or ``groups`` (n,), are drawn as a whole. A judge that
    gives no verdict on bad answers flatters the mean: look at what is missing. The interval is about the rows, not
    about the judge's own errors (see judge_calibration).
    """
    keys = range(len(scores)) if groups is None else groups
    lists = [list(score) if isinstance(score, Sequence) else [score] for score in scores]
    pairs = [(value, key) for values, key in zip(lists, keys, strict=True) for value in values]
    known = [(float(value), key) for value, key in pairs if value is not None and not math.isnan(value)]
    values, drawn = [value for value, _ in known], [key for _, key in known]
    found = mean_interval(values, groups=drawn, seed=seed, resamples=resamples, confidence=confidence)
    return found, len(pairs) - len(known)
