"""Answer an instruction about a picture: the last step of Oasis, and of any other way to get instructions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from potstill.models.engines.protocol import Completion, Engine, Request, Sampling
from potstill.pipelines import schema
from potstill.pipelines.synthesizers.synthesizer import Columns, Reject, Row, Step, Synthesizer, require, user_turn


class Respond(Synthesizer):
    """Reads ``image`` and an instruction; writes ``response`` (text) and ``finish_reason`` (``stop`` or ``length``).

    Source: Oasis (Zhang et al. 2025, arXiv 2503.08741), section 3. A reply without words is rejected
    (``empty_response``); one that reached the token limit is kept and marked, for a filter to decide.
    """

    kind: Literal["respond"] = "respond"
    instruction: str = schema.INSTRUCTION
    """Column with the instruction."""
    temperature: float = Field(default=0.0, ge=0, le=5)
    """0: always the likeliest token."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Draw among the likeliest tokens that together have this probability."""
    max_tokens: int = Field(default=512, ge=1)
    """Longest response, in tokens; one that reaches it has ``finish_reason`` ``length``."""
    rejects: ClassVar = True

    def reads(self) -> tuple[str, ...]:
        """The picture and the instruction."""
        return schema.IMAGE, self.instruction

    def columns(self) -> Mapping[str, pa.DataType]:
        """The response, and why it ended."""
        return {self.column(schema.RESPONSE): pa.string(), self.column("finish_reason"): pa.string()}

    def steps(self, engine: Engine) -> Sequence[Step]:
        """One question."""
        sampling = Sampling(self.temperature, top_p=self.top_p, max_tokens=self.max_tokens)

        def ask(row: Row) -> Request:
            turn = user_turn(require(row, self.instruction), image=True)
            return Request(messages=[turn], images=(row[schema.IMAGE],), sampling=sampling)

        def read(row: Row, reply: Completion) -> Columns | Reject:
            if not reply.text.strip():
                return Reject("empty_response")
            names = self.columns()
            return dict(zip(names, (reply.text.strip(), reply.finish_reason), strict=True))

        return (Step("respond", ask, read, sees=True),)
