"""Numbers of a CLIP on features: retrieval on held-out sets, and AUC of right against wrong captions on scenes."""

from collections.abc import Sequence

import numpy as np


def auc(right: np.ndarray, wrong: np.ndarray) -> float:
    """Chance that a right caption scores above a wrong one, ties counted half: 0.5 is blind, 1 is perfect (ROC AUC)."""
    ranks = np.concatenate([right, wrong]).argsort(kind="stable").argsort() + 1.0
    values, inverse, counts = np.unique(np.concatenate([right, wrong]), return_inverse=True, return_counts=True)
    if len(values) < len(inverse):
        ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    n, m = len(right), len(wrong)
    return float((ranks[:n].sum() - n * (n + 1) / 2) / (n * m))


def retrieval(pictures: np.ndarray, texts: np.ndarray, truth: Sequence[int]) -> dict[str, float]:
    """Recall at 1 and 5 of picture -> text, and the mismatch AUC (own text against every other).

    pictures (n, d) and texts (m, d) are unit rows of distinct captions; truth[i] is the caption of picture i.
    """
    scores = pictures @ texts.T
    own = scores[np.arange(len(truth)), truth]
    above = (scores > own[:, None]).sum(1)
    others = np.ones(scores.shape, dtype=bool)
    others[np.arange(len(truth)), truth] = False
    return {
        "n": len(truth),
        "candidates": len(texts),
        "recall@1": round(float((above < 1).mean()), 3),
        "recall@5": round(float((above < 5).mean()), 3),
        "mismatch_auc": round(auc(own, scores[others]), 3),
    }
