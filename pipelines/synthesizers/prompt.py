"""Any chain of questions about a picture, written in the plan: the recipes of papers without code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import ClassVar, Literal

import pyarrow as pa
from pydantic import model_validator

from potstill.models.engines.protocol import Completion, Engine, Request
from potstill.pipelines import schema
from potstill.pipelines.filters.filter import Filter
from potstill.pipelines.synthesizers.prompt_step import PromptStep
from potstill.pipelines.synthesizers.synthesizer import Columns, Reject, Row, Step, Synthesizer

Scope = Mapping[str, tuple[str, pa.DataType]]
"""Name in a prompt or condition -> column of this stage, and its type; other names are columns written before it."""


class PromptChain(Synthesizer):
    """Reads what its prompts name; asks one question after the other and writes each reply to ``<name>_<question>``.

    A row ends early, with a reason, at a reply without words (``empty_<question>``) or a condition that does not hold.
    A reply that cannot be read in the form wanted is asked again; after ``tries`` in all its row goes to quarantine.
    """

    kind: Literal["prompt"] = "prompt"
    questions: tuple[PromptStep, ...]
    """Asked in this order: cheapest and most selective first."""
    rejects: ClassVar = True

    @model_validator(mode="after")
    def _names_fit(self) -> PromptChain:
        if not self.questions:
            raise ValueError(f"stage {self.name!r} has no question; give it at least one")
        columns = [column for each in self.questions for column, _ in each.columns(self.name).values()]
        own = [f"{self.name}_{noun}" for noun in ("reason", "prompt_tokens", "completion_tokens")]
        for what, names in (("questions", [each.name for each in self.questions]), ("columns", columns + own)):
            twice = next((name for name, count in Counter(names).items() if count > 1), None)
            if twice:
                raise ValueError(f"several {what} of stage {self.name!r} are called {twice!r}; rename one")
        for position, question in enumerate(self.questions):
            scope = self._scope(position + 1)
            keep = _filter(question)
            if keep and all(name in scope for name in keep.reads()):
                keep.decide({name: pa.nulls(0, scope[name][1]) for name in keep.reads()}, 0)
        return self

    def reads(self) -> tuple[str, ...]:
        """The picture, if a question shows it, and the columns that prompts and conditions name."""
        names = [schema.IMAGE] if any(question.image for question in self.questions) else []
        for position, question in enumerate(self.questions):
            keep = _filter(question)
            names += [name for name in question.places if name not in self._scope(position)]
            names += [name for name in (keep.reads() if keep else ()) if name not in self._scope(position + 1)]
        return tuple(dict.fromkeys(names))

    def columns(self) -> Mapping[str, pa.DataType]:
        """What the replies said."""
        return dict(pair for question in self.questions for pair in question.columns(self.name).values())

    def steps(self, engine: Engine) -> Sequence[Step]:
        """The questions, each asked only if no condition of an earlier one has failed."""
        reason = f"{self.name}_reason"
        return [
            Step(
                question.name,
                partial(_ask, question, self._scope(position)),
                partial(_read, question, self._scope(position + 1), reason),
                question.image,
                lambda row: row.get(reason) is None,
            )
            for position, question in enumerate(self.questions)
        ]

    def _scope(self, stop: int) -> Scope:
        """Names of the replies before question ``stop``: by question, and by column."""
        scope: dict[str, tuple[str, pa.DataType]] = {}
        for question in self.questions[:stop]:
            for name, (column, kind) in question.columns(self.name).items():
                scope |= {name: (column, kind), column: (column, kind)}
        return scope


def _ask(question: PromptStep, scope: Scope, row: Row) -> Request:
    return question.request(row, {name: row[_column(name, scope)] for name in question.places})


def _read(question: PromptStep, scope: Scope, reason: str, row: Row, reply: Completion) -> Columns | Reject:
    """The new columns; where a condition does not hold they stay, with the reason why the row ends here."""
    found = question.read(reply)
    if isinstance(found, Reject):
        return found
    columns = {scope[name][0]: value for name, value in found.items()}
    keep = _filter(question)
    if keep is not None:
        known = {**row, **columns}
        kinds = {name: scope[name][1] if name in scope else None for name in keep.reads()}
        values = {name: pa.array([known[_column(name, scope)]], kind) for name, kind in kinds.items()}
        (failed,) = keep.decide(values, 1)
        columns |= {reason: failed} if failed else {}
    return columns


def _column(name: str, scope: Scope) -> str:
    return scope[name][0] if name in scope else name


def _filter(question: PromptStep) -> Filter | None:
    return Filter(name="keep", keep=question.keep) if question.keep else None
