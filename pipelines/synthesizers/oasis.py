"""Oasis: a picture alone makes the model write an instruction; what is one is copied out and judged.

Source: Zhang et al. 2025, arXiv 2503.08741: sampling and judges as published, prompts ours. Judges write numbers,
a ``filter`` decides (published: solvability and clarity >= 3, their sum >= 7, hallucination = nonsense = 5).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, ClassVar, Literal

import pyarrow as pa
from pydantic import Field, model_validator

from potstill.config import Settings
from potstill.models.engines.protocol import Completion, Engine, Request, Sampling
from potstill.pipelines import schema
from potstill.pipelines.synthesizers import prompts
from potstill.pipelines.synthesizers.extraction import extracted
from potstill.pipelines.synthesizers.synthesizer import Columns, Reject, Row, Step, Synthesizer, require, user_turn
from potstill.pipelines.synthesizers.verdict import SCORES, Mode, score

Score = Literal["nonsense", "solvability", "clarity", "hallucination"]
JUDGES: Mapping[Score, bool] = {"nonsense": False, "solvability": True, "clarity": True, "hallucination": True}
"""Score -> whether its judge sees the picture; in the order in which they are asked."""


class Hook(Settings):
    """How the model is let go on as the user."""

    temperature: float = Field(default=1.0, ge=0, le=5)
    top_k: int = Field(default=20, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    min_tokens: int = Field(default=50, ge=0)
    max_tokens: int = Field(default=512, ge=1)
    frequency_penalty: float = Field(default=0.0, ge=-2, le=2)
    """Published: 1.0 for Qwen2.5-VL, with a presence penalty of 1.0."""
    presence_penalty: float = Field(default=0.0, ge=-2, le=2)


class OasisInstruct(Synthesizer):
    """Reads ``image``; writes ``instruction``, ``<name>_hook`` (all that the model wrote) and its finish reason."""

    kind: Literal["oasis_instruct"] = "oasis_instruct"
    hook: Hook = Hook()
    """How the model is let speak about the picture unasked."""
    extract_tokens: int = Field(default=512, ge=1)
    """Most tokens of the extracted instruction."""
    verbatim: bool = True
    """Reject an extracted instruction whose letters do not stand in the hooked text: the extractor made it up."""
    prompts: ClassVar = ("oasis_extract",)
    rejects: ClassVar = True

    @model_validator(mode="after")
    def _can_hook(self) -> OasisInstruct:
        if not self.engine.hooks:
            raise ValueError(f"an engine of kind {self.engine.kind!r} takes no raw prompt; choose vllm or transformers")
        return self

    def columns(self) -> Mapping[str, pa.DataType]:
        """Texts, and why the hooked one ended."""
        names = (self.column(schema.INSTRUCTION), f"{self.name}_hook", f"{self.name}_hook_finish_reason")
        return dict.fromkeys(names, pa.string())

    def steps(self, engine: Engine) -> Sequence[Step]:
        """Hook with the picture alone, then extract without it."""
        instruction, hook, ended = self.columns()
        prompt, sampling = engine.hook_prompt(), Sampling(**self.hook.model_dump())

        def ask_hook(row: Row) -> Request:
            return Request(prompt=prompt, images=(row[schema.IMAGE],), sampling=sampling)

        def read_hook(row: Row, reply: Completion) -> Columns | Reject:
            return {hook: reply.text, ended: reply.finish_reason} if reply.text.strip() else Reject("empty_hook")

        def ask_extract(row: Row) -> Request:
            turn = user_turn(prompts.load("oasis_extract").fill(text=row[hook].strip()))
            return Request(messages=[turn], sampling=Sampling(max_tokens=self.extract_tokens))

        def read_extract(row: Row, reply: Completion) -> Columns | Reject:
            complete, whole = reply.finish_reason == "stop", row[ended] == "stop"
            found = extracted(reply.text, row[hook], complete=complete, whole=whole, verbatim=self.verbatim)
            return found if isinstance(found, Reject) else {instruction: found}

        return Step("hook", ask_hook, read_hook, sees=True), Step("extract", ask_extract, read_extract)


class OasisJudge(Synthesizer):
    """Reads ``image`` and an instruction; writes the scores of :data:`JUDGES`, each 1..5 (int8).

    In the mode ``expected`` each score is the likeliest, and ``<score>_expected`` (float32) the mean, 1 to 5.
    """

    kind: Literal["oasis_judge"] = "oasis_judge"
    instruction: str = schema.INSTRUCTION
    """Column with the instruction."""
    stop_below: dict[Score, Annotated[int, Field(ge=1, le=5)]] = Field(default_factory=dict)
    """Score -> least value at which the later judges are still asked. Saves their cost; their scores are then null, and
    judging starts anew when a bound changes. Empty: every row gets all scores, and thresholds may change for free."""
    max_tokens: int = Field(default=64, ge=1)
    """Longest verdict, in tokens."""
    mode: Mode = "text"
    """``text``: read the verdict from the reply. ``expected``: let only scores be replied, and write their mean too."""
    prompts: ClassVar = tuple(f"oasis_{name}" for name in JUDGES)

    def reads(self) -> tuple[str, ...]:
        """The picture and the instruction."""
        return schema.IMAGE, self.instruction

    def columns(self) -> Mapping[str, pa.DataType]:
        """The four scores, with their means where these are asked for."""
        means = {self.column(f"{name}_expected"): pa.float32() for name in JUDGES if self.mode == "expected"}
        return {self.column(name): pa.int8() for name in JUDGES} | means

    def steps(self, engine: Engine) -> Sequence[Step]:
        """The judge of the text first, then those of text and picture."""
        return [
            Step(name, partial(self._ask, name), partial(self._read, name), sees, self._goes_on)
            for name, sees in JUDGES.items()
        ]

    def _goes_on(self, row: Row) -> bool:
        return all((row.get(self.column(name)) or bound) >= bound for name, bound in self.stop_below.items())

    def _ask(self, name: Score, row: Row) -> Request:
        text = prompts.load(f"oasis_{name}").fill(instruction=require(row, self.instruction))
        turn, sampling = user_turn(text, image=JUDGES[name]), Sampling(max_tokens=self.max_tokens)
        images = (row[schema.IMAGE],) if JUDGES[name] else ()
        return Request([turn], images=images, sampling=sampling, choices=SCORES if self.mode == "expected" else None)

    def _read(self, name: Score, row: Row, reply: Completion) -> Columns:
        likeliest, mean = score(reply, self.mode)
        means = {} if mean is None else {self.column(f"{name}_expected"): mean}
        return {self.column(name): likeliest, **means}
