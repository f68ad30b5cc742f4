"""A question of a ``prompt`` stage as a step: which words it gets from the row, and where its replies go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from potstill.models.engines.protocol import Completion, Request
from potstill.pipelines.filters.filter import Filter
from potstill.pipelines.synthesizers import prompt_forms
from potstill.pipelines.synthesizers.prompt_step import ITEM, PromptStep
from potstill.pipelines.synthesizers.synthesizer import Columns, Reject, Row, Step

Scope = Mapping[str, tuple[str, pa.DataType]]
"""Name in a prompt or condition -> column of this stage, and its type; other names are columns written before it."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, with the replies before it and those up to it, and the column for the reason why a row ends."""

    question: PromptStep
    before: Scope
    after: Scope
    reason: str
    guided: bool
    """Whether the engine keeps a JSON reply to its schema."""

    def step(self) -> Step:
        """The question as a step; with ``each`` one that asks about every item at once."""
        name, sees = self.question.name, self.question.image
        if self.question.each is None:
            return Step(name, self.ask, self.read, sees, self.goes_on)
        return Step(name, self.ask_each, self.read_one, sees, self.goes_on, self.join)

    def goes_on(self, row: Row) -> bool:
        """Whether no condition of an earlier question has failed."""
        return row.get(self.reason) is None

    def ask(self, row: Row) -> Request:
        """The question with its places filled."""
        return self.question.request(row, self._values(row), guided=self.guided)

    def ask_each(self, row: Row) -> list[Request]:
        """The question for every item; none for a list that is empty or null."""
        values, items = self._values(row), row[column(self.question.each or "", self.before)] or ()
        if isinstance(items, str):
            raise ValueError(f"each: the column {self.question.each!r} holds a text and no list; name one of lists")
        return [self.question.request(row, {**values, ITEM: item}, guided=self.guided) for item in items]

    def read_one(self, row: Row, reply: Completion) -> Mapping[str, Any] | Reject:
        """What one reply says, before it has a column."""
        return prompt_forms.read(self.question, reply)

    def read(self, row: Row, reply: Completion) -> Columns | Reject:
        """The new columns of a reply."""
        found = self.read_one(row, reply)
        return found if isinstance(found, Reject) else self._settled(row, found)

    def join(self, row: Row, found: Sequence[Mapping[str, Any] | Reject]) -> Columns:
        """The new columns of the replies to all items."""
        return self._settled(row, prompt_forms.listed(self.question, found))

    def _values(self, row: Row) -> dict[str, Any]:
        listed = self.question.each is not None
        names = [name for name in self.question.places if not (listed and name == ITEM)]
        return {name: row[column(name, self.before)] for name in names}

    def _settled(self, row: Row, found: Mapping[str, Any]) -> Columns:
        """The new columns; where a condition does not hold they stay, with the reason why the row ends here."""
        columns = {self.after[self.question.name + ending][0]: value for ending, value in found.items()}
        keep = condition(self.question)
        if keep is not None:
            known = {**row, **columns}
            kinds = {name: self.after[name][1] if name in self.after else None for name in keep.reads()}
            values = {name: pa.array([known[column(name, self.after)]], kind) for name, kind in kinds.items()}
            (failed,) = keep.decide(values, 1)
            columns |= {self.reason: failed} if failed else {}
        return columns


def column(name: str, scope: Scope) -> str:
    """The column that a name in a prompt or condition stands for."""
    return scope[name][0] if name in scope else name


def condition(question: PromptStep) -> Filter | None:
    """The conditions of a question, if it has any."""
    return Filter(name="keep", keep=question.keep) if question.keep else None
