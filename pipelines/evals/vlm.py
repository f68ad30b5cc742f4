"""A chat model's answers to questions about pictures, beside the answers of the rows."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Literal

import pyarrow as pa
from pydantic import Field, field_validator

from potstill.config import RequestError
from potstill.models.engines.settings import EngineSettings
from potstill.models.metrics.vqa import anls, exact_match, soft_accuracy
from potstill.pipelines import schema
from potstill.pipelines.errors import RunFailed
from potstill.pipelines.evals.evaluation import Evaluation, Measured
from potstill.pipelines.evals.reading import Reader, encoded, key_of, texts
from potstill.pipelines.stage import BatchFn, WorkerFault
from potstill.pipelines.synthesizers.respond import Respond

PLACE = "{question}"
METRICS = {"exact_match": exact_match, "anls": anls, "vqa_accuracy": soft_accuracy}
BY_SEVERAL = frozenset({"vqa_accuracy"})
"""Metrics that need rows with several answers."""


@dataclass(slots=True)
class Turn:
    """A row's question, and what became of it."""

    question: str
    answers: list[str]
    picture: str = ""
    reply: str | None = None
    finish_reason: str | None = None
    error: Exception | None = None


class VlmEvaluation(Evaluation):
    """Exact match, ANLS and, where rows have several answers, VQA accuracy of a chat model."""

    kind: Literal["vlm"] = "vlm"
    engine: EngineSettings
    """The chat model."""
    image: str = schema.IMAGE
    """Column of pictures."""
    question: str = schema.INSTRUCTION
    """Column with the question."""
    answer: str = schema.RESPONSE
    """Column with the right answer, or a list of answers: of several people, say."""
    prompt: str = PLACE
    """What the model is asked, with the place {question}; say here how short the answer must be."""
    temperature: float = Field(default=0.0, ge=0, le=5)
    """0: always the likeliest token."""
    max_tokens: int = Field(default=128, ge=1)
    """Longest answer, in tokens."""
    window: int = Field(default=512, ge=1, le=100_000)
    """Rows that are asked at the same time; the engine makes batches of them."""

    @field_validator("prompt")
    @classmethod
    def _has_place(cls, value: str) -> str:
        if PLACE not in value:
            raise ValueError(f"the prompt has no place {PLACE}")
        return value

    def columns(self) -> tuple[str, ...]:
        """The picture, the question and the answers."""
        return self.image, self.question, self.answer

    def model_identity(self) -> Mapping[str, Any]:
        """The engine's model."""
        return {"kind": self.engine.kind, "model": self.engine.model, **self.engine.identity()}

    def measure(self, rows: Reader) -> Measured:
        """Ask about every row that has a question and an answer."""
        begin = time.monotonic()
        respond = {"engine": self.engine, "temperature": self.temperature, "max_tokens": self.max_tokens}
        try:
            ask = Respond.model_validate({**respond, "seed": self.seed}).build()
        except (OSError, ValueError, ImportError) as error:
            raise RequestError(f"cannot load the chat model {self.engine.model!r}: {error}") from error
        loading = round(time.monotonic() - begin, 3)
        turns: list[Turn] = []
        for table in rows.tables(self.columns(), self.window):
            turns += self._turns(ask, table, len(turns))
        found = self._measured(turns)
        found.facts["loading_seconds"] = loading
        return found

    def _turns(self, ask: BatchFn, table: pa.Table, first: int) -> list[Turn]:
        """The rows of a window, those that can be asked with their replies."""
        texts_of = zip(table[self.question].to_pylist(), table[self.answer].to_pylist(), strict=True)
        turns = [Turn(" ".join(texts(question)), texts(answers)) for question, answers in texts_of]
        ids = table[schema.SAMPLE_ID].to_pylist() if schema.SAMPLE_ID in table.column_names else count(first)
        asked: list[tuple[Turn, str, bytes]] = []
        for turn, id_, cell in zip(turns, ids, table[self.image].to_pylist(), strict=False):
            try:
                data = encoded(cell)
            except Exception as error:  # noqa: BLE001 (whatever one picture does, the others go on)
                turn.error = error
                continue
            turn.picture = key_of(data)
            if turn.question and turn.answers:
                asked.append((turn, str(id_), data))
        if asked:
            self._ask(ask, asked)
        return turns

    def _ask(self, ask: BatchFn, asked: Sequence[tuple[Turn, str, bytes]]) -> None:
        """Put a reply, or an error, into each turn."""
        turns, ids, data = zip(*asked, strict=True)
        columns = {
            schema.SAMPLE_ID: ids,
            schema.IMAGE_ID: [turn.picture for turn in turns],
            schema.INSTRUCTION: [self.prompt.replace(PLACE, turn.question) for turn in turns],
            schema.IMAGE: pa.array(data, pa.large_binary()),
        }
        try:
            new = ask(pa.table(columns))
        except WorkerFault as error:
            raise RunFailed(f"the chat model died: {error}") from error
        replies, ends = new[schema.RESPONSE].to_pylist(), new["finish_reason"].to_pylist()
        for turn, reply, end, error in zip(turns, replies, ends, new[schema.ERROR], strict=True):
            turn.error = error
            if error is None:  # a reply without words is rejected there and a wrong answer here
                turn.reply, turn.finish_reason = reply or "", end or "stop"

    def _measured(self, turns: Sequence[Turn]) -> Measured:
        answered = [turn for turn in turns if turn.reply is not None]
        sound = [turn for turn in turns if turn.error is None]
        if sound and not answered:
            raise RequestError(f"no row has both a question in {self.question!r} and an answer in {self.answer!r}")
        found = Measured(errors=[turn.error for turn in turns])
        several = any(len(turn.answers) > 1 for turn in answered)
        pictures = [turn.picture for turn in answered]
        for name in ("question", "answers", "reply", "finish_reason"):
            found.columns[name] = [getattr(turn, name) for turn in turns]
        for name, metric in METRICS.items():
            if name in BY_SEVERAL and not several:
                continue
            scores = [None if turn.reply is None else metric(turn.reply, turn.answers) for turn in turns]
            found.columns[name] = scores
            found.metrics[name] = self.mean(name, [score for score in scores if score is not None], pictures)
        silent = ["no answer" if turn.question else "no question" for turn in sound if turn.reply is None]
        found.left_out = dict(Counter(silent))
        cut = sum(turn.finish_reason == "length" for turn in answered)
        found.facts = {"pictures": len(set(pictures)), "replies_cut": cut}
        return found
