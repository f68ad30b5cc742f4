"""The mean of what a judge gave to the rows, by column of scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from potstill.config import RequestError
from potstill.models.metrics.judge_score import judge_score
from potstill.pipelines.evals.evaluation import Evaluation, Measured
from potstill.pipelines.evals.reading import Reader


class JudgeEvaluation(Evaluation):
    """Mean judged scores, as the stages ``oasis_judge``, ``metric_judge`` or ``prompt`` have written them."""

    kind: Literal["judge"] = "judge"
    scores: tuple[str, ...] = Field(min_length=1)
    """Columns of numbers, or of lists of numbers."""

    def columns(self) -> tuple[str, ...]:
        """The scores."""
        return self.scores

    def model_identity(self) -> Mapping[str, Any]:
        """None: the scores are there already."""
        return {}

    def measure(self, rows: Reader) -> Measured:
        """A mean per column. Rows of one picture are drawn together."""
        found = Measured(columns={name: rows.values(name) for name in self.scores}, errors=[None] * rows.count)
        pictures = rows.pictures()
        for name in self.scores:
            try:
                estimate, missing = judge_score(
                    found.columns[name],
                    groups=pictures,
                    seed=self.seed,
                    resamples=self.resamples,
                    confidence=self.confidence,
                )
            except (TypeError, ValueError) as error:
                raise RequestError(f"column {name!r} holds no scores ({error}); name columns of numbers") from error
            if not estimate.n:
                raise RequestError(f"no row has a score in {name!r}; name another column")
            found.metrics[name] = estimate
            found.left_out |= {f"no {name}": missing} if missing else {}
        return found
