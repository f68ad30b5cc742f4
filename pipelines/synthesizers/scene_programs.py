"""Questions that a picture's scene graph answers, written by programs: no model, and true as far as the graph is.

Source: ProVision (Zhang et al. 2024, arXiv 2412.07012), single-image generators; programs and wordings are our own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import xxhash
from pydantic import Field, field_validator

from potstill.pipelines import schema
from potstill.pipelines.stage import BatchFn, RowStage
from potstill.pipelines.synthesizers.programs.catalogue import PROGRAMS
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
    key: str | None = None
    """Key under which the JSON object holds the graph; the object is the graph itself, unless given."""
    generators: tuple[str, ...] = Field(default=tuple(PROGRAMS), min_length=1)
    """Programs to draw from, each as likely where it fits."""
    choice_share: float = Field(default=0.3, ge=0, le=1)
    """Share of the questions with known wrong answers that become multiple choice."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Every draw is seeded from (this, stage name, sample id)."""
    batch_rows: ClassVar[int] = 1024

    @field_validator("generators")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        unknown = sorted(set(value) - PROGRAMS.keys())
        if unknown or len(set(value)) < len(value):
            raise ValueError(f"unknown or repeated: {', '.join(unknown) or value}; there are: {', '.join(PROGRAMS)}")
        return value

    def reads(self) -> tuple[str, ...]:
        """The column with the graph."""
        return (self.graph,)

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
        for id_, text in zip(rows[schema.SAMPLE_ID].to_pylist(), rows[self.graph].to_pylist(), strict=True):
            error = None
            try:
                graph = parse(text, self.key)
                values = (*[None] * 4, "no_graph") if graph is None else self._row(graph, id_)
            except BadGraph as caught:
                values, error = (None,) * 5, caught
            written.append(values)
            errors.append(error)
        columns = zip(*written, strict=True) if written else [[] for _ in self.writes()]
        arrays = {
            name: pa.array(values, kind) for (name, kind), values in zip(self.writes().items(), columns, strict=True)
        }
        return {**arrays, schema.ERROR: errors}

    def _row(self, graph: SceneGraph, id_: str) -> tuple[Any, ...]:
        """Values of the written columns."""
        digest = xxhash.xxh3_64_intdigest("\0".join((str(self.seed), self.name, id_)).encode())
        draw = np.random.default_rng(digest)
        name, question = next(self._questions(graph, draw), (None, None))
        if question is None:
            return None, None, None, None, "no_generator"
        if not question.wrong or draw.random() >= self.choice_share:
            return question.text, question.answer, name, None, None
        choices = options(question, draw)
        return *with_options(question, choices), name, choices, None

    def _questions(self, graph: SceneGraph, draw: np.random.Generator) -> Iterator[tuple[str, Question]]:
        """Questions of the programs that fit the graph, in an order drawn at random."""
        for position in draw.permutation(len(self.generators)):
            question = PROGRAMS[self.generators[position]](graph, draw)
            if question is not None:
                yield self.generators[position], question
