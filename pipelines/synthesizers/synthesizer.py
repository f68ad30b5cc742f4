"""What all synthesizers share: steps of one engine, run as one coroutine per row, that end early where they can."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pyarrow as pa
import xxhash
from pydantic import Field

from potstill.models.engines import loop
from potstill.models.engines.protocol import Completion, Engine, EngineDied, Message, Request
from potstill.models.engines.settings import SPEED, EngineSettings
from potstill.pipelines import schema
from potstill.pipelines.stage import BatchFn, RowStage, WorkerFault
from potstill.pipelines.synthesizers import prompts
from potstill.pipelines.synthesizers.shown import Shown

RETRY_TEMPERATURE = 0.7
"""Least temperature of a second try: a greedy reply would only come back."""

Row = Mapping[str, Any]
"""A row's columns and those that earlier steps have added; ``image`` is the decoded RGB picture, ``images`` all that it
has, as a group does."""
Columns = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Reject:
    """The row must go no further, for a ``reason`` in one word."""

    reason: str


class UnparsableReply(ValueError):
    """A reply from which nothing could be read: asked again with another seed, and in the end the row's error."""


@dataclass(frozen=True, slots=True)
class Step:
    """One question to the engine, or with ``join`` several at once: pure functions."""

    name: str
    ask: Callable[[Row], Any]
    """Row -> request, or with ``join`` a list of any number of requests. Seeds are set by the synthesizer."""
    read: Callable[[Row, Completion], Any]
    """Row and reply -> new columns, or the end of the row; with ``join`` whatever that takes. Raises
    :class:`UnparsableReply`: the one question is asked again."""
    sees: bool = False
    """Whether ``ask`` needs the picture."""
    when: Callable[[Row], bool] = lambda row: True
    """Whether the row needs this step; if not, its columns stay null."""
    join: Callable[[Row, Sequence[Any]], Columns | Reject] | None = None
    """Row and what was read from each reply, in the order of the requests -> new columns, or the end of the row."""


def require(row: Row, column: str) -> str:
    """The row's text in ``column``. Raises ``ValueError`` where it is null or blank."""
    text = row[column]
    if not text or not text.strip():
        raise ValueError(f"the column {column!r} holds no text; drop such rows with a filter before this stage")
    return text


def user_turn(text: str, *, image: bool | int = False) -> Message:
    """A user's message: the picture, if there is one, or so many pictures, then the text."""
    pictures = [{"type": "image"}] * int(image)
    return {"role": "user", "content": [*pictures, {"type": "text", "text": text}]}


