"""Which of two responses is better, asked in both orders.

Source: MLLM-as-a-Judge (Chen et al. 2024, arXiv 2402.04788), pair comparison; both orders as in Zheng et al. 2023
(arXiv 2306.05685); probabilities as in RLAIF (Lee et al. 2023, arXiv 2309.00267). The prompt is our own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import ClassVar, Literal

import pyarrow as pa
from pydantic import Field, model_validator

from potstill.models.engines.protocol import Completion, Engine, Request, Sampling
from potstill.pipelines import schema
from potstill.pipelines.synthesizers import prompts
from potstill.pipelines.synthesizers.orders import letter, winner
from potstill.pipelines.synthesizers.synthesizer import Columns, Row, Step, Synthesizer, require, user_turn
from potstill.pipelines.synthesizers.verdict import Mode, shares

LETTERS = ("A", "B", "C")


class PairJudge(Synthesizer):
    """Reads ``image``, an instruction and two responses; writes ``<name>_winner``: a, b or tie.

    ``<name>_consistent`` says whether both orders gave the same verdict; if not, the winner is a tie.
    ``<name>_straight`` and ``<name>_swapped`` hold the letters replied: A is the response shown first, C a tie. In the
    mode ``expected``, ``<name>_preference`` is how likely a is better, 0 to 1, as a mean of both orders; a tie is half.
    """

    kind: Literal["pair_judge"] = "pair_judge"
    instruction: str = schema.INSTRUCTION
    """Column with the instruction."""
    a: str = schema.RESPONSE
    """Column with one response."""
    b: str
    """Column with the other response."""
    only_letters: bool = True
    """Let the engine reply nothing but a letter; if false it may reason, and the letter is looked for in its words."""
    max_tokens: int = Field(default=256, ge=1)
    """Most tokens of a reply that may reason."""
    mode: Mode = "text"
    """``expected``: write the preference from the probabilities of the letters, too. Needs ``only_letters``."""
    prompts: ClassVar = ("pair_judge",)

    @model_validator(mode="after")
    def _bounded(self) -> PairJudge:
        if self.mode == "expected" and not self.only_letters:
            raise ValueError("mode: expected needs the probabilities of the letters; set only_letters to true")
        return self

    def reads(self) -> tuple[str, ...]:
        """The picture and the three texts."""
        return schema.IMAGE, self.instruction, self.a, self.b

    def columns(self) -> Mapping[str, pa.DataType]:
        """Winner, agreement, and the letter of each order."""
        kinds = {"winner": pa.string(), "consistent": pa.bool_(), "straight": pa.string(), "swapped": pa.string()}
        kinds |= {"preference": pa.float32()} if self.mode == "expected" else {}
        return {f"{self.name}_{noun}": kind for noun, kind in kinds.items()}

    def steps(self, engine: Engine) -> Sequence[Step]:
        """The same question with the responses in one order, then in the other."""
        return (
            Step("straight", partial(self._ask, self.a, self.b), self._read_straight, sees=True),
            Step("swapped", partial(self._ask, self.b, self.a), self._read_swapped, sees=True),
        )

    def _ask(self, first: str, second: str, row: Row) -> Request:
        texts = {"instruction": require(row, self.instruction), "first": require(row, first)}
        text = prompts.load("pair_judge").fill(**texts, second=require(row, second))
        return Request(
            [user_turn(text, image=True)],
            images=(row[schema.IMAGE],),
            sampling=Sampling(max_tokens=self.max_tokens),
            choices=LETTERS if self.only_letters else None,
        )

    def _read_straight(self, row: Row, reply: Completion) -> Columns:
        likely = {"_straight": first_better(shares(reply))} if self.mode == "expected" else {}
        return {f"{self.name}_straight": letter(reply.text, "".join(LETTERS)), **likely}

    def _read_swapped(self, row: Row, reply: Completion) -> Columns:
        swapped = letter(reply.text, "".join(LETTERS))
        better, consistent = winner(row[f"{self.name}_straight"], swapped)
        columns = {"winner": better, "consistent": consistent, "swapped": swapped}
        if self.mode == "expected":
            columns["preference"] = (row["_straight"] + 1 - first_better(shares(reply))) / 2
        return {f"{self.name}_{noun}": value for noun, value in columns.items()}


def first_better(odds: Mapping[str, float]) -> float:
    """How likely the response shown first is better, from the probabilities of the letters; a tie counts half."""
    return odds["A"] + odds["C"] / 2
