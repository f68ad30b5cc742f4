"""Any chain of questions about a picture, written in the plan: the recipes of papers without code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import pyarrow as pa
from pydantic import model_validator

from potstill.models.engines.protocol import Engine
from potstill.pipelines import schema
from potstill.pipelines.synthesizers.prompt_asked import Asked, Scope, condition
from potstill.pipelines.synthesizers.prompt_step import PromptStep
from potstill.pipelines.synthesizers.synthesizer import Row, Step, Synthesizer

GUIDED = frozenset({"vllm", "openai"})
"""Kinds of engines that keep a JSON reply to its schema; from others it is parsed, and asked again."""


class PromptChain(Synthesizer):
    """Reads what its prompts name; asks one question after the other and writes each reply to ``<name>_<question>``.

    A row ends early, with a reason, at a reply without words (``empty_<question>``) or a condition that does not hold.
    A reply that cannot be read in the form wanted is asked again; after ``tries`` in all its row goes to quarantine.
    """

    kind: Literal["prompt"] = "prompt"
    group: str | None = None
    """Name of a grouping stage before this one: questions that show a picture show those of the whole group, in the
    order of its ids, and ``{group.column}`` stands for what all members have in a column, numbered."""
    examples: str | None = None
    """Name of a stage before this one that names other rows (``label_doubts``, ``hard_negatives``): their pictures, if
    a row has any, stand before its own, and ``{examples.column}`` for what they have in a column, numbered."""
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
            before, scope = self._scope(position), self._scope(position + 1)
            if question.each in before and not pa.types.is_list(before[question.each][1]):
                raise ValueError(f"question {question.name!r} asks for each of {question.each!r}, which is no list")
            keep = condition(question)
            if keep and all(name in scope for name in keep.reads()):
                keep.decide({name: pa.nulls(0, scope[name][1]) for name in keep.reads()}, 0)
        return self

    def reads(self) -> tuple[str, ...]:
        """The picture, if a question shows it, and the columns that prompts and conditions name."""
        names = list(self._picture_columns) if any(question.image for question in self.questions) else []
        for position, question in enumerate(self.questions):
            keep = condition(question)
            names += [name for name in question.wants if name not in self._scope(position)]
            names += [name for name in (keep.reads() if keep else ()) if name not in self._scope(position + 1)]
        return tuple(dict.fromkeys(names))

    @property
    def _picture_columns(self) -> tuple[str, ...]:
        named = [f"{stage}.{name}" for stage in (self.examples, self.group) if stage for name in _PICTURE]
        return (*named, *(() if self.group else (schema.IMAGE,)))

    def pictures(self, row: Row) -> Sequence[tuple[str, bytes]]:
        """Those of the examples, then those of the group, or the row's own."""
        own = _pictures_of(self.group, row) if self.group else super().pictures(row)
        named = self.examples and row[f"{self.examples}.{schema.IMAGE_ID}"]
        return [*(_pictures_of(self.examples or "", row) if named else ()), *own]

    def columns(self) -> Mapping[str, pa.DataType]:
        """What the replies said."""
        return dict(pair for question in self.questions for pair in question.columns(self.name).values())

    def steps(self, engine: Engine) -> Sequence[Step]:
        """The questions, each asked only if no condition of an earlier one has failed."""
        reason, guided = f"{self.name}_reason", self.engine.kind in GUIDED
        return [
            Asked(question, self._scope(place), self._scope(place + 1), reason, guided).step()
            for place, question in enumerate(self.questions)
        ]

    def _scope(self, stop: int) -> Scope:
        """Names of the replies before question ``stop``: by question, and by column."""
        scope: dict[str, tuple[str, pa.DataType]] = {}
        for question in self.questions[:stop]:
            for name, (column, kind) in question.columns(self.name).items():
                scope |= {name: (column, kind), column: (column, kind)}
        return scope


_PICTURE = (schema.IMAGE_ID, schema.IMAGE)


def _pictures_of(stage: str, row: Row) -> list[tuple[str, bytes]]:
    """Ids and encoded bytes of the pictures of the rows that a stage named for this one."""
    return list(zip(*(row[f"{stage}.{name}"] for name in _PICTURE), strict=True))
