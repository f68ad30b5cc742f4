"""Answers graded on several metrics, 1 to 5 each, with a weighted mean: the grades that preference pairs come from.

Source: Li et al. 2024 (arXiv 2402.10884): a teacher grades sampled answers on five quality metrics, and pairs are made
by the difference. The paper gives no wordings; metrics, prompt and weights are our own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

import pyarrow as pa
from pydantic import Field, model_validator

from potstill.models.engines.protocol import Completion, Engine, Request, Sampling
from potstill.pipelines import schema
from potstill.pipelines.synthesizers import prompts
from potstill.pipelines.synthesizers.prompt_text import PromptText
from potstill.pipelines.synthesizers.prompts import Prompt
from potstill.pipelines.synthesizers.synthesizer import Columns, Row, Step, Synthesizer, require, user_turn
from potstill.pipelines.synthesizers.verdict import SCORES, Mode, score

METRICS = {
    "helpfulness": "whether it gives the person who wrote the instruction what they need",
    "faithfulness": "whether all that it says of the picture can be seen in the picture",
    "correctness": "whether what it concludes and states is right",
    "coherence": "whether it is clear, in good order and free of contradictions",
    "conciseness": "whether it says what is needed without repetition or padding",
}
PLACES = {"metric", "meaning", "instruction", "answer"}


class MetricJudge(Synthesizer):
    """Reads ``image``, an instruction and a list of answers; writes ``<name>_<metric>`` and ``<name>_mean``.

    Each is a list of float32, 1 to 5, one for each answer; the mean is weighted by ``weights``.
    """

    kind: Literal["metric_judge"] = "metric_judge"
    instruction: str = schema.INSTRUCTION
    """Column with the instruction."""
    answers: str = "answers"
    """Column with the answers, a list of texts."""
    metrics: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")], str] = Field(default=METRICS, min_length=1)
    """Metric -> what is rated, as it stands in the prompt. 5 must be the best."""
    weights: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    """Metric -> its weight in the mean; those not named weigh 1."""
    mode: Mode = "expected"
    """``expected``: the mean score under the probabilities of 1 to 5. ``text``: the score in a free reply."""
    prompt: PromptText | None = None
    """The question, instead of the shipped one, with any of the places {metric}, {meaning}, {instruction}, {answer}."""
    max_tokens: int = Field(default=64, ge=1)
    """Longest reply, in tokens."""
    prompts: ClassVar = ("metric_judge",)

    @model_validator(mode="after")
    def _fits(self) -> MetricJudge:
        unknown = sorted(self.weights.keys() - self.metrics.keys())
        if unknown:
            raise ValueError(f"weights of unknown metrics {', '.join(unknown)}; there are {', '.join(self.metrics)}")
        if "mean" in self.metrics:
            raise ValueError("a metric cannot be called 'mean', which is the column of the mean; rename it")
        places = set(self._prompt().places)
        if places - PLACES or "answer" not in places:
            raise ValueError(f"the prompt must have the place {{answer}} and none beside {', '.join(sorted(PLACES))}")
        return self

    def _prompt(self) -> Prompt:
        return prompts.load("metric_judge") if self.prompt is None else Prompt("metric_judge", 1, self.prompt)

    def reads(self) -> tuple[str, ...]:
        """The picture, the instruction and the answers."""
        return schema.IMAGE, self.instruction, self.answers

    def columns(self) -> Mapping[str, pa.DataType]:
        """For each answer its grades and their mean."""
        return {f"{self.name}_{noun}": pa.list_(pa.float32()) for noun in (*self.metrics, "mean")}

    def steps(self, engine: Engine) -> Sequence[Step]:
        """Every metric of every answer at once, over one picture."""
        return (Step("grade", self._ask, self._read, sees=True, join=self._join),)

    def _ask(self, row: Row) -> list[Request]:
        prompt, instruction = self._prompt(), require(row, self.instruction)
        requests = []
        for metric, meaning in self.metrics.items():
            for answer in row[self.answers] or ():
                values = {"metric": metric, "meaning": meaning, "instruction": instruction, "answer": answer}
                turn = user_turn(prompt.fill(**{place: values[place] for place in prompt.places}), image=True)
                requests.append(
                    Request(
                        [turn],
                        images=(row[schema.IMAGE],),
                        sampling=Sampling(max_tokens=self.max_tokens),
                        choices=SCORES if self.mode == "expected" else None,
                    )
                )
        return requests

    def _read(self, row: Row, reply: Completion) -> float:
        grade, mean = score(reply, self.mode)
        return float(grade) if mean is None else mean

    def _join(self, row: Row, found: Sequence[float]) -> Columns:
        count = len(row[self.answers] or ())
        grades = {metric: list(found[place * count : (place + 1) * count]) for place, metric in enumerate(self.metrics)}
        means = weighted(grades, self.weights)
        return {f"{self.name}_{noun}": values for noun, values in {**grades, "mean": means}.items()}


def weighted(grades: Mapping[str, Sequence[float]], weights: Mapping[str, float]) -> list[float]:
    """For each answer the mean of its grades; a metric without a weight weighs 1."""
    total = sum(weights.get(metric, 1.0) for metric in grades)
    columns = zip(*grades.values(), strict=True)
    return [sum(weights.get(m, 1.0) * g for m, g in zip(grades, column, strict=True)) / total for column in columns]
