"""How many claims of each answer are wrong: answers split into claims, each claim a yes-or-no question to the picture.

Source: RLAIF-V (Yu et al. 2024, arXiv 2405.17220), divide and conquer: the score of an answer is the number of claims
that the judge denies. Prompts are our own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from potstill.models.engines.protocol import Completion, Engine, Request, Sampling
from potstill.pipelines import schema
from potstill.pipelines.synthesizers import prompts, replies
from potstill.pipelines.synthesizers.splitting import pieces
from potstill.pipelines.synthesizers.synthesizer import Columns, Row, Step, Synthesizer, UnparsableReply, user_turn
from potstill.pipelines.synthesizers.yes_no import CHECKED, YesNo

NO_CLAIM = "NONE"
"""What the model replies for an answer that states nothing about the picture."""
CLAIM = pa.struct([("claim", pa.string()), ("question", pa.string()), *CHECKED])


class ClaimJudge(Synthesizer):
    """Reads ``image`` and a list of answers; writes ``<name>_wrong``, the number of wrong claims of each answer.

    ``<name>_true`` has the mean probability of its claims (null without claims or probabilities); ``<name>_claims``
    all claims of each answer with ``claim``, ``question``, ``holds`` and ``probability``.
    """

    kind: Literal["claim_judge"] = "claim_judge"
    answers: str = "answers"
    """Column with the answers, a list of texts."""
    split: Literal["model", "sentences"] = "model"
    """``model`` writes claims and their questions, as published. ``sentences`` asks for each sentence whether it is
    true: cheaper and coarser, two model calls less."""
    judge: YesNo = YesNo()
    """How a question, or a sentence, is checked."""
    max_tokens: int = Field(default=512, ge=1)
    """Longest list of claims, in tokens."""
    prompts: ClassVar = ("claims", "claim_question", "question_yes_no", "text_true")

    def reads(self) -> tuple[str, ...]:
        """The picture and the answers."""
        return schema.IMAGE, self.answers

    def columns(self) -> Mapping[str, pa.DataType]:
        """Wrong claims, mean probability and all claims, for each answer."""
        kinds = {"wrong": pa.int16(), "true": pa.float32(), "claims": pa.list_(CLAIM)}
        return {f"{self.name}_{noun}": pa.list_(kind) for noun, kind in kinds.items()}

    def steps(self, engine: Engine) -> Sequence[Step]:
        """Claims, questions, verdicts: each for all answers at once."""
        check = Step("check", self._ask_checks, lambda row, reply: self.judge.read(reply), True, join=self._join_checks)
        if self.split == "sentences":
            return (check,)
        return (
            Step("claims", self._ask_claims, self._read_claims, join=lambda row, found: {"_claims": found}),
            Step("question", self._ask_questions, self._read_question, join=lambda row, found: {"_questions": found}),
            check,
        )

    def _ask_claims(self, row: Row) -> list[Request]:
        return [_words("claims", text, self.max_tokens) for text in row[self.answers] or ()]

    def _read_claims(self, row: Row, reply: Completion) -> list[str]:
        found = replies.lines(reply.text, complete=reply.finish_reason == "stop")
        if not found:
            raise UnparsableReply(f"neither claims nor {NO_CLAIM} in {reply.text!r}")
        return [] if found == [NO_CLAIM] else found

    def _ask_questions(self, row: Row) -> list[Request]:
        return [_words("claim_question", claim, 128) for claims in row["_claims"] for claim in claims]

    def _read_question(self, row: Row, reply: Completion) -> str:
        if not reply.text.strip():
            raise UnparsableReply("no question in an empty reply")
        return reply.text.strip()

    def _claims(self, row: Row) -> list[list[tuple[str, str | None]]]:
        """Of each answer its claims, each with its question; a sentence is checked as it stands."""
        if self.split == "sentences":
            return [[(part.strip(), None) for part in pieces(text, "sentence")] for text in row[self.answers] or ()]
        questions = iter(row["_questions"])
        return [[(claim, next(questions)) for claim in claims] for claims in row["_claims"]]

    def _ask_checks(self, row: Row) -> list[Request]:
        shipped = "text_true" if self.split == "sentences" else "question_yes_no"
        pairs = [pair for claims in self._claims(row) for pair in claims]
        return [self.judge.request(shipped, question or claim, row[schema.IMAGE]) for claim, question in pairs]

    def _join_checks(self, row: Row, found: Sequence[dict[str, Any]]) -> Columns:
        verdicts = iter(found)
        checked = [
            [{"claim": claim, "question": question, **next(verdicts)} for claim, question in claims]
            for claims in self._claims(row)
        ]
        return {
            f"{self.name}_wrong": [sum(not claim["holds"] for claim in claims) for claims in checked],
            f"{self.name}_true": [mean([claim["probability"] for claim in claims]) for claims in checked],
            f"{self.name}_claims": checked,
        }


def mean(values: Sequence[float | None]) -> float | None:
    """The mean; None for no values, or where one is missing."""
    return None if not values or None in values else sum(values) / len(values)


def _words(prompt: str, text: str, max_tokens: int) -> Request:
    turn = user_turn(prompts.load(prompt).fill(text=text))
    return Request([turn], sampling=Sampling(max_tokens=max_tokens))
