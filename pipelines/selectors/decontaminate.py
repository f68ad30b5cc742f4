"""Training rows that are too close to an evaluation set go, so that what is measured on it was not learnt by heart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from potstill.pipelines import evaluation, schema
from potstill.pipelines.contamination import Matches, closest, equal, similar
from potstill.pipelines.rowset import RowSet
from potstill.pipelines.selectors.selector import Choice, Selector


class Decontaminate(Selector):
    """Writes ``<name>_match``, the id of the evaluation row that a dropped row is too close to; ``<name>_distance``,
    bits to the nearest evaluation hash within ``max_distance``; and ``<name>_cosine``, the largest to its vectors.

    A row is dropped for the first that holds: ``same_key``, ``near_hash``, ``near_embedding``. Of a run folder all rows
    count, also dropped ones. Evaluation vectors must fit into a worker's memory; their time grows as rows * rows.
    """

    kind: Literal["decontaminate"] = "decontaminate"
    against: str = Field(min_length=1)
    """The evaluation set: a Parquet file, a folder of them, or a run folder, with the columns named below."""
    keys: tuple[str, ...] = ()
    """Columns of exact keys, such as ``image_id`` or ``pixel_hash``; an equal value in one is enough."""
    hash: str | None = None
    """Column of perceptual hashes."""
    max_distance: int = Field(default=48, ge=0, le=128)
    """Bits within which two pictures count as the same."""
    min_ones: int = Field(default=64, ge=0)
    """Hashes with fewer ones are those of plain pictures: not compared."""
    embedding: str | None = None
    """Column of vectors."""
    min_cosine: float = Field(default=0.95, gt=0, le=1)
    """Rows with this cosine or a larger one to an evaluation row count as the same."""
    id: str = schema.SAMPLE_ID
    """Column that the evaluation set's rows are known by."""

    @model_validator(mode="after")
    def _compares_something(self) -> Decontaminate:
        if not (self.keys or self.hash or self.embedding):
            raise ValueError("nothing to compare; give keys, hash or embedding")
        return self

    def reads(self) -> tuple[str, ...]:
        """What is compared."""
        return tuple(dict.fromkeys(name for name in (*self.keys, self.hash, self.embedding) if name))

    def writes(self) -> Mapping[str, pa.DataType]:
        """The match, and how close it is."""
        name = self.name
        return {f"{name}_match": pa.string(), f"{name}_distance": pa.int16(), f"{name}_cosine": pa.float32()}

    def identity(self) -> Mapping[str, Any]:
        """The content of the evaluation files."""
        return {"against": evaluation.digest(self.against)}

    def select(self, rows: RowSet, seed: int) -> Choice:
        """The rows that are close to no evaluation row."""
        matches, distance, cosine = Matches.none(len(rows)), np.full(len(rows), -1), np.full(len(rows), np.nan)
        compared = [name for name in self.reads() if name != self.embedding]
        others, columns = evaluation.load(self.against, compared, self.id), rows.columns(compared)
        for name in self.keys:
            at = equal(columns[name], others[name])
            matches.add(at, at >= 0, "same_key")
        if self.hash:
            at, distance = similar(columns[self.hash], others[self.hash], self.max_distance, self.min_ones)
            matches.add(at, at >= 0, "near_hash")
        if self.embedding:
            at, cosine = closest(rows, self.embedding, self.against)
            matches.add(at, np.nan_to_num(cosine, nan=-1) >= self.min_cosine, "near_embedding")
        ids = others[self.id].cast(pa.string()).combine_chunks().take(pa.array(matches.at, mask=matches.at < 0))
        near = pa.array(distance, pa.int16(), mask=distance < 0)
        found = (ids, near, pa.array(cosine, pa.float32(), from_pandas=True))
        return Choice(matches.at < 0, matches.reasons, dict(zip(self.writes(), found, strict=True)))
