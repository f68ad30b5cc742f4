"""Pairs of rows that look alike without being the same: what differs between them is worth a question.

Source: Jiao et al. 2024 (Img-Diff), arXiv 2408.04594, keeps pairs whose CLIP image embeddings are alike; the range is
ours and a matter of the encoder: look at a few pairs first.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from potstill.pipelines.rowset import RowSet, unit
from potstill.pipelines.selectors.grouping import Grouping


class ImagePairs(Grouping):
    """Pairs each row with its most similar partner in the range, most similar pairs first; no row is in two pairs.

    Looks at the ``neighbours`` nearest rows of each: O(n^2 d) time by FAISS, n d floats of memory.
    """

    kind: Literal["image_pairs"] = "image_pairs"
    features: str = "clip_score_image"
    """Column of embeddings."""
    min_cosine: float = Field(default=0.9, ge=-1, le=1)
    """Below it, two pictures show different things."""
    max_cosine: float = Field(default=0.98, ge=-1, le=1)
    """Above it, there is no difference worth telling."""
    neighbours: int = Field(default=16, ge=1, le=1024)
    """Candidates of each row."""

    @model_validator(mode="after")
    def _range_fits(self) -> ImagePairs:
        if self.min_cosine >= self.max_cosine:
            raise ValueError(f"min_cosine {self.min_cosine} must be below max_cosine {self.max_cosine}")
        return self

    def reads(self) -> tuple[str, ...]:
        """The embeddings."""
        return (self.features,)

    def groups(self, rows: RowSet, seed: int) -> Iterator[tuple[int, int]]:
        """The row of lower id goes first."""
        features, at = rows.features(self.features)
        for first, second in pairs(features, self.min_cosine, self.max_cosine, self.neighbours):
            yield int(at[first]), int(at[second])


def pairs(features: np.ndarray, low: float, high: float, neighbours: int) -> list[tuple[int, int]]:
    """Disjoint pairs (i < j) of rows of (n, d) with low <= cosine <= high: greedily, the highest cosine first.

    Equal cosines go by position. Only the ``neighbours`` nearest rows below ``high`` are candidates of a row.
    """
    import faiss

    if len(features) < 2:
        return []
    rows = np.ascontiguousarray(unit(features), np.float32)
    index = faiss.IndexFlatIP(rows.shape[1])
    index.add(rows)
    found, near = index.search(rows, min(len(rows), neighbours + 1))
    first = np.repeat(np.arange(len(rows)), near.shape[1])
    second, cosine = near.ravel(), np.round(found.ravel().astype(np.float64), 6)
    fits = (first != second) & (cosine >= low) & (cosine <= high)
    edges = {(min(i, j), max(i, j)): c for i, j, c in zip(first[fits], second[fits], cosine[fits], strict=True)}
    taken: set[int] = set()
    chosen: list[tuple[int, int]] = []
    for i, j in sorted(edges, key=lambda pair: (-edges[pair], pair)):
        if i not in taken and j not in taken:
            taken.update((i, j))
            chosen.append((int(i), int(j)))
    return chosen