class Synthesizer(RowStage):
    """A row stage that writes what an engine replies.

    Writes its own columns, ``<name>_prompt_tokens`` and ``<name>_completion_tokens`` (all steps and tries together),
    and, if it can reject, ``<name>_reason``.
    """

    speed: ClassVar[Mapping[str, Any]] = {"engine": set(SPEED)}
    batch_rows: ClassVar = 100_000
    """All that a chunk can hold: rows wait at the engine, which takes up as many as it can compute together."""

    engine: EngineSettings
    """The chat model. Stages with equal settings share one loaded model in a process."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Every draw is seeded from (this, stage name, sample id, step, place among its questions, try)."""
    tries: int = Field(default=2, ge=1, le=10)
    """How often a question is asked before an unparsable reply puts the row in quarantine."""

    prompts: ClassVar[tuple[str, ...]] = ()
    """Names of the shipped prompts that the steps use."""
    rejects: ClassVar[bool] = False
    """Whether a step can reject a row."""

    @abstractmethod
    def steps(self, engine: Engine) -> Sequence[Step]:
        """The questions in the order in which they are asked: cheapest and most selective first."""

    @abstractmethod
    def columns(self) -> Mapping[str, pa.DataType]:
        """Columns that the steps add, with their types."""

    def column(self, noun: str) -> str:
        """Name of a column: ``noun`` itself, after the stage's name where that is not its kind."""
        return noun if self.name == type(self).model_fields["kind"].default else f"{self.name}_{noun}"

    def reads(self) -> tuple[str, ...]:
        """Columns that the steps need: the picture, unless a synthesizer says more."""
        return (schema.IMAGE,)

    def gate(self) -> str | None:
        """The column with the reason of a rejected row."""
        return f"{self.name}_reason" if self.rejects else None

    def writes(self) -> Mapping[str, pa.DataType | None]:
        """Columns that the built function returns."""
        reason = {} if (gate := self.gate()) is None else {gate: pa.string()}
        tokens = {f"{self.name}_{kind}_tokens": pa.int32() for kind in ("prompt", "completion")}
        return {**self.columns(), **reason, **tokens}

    def identity(self) -> Mapping[str, Any]:
        """The engine's model and the prompts."""
        return {"engine": self.engine.identity(), "prompts": [prompts.load(name).identity() for name in self.prompts]}

    def chunks_in_flight(self) -> int:
        """As many as keep the engine busy."""
        return self.engine.chunks_in_flight

    def pictures(self, row: Row) -> Sequence[tuple[str, bytes]]:
        """Ids and encoded bytes of the pictures that steps see: the row's own, unless a synthesizer says more."""
        return [(row[schema.IMAGE_ID], row[schema.IMAGE])]

    def build(self) -> BatchFn:
        """Load the engine and return the function of a batch."""
        engine = self.engine.build()
        steps = self.steps(engine)

        def synthesize(rows: pa.Table) -> Mapping[str, Any]:
            results = loop.run(self._batch(engine, steps, rows.to_pylist()))
            for result in results:
                if isinstance(result, EngineDied):
                    raise WorkerFault(str(result)) from result
                if isinstance(result, WorkerFault) or not isinstance(result, Mapping | Exception):
                    raise result
            good = [result if isinstance(result, Mapping) else {} for result in results]
            written = {name: pa.array([row.get(name) for row in good], type) for name, type in self.writes().items()}
            return {**written, "error": [None if isinstance(result, Mapping) else result for result in results]}

        return synthesize

    async def _batch(
        self, engine: Engine, steps: Sequence[Step], rows: Sequence[dict[str, Any]]
    ) -> list[Columns | BaseException]:
        return await asyncio.gather(*(self._row(engine, steps, row) for row in rows), return_exceptions=True)

    async def _row(self, engine: Engine, steps: Sequence[Step], row: dict[str, Any]) -> Columns:
        """The new columns of one row."""
        new: dict[str, Any] = {f"{self.name}_prompt_tokens": 0, f"{self.name}_completion_tokens": 0}
        known = {name: value for name, value in row.items() if name.rpartition(".")[2] != schema.IMAGE}
        async with Shown(self.pictures(row) if any(step.sees for step in steps) else (), self.engine) as shown:
            for step in steps:
                if not step.when(known):
                    continue
                images = await shown.images() if step.sees else ()
                picture = {schema.IMAGE: images[0], schema.IMAGES_OF_GROUP: tuple(images)} if images else {}
                asked = shown.with_files(step.ask({**known, **picture}))
                outcome = await self._outcome(engine, step, known, asked, new)
                if isinstance(outcome, Reject):
                    new[f"{self.name}_reason"] = outcome.reason
                    break
                known.update(outcome)
                new.update(outcome)
        return new

    async def _outcome(self, engine: Engine, step: Step, row: Row, asked: Any, new: dict[str, Any]) -> Columns | Reject:
        """What the step makes of the row; its questions wait together, so that they share batches and prefixes."""
        if step.join is None:
            return await self._reply(engine, step, row, asked, new)
        questions = (self._reply(engine, step, row, request, new, str(place)) for place, request in enumerate(asked))
        found = await asyncio.gather(*questions, return_exceptions=True)
        for each in found:
            if isinstance(each, BaseException):
                raise each
        return step.join(row, found)

    async def _reply(
        self, engine: Engine, step: Step, row: Row, request: Request, new: dict[str, Any], *place: str
    ) -> Any:
        """What the step reads from the first reply that can be read; counts the tokens in ``new``."""
        failure = None
        for attempt in range(self.tries):
            sampling = replace(request.sampling, seed=self._seed(row, step.name, *place, str(attempt)))
            if attempt:
                sampling = replace(sampling, temperature=max(sampling.temperature, RETRY_TEMPERATURE))
            reply = await engine.generate(replace(request, sampling=sampling))
            for each in (reply, *reply.alternatives):
                new[f"{self.name}_prompt_tokens"] += each.prompt_tokens
                new[f"{self.name}_completion_tokens"] += each.completion_tokens
            try:
                return step.read(row, reply)
            except UnparsableReply as error:
                failure = error
        raise UnparsableReply(f"{step.name}, {self.tries} tries: {failure}")

    def _seed(self, row: Row, *key: str) -> int:
        key = (str(self.seed), self.name, row[schema.SAMPLE_ID], *key)
        return xxhash.xxh3_64_intdigest("\0".join(key).encode()) % 2**63
