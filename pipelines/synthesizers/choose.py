"""The best of several candidate texts by their scores, and whose it is: several captioners, one selector; no model.

Source: Panda-70M (Chen et al. 2024, arXiv 2402.19479): several captioners describe each item and a match score chooses.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import pyarrow as pa
from pydantic import Field, model_validator

from potstill.config import Settings
from potstill.pipelines import schema
from potstill.pipelines.stage import BatchFn, RowStage


class Candidate(Settings):
    """One of the texts to choose from."""

    name: str = Field(min_length=1)
    """What stands in the column ``chooser`` where this one wins: the captioner."""
    text: str
    """Column with the text."""
    score: str
    """Column with its score."""


class Choose(RowStage):
    """Reads texts and their scores; writes the best text to ``column`` and the name of its candidate to ``chooser``.

    ``<name>_score`` is its score, ``<name>_margin`` the distance to the next best, null where there is none. Of equal
    scores the candidate that stands first wins. A row in which none has both a text and a score goes no further
    (``no_candidate``).
    """

    kind: Literal["choose"] = "choose"
    candidates: tuple[Candidate, ...] = Field(min_length=2)
    """In order: the first wins a tie."""
    column: str = Field(default=schema.CAPTION, pattern=r"^[a-z][a-z0-9_]*$")
    """Column for the chosen text."""
    chooser: str = Field(default="captioner", pattern=r"^[a-z][a-z0-9_]*$")
    """Column for the name of the candidate that won."""
    best: Literal["highest", "lowest"] = "highest"
    """Which scores are good."""
    batch_rows: ClassVar[int] = 1024

    @model_validator(mode="after")
    def _different(self) -> Choose:
        names = [each.name for each in self.candidates]
        if len(set(names)) < len(names):
            raise ValueError(f"a candidate's name stands twice among {', '.join(names)}; give each its own")
        return self

    def reads(self) -> tuple[str, ...]:
        """Texts and scores."""
        return tuple(dict.fromkeys(column for each in self.candidates for column in (each.text, each.score)))

    def writes(self) -> Mapping[str, pa.DataType | None]:
        """The text, whose it is, its score, the distance to the next, and why there is none."""
        numbers = {f"{self.name}_{noun}": pa.float32() for noun in ("score", "margin")}
        return {self.column: pa.string(), self.chooser: pa.string(), **numbers, f"{self.name}_reason": pa.string()}

    def gate(self) -> str:
        """The column with the reason of a row without a candidate."""
        return f"{self.name}_reason"

    def build(self) -> BatchFn:
        """Nothing to load."""
        return self._choose

    def _choose(self, rows: pa.Table) -> Mapping[str, Any]:
        columns = {name: rows[name].to_pylist() for name in self.reads()}
        found = []
        for row in range(rows.num_rows):
            scores = [
                columns[each.score][row] if (columns[each.text][row] or "").strip() else None
                for each in self.candidates
            ]
            place, margin = top(scores, best=self.best)
            if place is None:
                found.append((None, None, None, None, "no_candidate"))
            else:
                winner = self.candidates[place]
                found.append((columns[winner.text][row], winner.name, scores[place], margin, None))
        return {
            name: pa.array([values[place] for values in found], kind)
            for place, (name, kind) in enumerate(self.writes().items())
        }


def top(scores: Sequence[float | None], *, best: Literal["highest", "lowest"]) -> tuple[int | None, float | None]:
    """Place of the best score, the first of equal ones, and how far the next is behind. None and NaN are no scores."""
    sign = 1 if best == "highest" else -1
    known = [
        (sign * score, -place) for place, score in enumerate(scores) if score is not None and not math.isnan(score)
    ]
    if not known:
        return None, None
    (first, place), *rest = sorted(known, reverse=True)
    return -place, first - rest[0][0] if rest else None
