"""Whether the right class is among the best k, row by row; equal scores share the credit."""

from __future__ import annotations

import numpy as np


def top_k(scores: np.ndarray, labels: np.ndarray, k: int = 1) -> np.ndarray:
    """Chance of each row (n,) that its label is among the k best of scores (n, classes): float64, 0..1.

    It is 0 or 1 but for ties: equal scores stand in random order, so that a model that says the same of every class
    gets k / classes, and not the 1 or 0 that the order of the classes would give it. The mean is the top-k accuracy.
    Labels are class numbers. Raises ``ValueError`` for shapes that do not fit, unknown labels, k below 1 and NaN.
    """
    scores, labels = np.asarray(scores), np.asarray(labels)
    if scores.ndim != 2 or labels.shape != scores.shape[:1]:
        raise ValueError(f"scores must be (n, classes) with n labels, got {scores.shape} and {labels.shape}")
    if k < 1:
        raise ValueError(f"k is {k}; it must be at least 1")
    if np.isnan(scores).any():
        raise ValueError(f"{int(np.isnan(scores).any(axis=1).sum())} of {len(scores)} rows have a score that is NaN")
    if labels.size and not (labels.min() >= 0 and labels.max() < scores.shape[1]):
        raise ValueError(f"labels reach from {labels.min()} to {labels.max()}; classes from 0 to {scores.shape[1] - 1}")
    own = np.take_along_axis(scores, labels.astype(np.int64)[:, None], axis=1)
    above, equal = (scores > own).sum(axis=1), (scores == own).sum(axis=1)
    return np.clip((k - above) / equal, 0.0, 1.0)


def mean_per_class(hits: np.ndarray, labels: np.ndarray) -> float:
    """The mean over classes of each class's mean hit (balanced accuracy), 0..1: a frequent class weighs no more.

    Of the classes that occur in ``labels`` (n,). NaN for no rows.
    """
    _, at = np.unique(np.asarray(labels), return_inverse=True)
    if not at.size:
        return float("nan")
    return float(np.mean(np.bincount(at, weights=np.asarray(hits, dtype=np.float64)) / np.bincount(at)))
