"""For each label the one that it is most easily confused with, how far the picture speaks for which, and examples.

Source: Machine Vision Therapy (Huang et al. 2023, arXiv 2312.02546): a matrix of a vision model's errors names the most
probable wrong class, and a chat model that is shown an exemplar of each decides between the two. Here classes are means
of embeddings; to decide is for a ``prompt`` stage and a ``choose`` stage behind this one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from potstill.pipelines.neighbours.rivals import doubts, exemplars
from potstill.pipelines.rowset import RowSet, unit
from potstill.pipelines.selectors.selector import Choice, Selector


class LabelDoubts(Selector):
    """Writes ``<name>_other`` (the rival label), ``<name>_margin`` and ``<name>_ids`` (exemplars); drops nothing.

    The margin is the cosine to the mean of the own class, without the row itself, less that to the rival's: -2 to 2,
    below 0 where the label is in doubt. The exemplars are the row of the own class with the largest margin, never the
    row itself, then that of the rival's; stages behind read their columns as ``<name>.<column>``. Null without a label
    or an embedding (no ids); the margin also where a class has one row, which then has the rival's exemplar alone.
    O(n K d) time, n (d + K) floats of memory, with K labels.
    """

    kind: Literal["label_doubts"] = "label_doubts"
    version: ClassVar[int] = 2
    names_rows: ClassVar[bool] = True

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
        """Rival, margin, and the ids of one or two exemplars."""
        ids = {f"{self.name}_ids": pa.list_(pa.string())}
        return {f"{self.name}_other": pa.string(), f"{self.name}_margin": pa.float32(), **ids}

    def select(self, rows: RowSet, seed: int) -> Choice:
        """Keeps every row."""
        features, at = rows.features(self.features)
        labels = np.array([text or "" for text in rows.column(self.label).to_pylist()], object)
        there = labels[at] != ""
        features, at = unit(features[there]), at[there]
        others, margins = [None] * len(rows), np.full(len(rows), np.nan, np.float32)
        ids: list[list[str]] = [[] for _ in range(len(rows))]
        classes, of = np.unique(labels[at].astype(str), return_inverse=True)
        if len(classes) > 1:
            rivals, margins[at] = doubts(features, of, len(classes), self.confusion)
            shown = exemplars(margins[at], of, rivals)
            for position, rival, pair in zip(at.tolist(), rivals.tolist(), shown.tolist(), strict=True):
                others[position] = str(classes[rival])
                ids[position] = [rows.texts[at[one]] for one in pair if one >= 0]
        written = (others, pa.array(margins, mask=np.isnan(margins)), ids)
        return Choice(np.ones(len(rows), bool), columns=dict(zip(self.writes(), written, strict=True)))
