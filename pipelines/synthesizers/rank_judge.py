"""Several responses in order from best to worst, asked in the order given and in the reverse.

Source: MLLM-as-a-Judge (Chen et al. 2024, arXiv 2402.04788), batch ranking. Prompt and second order are our own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import permutations
from typing import ClassVar, Literal

import pyarrow as pa
from pydantic import Field, field_validator, model_validator

from potstill.models.engines.protocol import Completion, Engine, Request, Sampling
from potstill.pipelines import schema
from potstill.pipelines.synthesizers import prompts
from potstill.pipelines.synthesizers.orders import mean_ranks, ranking
from potstill.pipelines.synthesizers.synthesizer import Columns, Row, Step, Synthesizer, require, user_turn

LETTERS = "ABCDEFGH"
MOST_LISTED = 4
"""Most responses of which all orders are listed for the engine."""


class RankJudge(Synthesizer):
    """Reads ``image``, an instruction and responses; writes ``<name>_ranks`` and ``<name>_consistent``.

    ``<name>_ranks`` has the mean place of each response over both orders, 1 the best, in the order of ``responses``.
    ``<name>_straight`` and ``<name>_swapped`` list the responses' numbers, from 0, from best to worst; consistent is a
    row in which both lists are the same.
    """

    kind: Literal["rank_judge"] = "rank_judge"
    instruction: str = schema.INSTRUCTION
    """Column with the instruction."""
    responses: tuple[str, ...] = Field(min_length=2, max_length=8)
    """Columns with the responses."""
    only_orders: bool = False
    """Let the engine reply nothing but an order; for at most four responses, which have 24."""
    max_tokens: int = Field(default=256, ge=1)
    """Most tokens of a reply."""
    prompts: ClassVar = ("rank_judge",)

    @field_validator("responses")
    @classmethod
    def _different(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) < len(value):
            raise ValueError(f"a column stands twice among {', '.join(value)}; name each once")
        return value

    @model_validator(mode="after")
    def _few_orders(self) -> RankJudge:
        if self.only_orders and len(self.responses) > MOST_LISTED:
            raise ValueError(f"only_orders: {len(self.responses)} responses, limit {MOST_LISTED}; set it to false")
        return self

    def reads(self) -> tuple[str, ...]:
        """The picture and the texts."""
        return tuple(dict.fromkeys((schema.IMAGE, self.instruction, *self.responses)))

    def columns(self) -> Mapping[str, pa.DataType]:
        """Mean places, agreement, and the order of each reply."""
        order = pa.list_(pa.int8())
        kinds = {"ranks": pa.list_(pa.float32()), "consistent": pa.bool_(), "straight": order, "swapped": order}
        return {f"{self.name}_{noun}": kind for noun, kind in kinds.items()}

    def steps(self, engine: Engine) -> Sequence[Step]:
        """The same question with the responses in one order, then in the reverse."""
        places = list(range(len(self.responses)))
        return (
            Step("straight", partial(self._ask, places), partial(self._read, places), sees=True),
            Step("swapped", partial(self._ask, places[::-1]), partial(self._read_swapped, places[::-1]), sees=True),
        )

    def _ask(self, shown: Sequence[int], row: Row) -> Request:
        answers = [require(row, self.responses[place]) for place in shown]
        lettered = "\n\n".join(f"Answer {letter}: {text}" for letter, text in zip(LETTERS, answers, strict=False))
        text = prompts.load("rank_judge").fill(instruction=require(row, self.instruction), answers=lettered)
        sampling = Sampling(max_tokens=self.max_tokens)
        orders = tuple(" > ".join(order) for order in permutations(LETTERS[: len(shown)])) if self.only_orders else None
        return Request([user_turn(text, image=True)], images=(row[schema.IMAGE],), sampling=sampling, choices=orders)

    def _read(self, shown: Sequence[int], row: Row, reply: Completion) -> Columns:
        return {f"{self.name}_straight": [shown[place] for place in ranking(reply.text, len(shown))]}

    def _read_swapped(self, shown: Sequence[int], row: Row, reply: Completion) -> Columns:
        straight = row[f"{self.name}_straight"]
        swapped = [shown[place] for place in ranking(reply.text, len(shown))]
        return {
            f"{self.name}_swapped": swapped,
            f"{self.name}_ranks": mean_ranks([straight, swapped]),
            f"{self.name}_consistent": straight == swapped,
        }
