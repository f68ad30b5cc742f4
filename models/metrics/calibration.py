"""Whether a classifier is right as often as it says, and the one temperature that makes it so.

Source: Guo et al. 2017, arXiv 1706.04599, equations 3 (ECE) and 9 (temperature); bins of equal mass: Nguyen and
O'Connor 2015, arXiv 1508.05154.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

Binning = Literal["width", "mass"]
LEAST, MOST = 0.01, 100.0
"""Bounds of a fitted temperature: where all rows are right, or wrong, the best one is 0 or infinite."""


def calibration_error(
    confidences: np.ndarray, right: np.ndarray, *, bins: int = 15, binning: Binning = "width"
) -> float:
    """Expected calibration error, 0..1: the mean gap of confidence and accuracy over bins, weighted by their rows.

    confidences (n,) are probabilities of the class said, 0..1; right (n,) is 0 or 1. ``width`` cuts 0..1 into equal
    intervals, open on the left (a confidence of 0 is in the first); ``mass`` cuts at quantiles, so that bins hold about
    equally many rows; equal confidences always share a bin. NaN for no rows. Raises ``ValueError`` for values out of
    range, different lengths and bins below 1.
    """
    confidences, right = np.asarray(confidences, dtype=np.float64), np.asarray(right, dtype=np.float64)
    if confidences.ndim != 1 or confidences.shape != right.shape or bins < 1:
        raise ValueError(
            f"confidences {confidences.shape} and right {right.shape} must be rows; bins {bins}, 1 or more"
        )
    if not confidences.size:
        return float("nan")
    if not (confidences.min() >= 0 and confidences.max() <= 1):
        raise ValueError(f"confidences reach from {confidences.min()} to {confidences.max()}; give probabilities")
    steps = np.linspace(0, 1, bins + 1)[1:-1]
    edges = steps if binning == "width" else np.quantile(confidences, steps)
    at = np.searchsorted(edges, confidences, side="left")
    gaps = np.bincount(at, weights=confidences - right, minlength=bins)
    return float(np.abs(gaps).sum() / confidences.size)


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature of ``softmax(logits / T)`` with the least negative log-likelihood of the labels.

    logits (n, classes) are finite, labels (n,) class numbers of rows that were not trained on. In 1/T the loss is
    convex: Newton's steps, halving the bracket instead where one leaves it or gains little. Between 0.01 and 100; a
    result at a bound, or 1 from logits that are all equal, says that the rows do not determine it.
    Raises ``ValueError`` for no rows, and for logits that are not finite.
    """
    logits, labels = np.asarray(logits, dtype=np.float64), np.asarray(labels, dtype=np.int64)
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or not labels.size or not np.isfinite(logits).all():
        raise ValueError(f"logits must be finite, (n, classes) with n > 0 labels, got {logits.shape}, {labels.shape}")
    shifted = logits - logits.max(axis=1, keepdims=True)
    own = np.take_along_axis(shifted, labels[:, None], axis=1).mean()
    low, high, at, last = 1 / MOST, 1 / LEAST, 1.0, np.inf
    for _ in range(100):
        weights = np.exp(at * shifted)
        weights /= weights.sum(axis=1, keepdims=True)
        means = (weights * shifted).sum(axis=1)
        slope, bend = means.mean() - own, ((weights * shifted**2).sum(axis=1) - means**2).mean()
        if slope == 0:
            break
        low, high = (low, at) if slope > 0 else (at, high)
        newton = at - slope / bend if bend > 0 and abs(slope) <= last / 10 else np.inf
        ahead = newton if low < newton < high else (low * high) ** 0.5
        if abs(ahead - at) <= 1e-10 * at:
            break
        at, last = ahead, abs(slope)
    return float(np.clip(1 / at, LEAST, MOST))
