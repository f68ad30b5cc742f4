"""Each row's hard negatives: other rows that a model takes for nearly the same.

Source: UniME-V2 (Gu et al. 2025, arXiv 2510.13515): candidates by global retrieval; a chat model then judges how well
each matches, and these soft scores become the training target. The judging is a ``prompt`` stage behind this one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from potstill.pipelines.rowset import RowSet, unit
from potstill.pipelines.selectors.selector import Choice, Selector


class HardNegatives(Selector):
    """Writes ``<name>_ids`` and ``<name>_cosines``, the most alike first, and drops nothing.

    Stages behind it read the negatives' columns as ``<name>.<column>``, lists in the order of the ids. O(n^2 d) time by
    FAISS, 2 n d floats of memory. A row without the query's embedding has none; one without the other is nobody's.
    """

    kind: Literal["hard_negatives"] = "hard_negatives"
    names_rows: ClassVar[bool] = True

    query: str = "clip_score_image"
    """Column of the embedding that looks for negatives."""
    candidate: str = "clip_score_text"
    """Column of the embeddings among which they are."""
    count: int = Field(default=8, ge=1, le=256)
    """Negatives of a row, at most."""
    max_cosine: float = Field(default=0.98, ge=-1, le=1)
    """Candidates more alike than this are taken for right answers and left out."""
    group: str | None = None
    """Column whose value rows share that are right answers to each other (duplicates, the same picture)."""

    def reads(self) -> tuple[str, ...]:
        """Both embeddings, and the group."""
        return tuple(dict.fromkeys((self.query, self.candidate, *([self.group] if self.group else []))))

    def writes(self) -> Mapping[str, pa.DataType]:
        """Ids and cosines."""
        return {f"{self.name}_ids": pa.list_(pa.string()), f"{self.name}_cosines": pa.list_(pa.float32())}

    def select(self, rows: RowSet, seed: int) -> Choice:
        """Keeps every row."""
        (queries, asking), (candidates, offered) = rows.features(self.query), rows.features(self.candidate)
        groups = rows.column(self.group).to_pylist() if self.group else list(range(len(rows)))
        ids: list[list[str]] = [[] for _ in range(len(rows))]
        cosines: list[list[float]] = [[] for _ in range(len(rows))]
        near, found = search(queries, candidates, self.count + 16)
        for position, places, values in zip(asking.tolist(), offered[near], found, strict=True):
            for other, cosine in zip(places.tolist(), values.tolist(), strict=True):
                same = other == position or (groups[other] is not None and groups[other] == groups[position])
                if not same and cosine <= self.max_cosine and len(ids[position]) < self.count:
                    ids[position].append(rows.texts[other])
                    cosines[position].append(cosine)
        return Choice(np.ones(len(rows), bool), columns=dict(zip(self.writes(), (ids, cosines), strict=True)))


def search(queries: np.ndarray, candidates: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions and cosines (n, count) of the candidates (m, d) nearest to each query (n, d), the nearest first."""
    import faiss

    count = min(count, len(candidates))
    if not count or not len(queries):
        return np.zeros((len(queries), 0), np.int64), np.zeros((len(queries), 0), np.float32)
    index = faiss.IndexFlatIP(candidates.shape[1])
    index.add(np.ascontiguousarray(unit(candidates)))
    found, near = index.search(np.ascontiguousarray(unit(queries)), count)
    order = np.lexsort((near, -np.round(found, 6)), axis=1)
    return np.take_along_axis(near, order, 1), np.take_along_axis(found, order, 1)
