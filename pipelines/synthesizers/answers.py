"""Several answers to one instruction, sampled: what preference pairs are made of.

Source: RLAIF-V (Yu et al. 2024, arXiv 2405.17220): candidates of one model under one prompt, by sampling alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from potstill.models.engines.protocol import Completion, Engine, Request, Sampling
from potstill.pipelines import schema
from potstill.pipelines.synthesizers.synthesizer import Columns, Row, Step, Synthesizer, require, user_turn


class Answers(Synthesizer):
    """Reads ``image`` and an instruction; writes ``<name>``, the different answers, and how many were cut off.

    Answers without words, answers said before, and (``whole``) answers that the token limit cut off are left out.
    A row with fewer than two answers left is rejected (``alike``): there is nothing to compare.
    """

    kind: Literal["answers"] = "answers"
    instruction: str = schema.INSTRUCTION
    """Column with the instruction."""
    n: int = Field(default=4, ge=2, le=64)
    """How many answers are sampled; published: 10."""
    temperature: float = Field(default=1.0, gt=0, le=5)
    """How freely they are drawn."""
    top_k: int = Field(default=0, ge=0)
    """Draw among so many likeliest tokens; 0: among all."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Draw among the likeliest tokens that together have this probability."""
    max_tokens: int = Field(default=512, ge=1)
    """Longest answer, in tokens."""
    whole: bool = True
    """Leave out answers that reach ``max_tokens``."""
    rejects: ClassVar = True

    def reads(self) -> tuple[str, ...]:
        """The picture and the instruction."""
        return schema.IMAGE, self.instruction

    def columns(self) -> Mapping[str, pa.DataType]:
        """The answers, and how many reached the token limit."""
        return {self.name: pa.list_(pa.string()), f"{self.name}_cut_off": pa.int16()}

    def steps(self, engine: Engine) -> Sequence[Step]:
        """The instruction, with ``n`` replies."""
        return (Step("answer", self._ask, self._read, sees=True),)

    def _ask(self, row: Row) -> Request:
        turn = user_turn(require(row, self.instruction), image=True)
        sampling = Sampling(self.temperature, self.top_k, self.top_p, self.max_tokens, n=self.n)
        return Request([turn], images=(row[schema.IMAGE],), sampling=sampling)

    def _read(self, row: Row, reply: Completion) -> Columns:
        found = (reply, *reply.alternatives)
        complete = [each for each in found if each.finish_reason == "stop"]
        texts = different([each.text for each in (complete if self.whole else found)])
        return {
            self.name: texts,
            f"{self.name}_cut_off": len(found) - len(complete),
            f"{self.name}_reason": None if len(texts) > 1 else "alike",
        }


def different(texts: Sequence[str]) -> list[str]:
    """The texts with words, stripped, each once, in order."""
    return [text for text in dict.fromkeys(text.strip() for text in texts) if any(map(str.isalnum, text))]
