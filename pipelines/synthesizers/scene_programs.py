"""Questions that a picture's scene graph answers, written by programs: no model, and true as far as the graph is.

Source: ProVision (Zhang et al. 2024, arXiv 2412.07012), programs for one image and for several; wordings are our own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import xxhash
from pydantic import Field, model_validator

from potstill.pipelines import schema
from potstill.pipelines.stage import BatchFn, RowStage
from potstill.pipelines.synthesizers.programs.catalogue import GROUP_PROGRAMS, PROGRAMS
from potstill.pipelines.synthesizers.programs.graph import BadGraph, SceneGraph, parse
from potstill.pipelines.synthesizers.programs.question import Question, options, with_options


class ScenePrograms(RowStage):
    """Reads a scene graph (JSON); writes ``instruction``, ``response``, ``<name>_generator`` and ``<name>_options``.

    One question for each sample; ``intake.samples_per_image`` asks for several. ``<name>_options`` is null for an open
    question. A row goes no further without a graph (``no_graph``), or where no program fits it (``no_generator``).
    """

    kind: Literal["scene_programs"] = "scene_programs"
    graph: str = schema.META
    """Column with the JSON."""
    group: str | None = None
    """Name of a grouping stage before this one: the questions are then about the pictures of a group."""
    key: str | None = None
    """Key under which the JSON object holds the graph; the object is the graph itself, unless given."""
    generators: tuple[str, ...] | None = Field(default=None, min_length=1)
    """Programs to draw from, each as likely where it fits; all of them, about one picture or about several."""
    choice_share: float = Field(default=0.3, ge=0, le=1)
    """Share of the questions with known wrong answers that become multiple choice."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Every draw is seeded from (this, stage name, sample id)."""
    batch_rows: ClassVar[int] = 1024

    @model_validator(mode="after")
    def _known(self) -> ScenePrograms:
        value, there = self.generators or (), self._programs
        unknown = sorted(set(value) - there.keys())
        if unknown or len(set(value)) < len(value):
            wrong = ", ".join(unknown) or value
            raise ValueError(f"generators: unknown or repeated: {wrong}; there are: {', '.join(there)}")
        return self

    @property
    def _programs(self) -> Mapping[str, Callable[[Any, np.random.Generator], Question | None]]:
        return GROUP_PROGRAMS if self.group else PROGRAMS

    def reads(self) -> tuple[str, ...]:
        """The column with the graph, or those of the group's members."""
        return (f"{self.group}.{self.graph}" if self.group else self.graph,)

    def writes(self) -> Mapping[str, pa.DataType | None]:
        """Texts, the program's name, the choices, and why there is no question."""
        prefix = "" if self.name == "scene_programs" else f"{self.name}_"
        return {
            f"{prefix}{schema.INSTRUCTION}": pa.string(),
            f"{prefix}{schema.RESPONSE}": pa.string(),
            f"{self.name}_generator": pa.string(),
            f"{self.name}_options": pa.list_(pa.string()),
            f"{self.name}_reason": pa.string(),
        }

    def gate(self) -> str:
        """The column with the reason of a row without a question."""
        return f"{self.name}_reason"

    def build(self) -> BatchFn:
        """Nothing to load."""
        return self._ask

    def _ask(self, rows: pa.Table) -> Mapping[str, Any]:
        written: list[tuple[Any, ...]] = []
        errors: list[Exception | None] = []
        for id_, text in zip(rows[schema.SAMPLE_ID].to_pylist(), rows[self.reads()[0]].to_pylist(), strict=True):
            error = None
            try:
                graphs = [parse(each, self.key) for each in (text if self.group else [text])]
                values = (*[None] * 4, "no_graph") if None in graphs else self._row(graphs, id_)
            except BadGraph as caught:
                values, error = (None,) * 5, caught
            written.append(values)
            errors.append(error)
        columns = zip(*written, strict=True) if written else [[] for _ in self.writes()]
        arrays = {
            name: pa.array(values, kind) for (name, kind), values in zip(self.writes().items(), columns, strict=True)
        }
        return {**arrays, schema.ERROR: errors}

    def _row(self, graphs: Sequence[SceneGraph], id_: str) -> tuple[Any, ...]:
        """Values of the written columns."""
        digest = xxhash.xxh3_64_intdigest("\0".join((str(self.seed), self.name, id_)).encode())
        draw = np.random.default_rng(digest)
        name, question = next(self._questions(graphs, draw), (None, None))
        if question is None:
            return None, None, None, None, "no_generator"
        if not question.wrong or draw.random() >= self.choice_share:
            return question.text, question.answer, name, None, None
        choices = options(question, draw)
        return *with_options(question, choices), name, choices, None

    def _questions(self, graphs: Sequence[SceneGraph], draw: np.random.Generator) -> Iterator[tuple[str, Question]]:
        """Questions of the programs that fit, in an order drawn at random."""
        names = self.generators or tuple(self._programs)
        for position in draw.permutation(len(names)):
            question = self._programs[names[position]](graphs if self.group else graphs[0], draw)
            if question is not None:
                yield names[position], question
