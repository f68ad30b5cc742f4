"""A plan: where rows come from, the ordered stages, what is written."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import xxhash
from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from potstill.config import RequestError, Settings, override, read_yaml, validate
from potstill.pipelines import schema
from potstill.pipelines.filters.filter import Filter
from potstill.pipelines.intake import Intake
from potstill.pipelines.registry import AnySink, AnySource, AnyStage
from potstill.pipelines.selectors.selector import Selector
from potstill.pipelines.selectors.set_filter import SetFilter
from potstill.pipelines.sinks.parquet import Parquet
from potstill.pipelines.stage import Resources, RowStage, Stage

RESERVED = frozenset({"intake", "final", "sinks"})
"""Names that reports use for steps of the runner itself."""
PROTECTED = frozenset({*schema.INPUT_COLUMNS, schema.SAMPLE_ID, schema.ROW, schema.ERROR}) - frozenset(schema.TEXTS)
"""Columns that no stage may write: what rows are known by. Texts of the source may be written anew."""


class RunSettings(Settings):
    """How a run cuts its input, and when it gives up."""

    chunk_rows: int = Field(default=256, ge=1, le=100_000)
    """Most rows in a chunk: the unit of streaming, of commit and of resume."""
    chunk_bytes: int = Field(default=64 * 2**20, ge=1024)
    """Most encoded bytes in a chunk, where the source can be cut that fine."""
    max_error_fraction: float = Field(default=0.05, ge=0, le=1)
    """Largest share of rows that may go to quarantine before the run stops with exit code 3."""


class Plan(Settings):
    """A whole run, resolved: what it reads, does and writes."""

    name: str = Field(default="run", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Every random choice derives from (this seed, stage name, row id)."""
    source: AnySource
    intake: Intake = Intake()
    stages: tuple[AnyStage, ...] = ()
    sinks: tuple[AnySink, ...] = Field(default=(Parquet(),), min_length=1)
    resources: dict[str, Resources] = Field(default_factory=dict)
    """Per stage name: actors, CPUs, GPUs, Python environment. No part of any result."""
    run: RunSettings = RunSettings()

    @field_validator("stages")
    @classmethod
    def _seeded(cls, stages: tuple[Stage, ...], info: ValidationInfo) -> tuple[Stage, ...]:
        """Stages that draw at random, and were given no seed of their own, draw from the plan's."""
        seed = info.data.get("seed", 0)
        return tuple(
            stage.model_copy(update={"seed": seed})
            if "seed" in type(stage).model_fields and "seed" not in stage.model_fields_set
            else stage
            for stage in stages
        )

    @field_validator("stages")
    @classmethod
    def _names_and_columns_fit(cls, stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
        mistakes = list(_mistakes(stages))
        if mistakes:
            details = [
                InitErrorDetails(type=PydanticCustomError("stage", "{text}", {"text": text}), loc=(index,), input={})
                for index, text in mistakes
            ]
            raise ValidationError.from_exception_data(cls.__name__, details)
        return stages

    @model_validator(mode="after")
    def _resources_fit_stages(self) -> Plan:
        stages = {stage.name: stage for stage in self.row_stages()}
        for name, resources in self.resources.items():
            if name not in stages:
                raise ValueError(f"resources.{name}: no stage of that name computes rows; stages: {', '.join(stages)}")
            if (resources.chunks_in_flight or 1) > 1 and stages[name].chunks_in_flight() == 1:
                raise ValueError(f"resources.{name}.chunks_in_flight: it takes one chunk at a time; leave it out")
        return self

    @model_validator(mode="after")
    def _sinks_fit(self) -> Plan:
        for kind, count in Counter(sink.kind for sink in self.sinks).items():
            if count > 1:
                raise ValueError(f"sinks: {count} of kind {kind!r} would write the same folder; keep one")
        written = {name for stage in self.stages for name in stage.writes()}
        known = {schema.SAMPLE_ID, *schema.INPUT_COLUMNS, *written}
        for sink in self.sinks:
            for name in getattr(sink, "columns", None) or ():
                if name not in known:
                    raise ValueError(f"sinks.{sink.kind}: no column {name!r}; columns: {', '.join(sorted(known))}")
        return self

    def row_stages(self) -> tuple[RowStage, ...]:
        """The stages that compute columns, in order."""
        return tuple(stage for stage in self.stages if isinstance(stage, RowStage))

    def resources_of(self, stage: Stage) -> Resources:
        """What the plan grants a stage."""
        return self.resources.get(stage.name, Resources())

    def fingerprints(self) -> dict[str, str]:
        """Per row stage and selector, 32 hex digits that change whenever its columns might come out differently.

        Hashes version, settings, identity (model revisions, prompt versions), and the fingerprints of the stages whose
        columns it reads. Resources and thresholds of filters are no part of it.
        """
        prints: dict[str, str] = {}
        writer: dict[str, str] = {}
        for stage in self.stages:
            if not isinstance(stage, RowStage | Selector):
                continue
            parts = {
                "settings": stage.model_dump(mode="json", exclude=dict(stage.speed)),
                "version": stage.version,
                "identity": _identity(stage),
                "reads": {column: prints[writer[column]] for column in _parts(stage.reads()) if column in writer},
            }
            prints[stage.name] = xxhash.xxh3_128_hexdigest(json.dumps(parts, sort_keys=True).encode())
            writer.update(dict.fromkeys(stage.writes(), stage.name))
        return prints

    def storage(self, position: int, columns: Sequence[str]) -> dict[str, str]:
        """Where the stage at ``position`` finds each column it reads: column -> name in the chunk's table.

        A text that the source brought and a later stage writes anew (``instruction``, say) is two columns; a stage
        sees the one that was there before it. A column of a group's members (``group.column``) keeps its name.
        """
        written = {name for stage in self.stages[:position] for name in stage.writes()}
        return {name: name if name in written or "." in name else f"_input_{name}" for name in columns}

    def reads_aside(self) -> dict[str, tuple[list[str], list[str]]]:
        """What row stages read that a sample's id says nothing of, so that a change in it must be noticed otherwise.

        Of the source (under the empty name: input columns beside image and texts) and of each selector that writes
        columns: the columns read, and the row stages that depend on them.
        """
        origin: dict[str, str] = dict.fromkeys(schema.ASIDE, "")
        depends: dict[str, set[str]] = {}
        found: dict[str, tuple[set[str], list[str]]] = {}
        for stage in self.stages:
            if isinstance(stage, RowStage):
                own = {name: origin[name] for name in stage.reads() if name in origin}
                own |= {f"_at_{group}": group for group in _groups(stage.reads())}
                tainted = set(own.values()).union(*(depends.get(name, ()) for name in stage.reads()))
                for by in tainted:
                    columns, stages = found.setdefault(by, (set(), []))
                    columns.update(name for name, of in own.items() if of == by)
                    stages.append(stage.name)
                depends.update(dict.fromkeys(stage.writes(), tainted))
            for name in stage.writes():
                origin.pop(name, None)
                if isinstance(stage, Selector):
                    origin[name] = stage.name
        return {by: (sorted(columns), stages) for by, (columns, stages) in found.items()}

    def segments(self) -> Iterator[tuple[int, int]]:
        """Runs of stages [start, stop) between set-wise stages and barriers; only those that compute rows."""
        start = 0
        for position, stage in enumerate(self.stages):
            if isinstance(stage, Selector):
                yield start, position
                start = position + 1
            elif isinstance(stage, RowStage) and self.resources_of(stage).barrier and position > start:
                yield start, position
                start = position
        yield start, len(self.stages)


def _groups(columns: Sequence[str]) -> list[str]:
    """Groups of whose members columns are read."""
    return [name.partition(".")[0] for name in columns if "." in name]


def _parts(columns: Sequence[str]) -> list[str]:
    """What a list of columns rests on: of ``group.column``, the ids of the group and the column."""
    return [part for name in columns for part in _part(name)]


def _part(name: str) -> list[str]:
    group, dot, column = name.partition(".")
    return [f"{group}_ids", column] if dot else [name]


def _identity(stage: RowStage | Selector) -> Mapping[str, Any]:
    """What the stage depends on. Raises :class:`RequestError` when, say, its model is not there."""
    try:
        return stage.identity()
    except (ValueError, LookupError, OSError, ImportError) as error:
        raise RequestError(f"stage {stage.name!r}: {error}") from error


def _mistakes(stages: Sequence[Stage]) -> Iterator[tuple[int, str]]:
    """What cannot work between the stages: (index, sentence)."""
    names = Counter(stage.name for stage in stages)
    have: dict[str, pa.DataType] = {name: schema.IMAGES.field(name).type for name in schema.INPUT_COLUMNS}
    writers: dict[str, str] = {}
    for index, stage in enumerate(stages):
        if names.pop(stage.name, 1) > 1:
            yield index, f"several stages are called {stage.name!r}; give each its own `name`"
        if stage.name in RESERVED:
            yield index, f"{stage.name!r} names a step of the runner; give the stage another `name`"
        missing = [column for column in stage.reads() if column not in have]
        for column in missing:
            there = ", ".join(sorted(have))
            yield (
                index,
                f"stage {stage.name!r} reads {column!r}, which nothing before it writes; columns there: {there}",
            )
        if isinstance(stage, Filter | SetFilter) and not missing:
            try:
                stage.decide({column: pa.nulls(0, have[column]) for column in stage.reads()}, 0)
            except ValueError as error:
                yield index, f"stage {stage.name!r}: {error}"
        for column, kind in stage.writes().items():
            if column in PROTECTED or column.startswith("_"):
                yield index, f"stage {stage.name!r} writes {column!r}, which belongs to the run; give it another `name`"
            if column in writers:
                yield (
                    index,
                    f"stages {writers[column]!r} and {stage.name!r} both write {column!r}; give one another `name`",
                )
            writers[column], have[column] = stage.name, kind or pa.null()
        if isinstance(stage, Selector) and stage.names_rows:
            have |= {f"{stage.name}.{column}": pa.list_(kind) for column, kind in have.items() if "." not in column}


def load_plan(path: Path, overrides: Sequence[str] = ()) -> Plan:
    """The plan in a YAML file with ``a.b=value`` overrides. Raises :class:`RequestError` with every mistake."""
    return validate(Plan, override(read_yaml(path), overrides), str(path))


def shipped_plans() -> dict[str, Path]:
    """Name -> file of the plans that come with the package."""
    return {path.stem: path for path in sorted((Path(__file__).parent / "plans").glob("*.yaml"))}


def find_plan(name: str) -> Path:
    """A plan's file: a path, or the name of a shipped plan. Raises :class:`RequestError` that lists those."""
    path = Path(name)
    if path.is_file():
        return path
    shipped = shipped_plans()
    if name in shipped:
        return shipped[name]
    if path.name in {file.name for file in shipped.values()} and "plans" in path.parts:
        return shipped[path.stem]
    raise RequestError(f"no plan {name!r}: give a YAML file or one of {', '.join(shipped)}")
