"""Difficulty of rows from what a model said while it was trained: EL2N, forgetting, area under the margin."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities (m, c), each row of sum 1."""
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def error_norm(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Length of (probabilities - one-hot label), 0 to sqrt(2): float64 (m,). EL2N is its mean over early epochs."""
    error = probabilities.copy()
    error[np.arange(len(labels)), labels] -= 1
    return np.linalg.norm(error, axis=1)


def margin(outputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The label's output less the largest other one: float64 (m,). AUM is its mean over epochs."""
    others = outputs.copy()
    others[np.arange(len(labels)), labels] = -np.inf
    return outputs[np.arange(len(labels)), labels] - others.max(1)


class Dynamics:
    """Sums over the epochs of a log, for the rows ``ids``. Memory: 38 bytes a row, whatever the number of epochs."""

    def __init__(self, ids: Sequence[str]) -> None:
        self._ids, rows = ids, len(ids)
        self.error, self.early = np.zeros(rows), np.zeros(rows, np.int32)
        self.margin, self.margins = np.zeros(rows), np.zeros(rows, np.int32)
        self.epochs = np.zeros(rows, np.int32)
        self._last = np.full(rows, -1, np.int32)
        self._correct, self._learned = np.zeros(rows, bool), np.zeros(rows, bool)
        self._forgotten = np.zeros(rows, np.int32)

    def add(self, epoch: int, at: np.ndarray, correct: np.ndarray) -> None:
        """One epoch of the rows ``at`` (m,): whether the model was right. Epochs of a row ascend, each once."""
        ordered = np.sort(at)
        again = np.concatenate([at[self._last[at] >= epoch], ordered[1:][np.diff(ordered) == 0]])
        if len(again):
            raise ValueError(
                f"sample {self._ids[again[0]]}: its epoch {epoch} comes a second time, or after a later one; a log is "
                "written epoch after epoch, with each sample once in each"
            )
        self._forgotten[at] += self._correct[at] & ~correct
        self._learned[at] |= correct
        self._correct[at], self._last[at] = correct, epoch
        self.epochs[at] += 1

    def add_errors(self, at: np.ndarray, errors: np.ndarray) -> None:
        """Error norms of an early epoch."""
        self.error[at] += errors
        self.early[at] += 1

    def add_margins(self, at: np.ndarray, margins: np.ndarray) -> None:
        """Margins of an epoch."""
        self.margin[at] += margins
        self.margins[at] += 1

    def forgetting(self) -> np.ndarray:
        """How often a row went from right to wrong; one that was never right: the number of its epochs; int32 (n,)."""
        return np.where(self._learned, self._forgotten, self.epochs)
