"""The best and the worst of several answers by their scores: a pair for preference training, made without a model.

Source: RLAIF-V (Yu et al. 2024, arXiv 2405.17220) and Li et al. 2024 (arXiv 2402.10884): pairs by scores that differ.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from potstill.pipelines.stage import BatchFn, RowStage


class Preference(RowStage):
    """Reads a list of answers and a list of scores; writes ``chosen``, ``rejected`` and the ``margin`` between them.

    A row goes no further with fewer than two scored answers (``one_answer``), or with a margin not above
    ``least_margin`` (``tie``); its texts and its margin stay. Of equal scores the answer that stands first is taken.
    """

    kind: Literal["preference"] = "preference"
    answers: str = "answers"
    """Column with the answers, a list of texts."""
    scores: str
    """Column with as many scores."""
    best: Literal["highest", "lowest"] = "highest"
    """Which scores are good: ``lowest`` for counts of mistakes."""
    least_margin: float = Field(default=0.0, ge=0)
    """The two scores must lie further apart than this."""
    batch_rows: ClassVar[int] = 1024

    def reads(self) -> tuple[str, ...]:
        """Both columns."""
        return self.answers, self.scores

    def writes(self) -> Mapping[str, pa.DataType | None]:
        """Two texts, their scores, the difference, and why there is no pair."""
        prefix = "" if self.name == "preference" else f"{self.name}_"
        kinds = {"chosen": pa.string(), "rejected": pa.string(), "chosen_score": pa.float32()}
        kinds |= {"rejected_score": pa.float32(), "margin": pa.float32()}
        return {f"{prefix}{noun}": kind for noun, kind in kinds.items()} | {f"{self.name}_reason": pa.string()}

    def gate(self) -> str:
        """The column with the reason of a row without a pair."""
        return f"{self.name}_reason"

    def build(self) -> BatchFn:
        """Nothing to load."""
        return self._pairs

    def _pairs(self, rows: pa.Table) -> Mapping[str, Any]:
        both = zip(rows[self.answers].to_pylist(), rows[self.scores].to_pylist(), strict=True)
        found = [self._pair(answers or (), scores or ()) for answers, scores in both]
        return {
            name: pa.array([values[place] for values in found], kind)
            for place, (name, kind) in enumerate(self.writes().items())
        }

    def _pair(self, answers: Sequence[str], scores: Sequence[float | None]) -> tuple[Any, ...]:
        """Values of the written columns."""
        ends = extremes(scores, best=self.best)
        if ends is None:
            return None, None, None, None, None, "one_answer"
        chosen, rejected = ends
        margin = abs(scores[chosen] - scores[rejected])
        reason = None if margin > self.least_margin else "tie"
        return answers[chosen], answers[rejected], scores[chosen], scores[rejected], margin, reason


def extremes(scores: Sequence[float | None], *, best: Literal["highest", "lowest"]) -> tuple[int, int] | None:
    """Places of the best and the worst score, the first of equal ones; None for fewer than two scores.

    A missing score, or NaN, is no score. Equal scores alone give the first two places.
    """
    sign = 1 if best == "highest" else -1
    known = {place: sign * score for place, score in enumerate(scores) if score is not None and not math.isnan(score)}
    if len(known) < 2:
        return None
    chosen = max(known, key=known.__getitem__)
    return chosen, min((place for place in known if place != chosen), key=known.__getitem__)
