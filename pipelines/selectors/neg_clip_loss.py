"""s-CLIPLoss (negCLIPLoss): the CLIP score less what a pair shares with everybody, so that hub captions score low.

Source: Wang et al. 2024, arXiv 2405.19547: s_i = f_i.g_i - (tau/2) [log sum_j exp(f_i.g_j/tau) + log sum_j exp(f_j.g_i
/tau)] over a random batch that holds i, meaned over repeats; tau 0.01, batches of 32,768, 10 repeats.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import pyarrow as pa
import xxhash
from pydantic import Field

from potstill.pipelines.rowset import RowSet
from potstill.pipelines.selectors.selector import Choice, Selector


class NegClipLoss(Selector):
    """Writes ``<name>`` (float32, higher is better; null without both embeddings) and drops nothing.

    O(n batch d repeats) time; n d floats twice and batch^2 floats of memory. The number depends on a batch's size
    by about tau log(batch), so all batches are equally large: the last is filled up with rows of the first.
    """

    kind: Literal["neg_clip_loss"] = "neg_clip_loss"
    image: str = "clip_score_image"
    """Column of image embeddings."""
    text: str = "clip_score_text"
    """Column of text embeddings."""
    temperature: float = Field(default=0.01, gt=0, le=1)
    """tau: that of the model's training (0.01 for OpenAI's CLIP, 0.07 for one that did not learn it)."""
    batch: int = Field(default=4096, ge=2, le=65_536)
    """Pairs of a batch; published 32,768. With fewer rows, one batch of all."""
    repeats: int = Field(default=5, ge=1, le=100)
    """Random divisions into batches."""

    def reads(self) -> tuple[str, ...]:
        """Both embeddings."""
        return (self.image, self.text)

    def writes(self) -> Mapping[str, pa.DataType]:
        """The score."""
        return {self.name: pa.float32()}

    def select(self, rows: RowSet, seed: int) -> Choice:
        """Keeps every row."""
        images, at = rows.features(self.image)
        texts, with_text = rows.features(self.text)
        both, first, second = np.intersect1d(at, with_text, assume_unique=True, return_indices=True)
        values = np.full(len(rows), np.nan, np.float32)
        draw = np.random.default_rng(xxhash.xxh3_64_intdigest(f"{seed}/{self.name}".encode()))
        orders = [draw.permutation(len(both)) for _ in range(self.repeats)]
        values[both] = neg_clip_loss(images[first], texts[second], self.temperature, self.batch, orders)
        return Choice(np.ones(len(rows), bool), columns={self.name: pa.array(values, mask=np.isnan(values))})


def neg_clip_loss(
    images: np.ndarray, texts: np.ndarray, temperature: float, batch: int, orders: list[np.ndarray]
) -> np.ndarray:
    """Scores (n,) of unit rows (n, d) and (n, d), the mean over divisions of the rows, in each order, into batches."""
    total, count = np.zeros(len(images)), len(images)
    size = min(batch, count)
    for order in orders if count else ():
        for start in range(0, count, size):
            own = order[start : start + size]
            filled = np.concatenate([own, order[: size - len(own)]])
            logits = (images[filled] @ texts[filled].T).astype(np.float64) / temperature
            shared = log_sum_exp(logits, 1) + log_sum_exp(logits, 0)
            score = temperature * (np.diag(logits) - shared / 2)
            total[own] += score[: len(own)]
    return total / max(1, len(orders))


def log_sum_exp(logits: np.ndarray, axis: int) -> np.ndarray:
    """log of the sum of exponentials along an axis, finite for any finite logits."""
    top = logits.max(axis, keepdims=True)
    return np.squeeze(top, axis) + np.log(np.exp(logits - top).sum(axis))
