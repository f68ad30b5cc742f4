"""For each label the other one that it is most easily confused with, and how far the picture speaks for which.

Source: Machine Vision Therapy (Huang et al. 2023, arXiv 2312.02546): a matrix of a vision model's errors names the most
probable wrong class, and a chat model then decides between the two. Here classes are means of embeddings; to decide is
for a ``prompt`` stage and a ``choose`` stage behind this one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from potstill.pipelines.rowset import RowSet, unit
from potstill.pipelines.selectors.selector import Choice, Selector


class LabelDoubts(Selector):
    """Writes ``<name>_other`` (the rival label) and ``<name>_margin``; drops nothing.

    The margin is the cosine to the mean of the own class, without the row itself, less that to the rival's: -2 to 2,
    below 0 where the label is in doubt. Null without a label or an embedding; the margin also where a class has one
    row. O(n K d) time, n (d + K) floats of memory, with K labels.
    """

    kind: Literal["label_doubts"] = "label_doubts"

    features: str = "clip_score_image"
    """Column of embeddings."""
    label: str = "caption"
    """Column of labels: short texts, equal for rows of a class."""
    confusion: float = Field(default=0.1, ge=0)
    """Weight of the log-probability with which the two classes are confused, beside the cosine."""

    def reads(self) -> tuple[str, ...]:
        """Embeddings and labels."""
        return (self.features, self.label)

    def writes(self) -> Mapping[str, pa.DataType]:
        """Rival and margin."""
        return {f"{self.name}_other": pa.string(), f"{self.name}_margin": pa.float32()}

    def select(self, rows: RowSet, seed: int) -> Choice:
        """Keeps every row."""
        features, at = rows.features(self.features)
        labels = np.array([text or "" for text in rows.column(self.label).to_pylist()], object)
        there = labels[at] != ""
        features, at = unit(features[there]), at[there]
        others, margins = [None] * len(rows), np.full(len(rows), np.nan, np.float32)
        classes, of = np.unique(labels[at].astype(str), return_inverse=True)
        if len(classes) > 1:
            rivals, margins[at] = doubts(features, of, len(classes), self.confusion)
            for position, rival in zip(at.tolist(), rivals.tolist(), strict=True):
                others[position] = str(classes[rival])
        written = (others, pa.array(margins, mask=np.isnan(margins)))
        return Choice(np.ones(len(rows), bool), columns=dict(zip(self.writes(), written, strict=True)))


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
