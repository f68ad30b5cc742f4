"""Classes that rows are mistaken for, from vectors and labels alone, and the surest rows of each class."""

from __future__ import annotations

import numpy as np

from potstill.pipelines.rowset import unit


def doubts(features: np.ndarray, of: np.ndarray, classes: int, confusion: float) -> tuple[np.ndarray, np.ndarray]:
    """Rival class (n,) and margin (n,) of unit rows (n, d) of classes ``of``; NaN where a class has one row."""
    sums = np.zeros((classes, features.shape[1]))
    np.add.at(sums, of, features)
    cosines = features @ unit(sums.astype(np.float32)).T
    counts, every = np.bincount(of, minlength=classes), np.arange(len(of))
    own = np.einsum("nd,nd->n", features, unit((sums[of] - features).astype(np.float32)))
    cosines[every, of] = np.where(counts[of] > 1, own, -np.inf)
    errors = np.ones((classes, classes))
    np.add.at(errors, (of, cosines.argmax(1)), 1)
    confused = cosines + confusion * np.log(errors / errors.sum(1, keepdims=True))[of]
    confused[every, of] = -np.inf
    rivals = confused.argmax(1)
    return rivals, np.where(counts[of] > 1, own - cosines[every, rivals], np.nan)


def exemplars(margins: np.ndarray, of: np.ndarray, rivals: np.ndarray) -> np.ndarray:
    """Positions (n, 2) of the surest other row of each row's class ``of``, -1 for none, and of its rival's class.

    Of equal margins the first counts; every class has a row.
    """
    surest = np.lexsort((-np.nan_to_num(np.round(margins, 6), nan=-np.inf), of))
    counts = np.bincount(of)
    first = np.cumsum(counts) - counts
    best, second = surest[first], np.where(counts > 1, surest[np.minimum(first + 1, len(of) - 1)], -1)
    own = np.where(best[of] == np.arange(len(of)), second[of], best[of])
    return np.stack([own, best[rivals]], axis=1)
