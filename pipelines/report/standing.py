"""What stands in a run directory, read without touching it: the plan, the summary, and where every row is.

Works while a run is going on and after one died. Fingerprints are those that the run itself wrote down, so that no
model has to be there to look at what it computed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import yaml

from potstill.config import RequestError, validate
from potstill.pipelines import chunk, schema
from potstill.pipelines.choosing import Chosen, decisions_file
from potstill.pipelines.ledger import Ledger
from potstill.pipelines.plan import Plan
from potstill.pipelines.rundir import LOCK, LOCK_SECONDS, RunDir
from potstill.pipelines.selectors.selector import Selector
from potstill.pipelines.walk import Passage, columns_of_decisions, walk

PLAN_FILE = "plan.yaml"
RUN_FILE = "run.json"
DUPLICATES = "decisions/intake.parquet"
IDENTITY = [schema.IMAGE_ID, schema.SOURCE, schema.WIDTH, schema.HEIGHT, schema.FORMAT, *schema.TEXTS, schema.ERROR]


@dataclass(frozen=True, slots=True)
class Part:
    """One chunk as it stands: its input rows without pixels, and its samples with their way through the stages."""

    index: int
    images: pa.Table
    duplicates: tuple[int, ...]
    """Rows of ``images`` that are exact duplicates of earlier ones."""
    retry: bool
    """Whether the intake's errors will be tried again by the next run."""
    table: pa.Table
    passages: list[Passage]

    @property
    def broken(self) -> np.ndarray:
        """Rows of ``images`` that the intake refused."""
        return np.asarray(self.images[schema.ERROR].combine_chunks().is_valid())

    @property
    def kept(self) -> np.ndarray:
        """Samples that went all the way."""
        return self.passages[-1].kept if self.passages else np.ones(self.table.num_rows, dtype=bool)

    @property
    def done(self) -> bool:
        """Whether nothing is left to compute."""
        return not self.retry and not any(passage.pending.any() for passage in self.passages)


class Standing:
    """A run directory, opened for reading."""

    def __init__(self, directory: str) -> None:
        self.run = RunDir(directory)
        if not (self.run.exists(RUN_FILE) and self.run.exists(PLAN_FILE)):
            raise RequestError(f"{directory} is no run directory: it has no {RUN_FILE}; give the --out of a run")
        self.summary: dict[str, Any] = self.run.read_json(RUN_FILE)

    @cached_property
    def plan_text(self) -> str:
        """The resolved plan as YAML."""
        return self.run.read_bytes(PLAN_FILE).decode()

    @cached_property
    def plan(self) -> Plan:
        """The resolved plan."""
        return validate(Plan, yaml.safe_load(self.plan_text), f"{self.run.url}/{PLAN_FILE}")

    @cached_property
    def prints(self) -> dict[str, str]:
        """Fingerprint of each row stage at the time of the run; empty where the run did not come that far."""
        stored: Mapping[str, str] = self.summary.get("fingerprints", {})
        return {stage.name: stored.get(stage.name, "") for stage in self.plan.row_stages()}

    @property
    def state(self) -> str:
        """``done``, ``stopped``, ``failed``, ``requeued``, ``running``; ``interrupted`` when its process has died."""
        state = str(self.summary["state"])
        return "interrupted" if state == "running" and not self._held() else state

    def _held(self) -> bool:
        """Whether a run holds the directory now."""
        if not self.run.exists(LOCK):
            return False
        if not self.run.local:
            return time.time() - self.run.read_json(LOCK)["time"] < LOCK_SECONDS
        import fcntl

        with Path(self.run.path(LOCK)).open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    @cached_property
    def indices(self) -> list[int]:
        """Numbers of the chunks, also of those that were not taken in yet."""
        return sorted(set(chunk.read_manifest(self.run).values()))

    @cached_property
    def duplicates(self) -> dict[str, tuple[str, str]]:
        """Source of each exact duplicate -> (hash of bytes and texts, source of the row that it repeats)."""
        if not self.run.exists(DUPLICATES):
            return {}
        table = self.run.read_table(DUPLICATES)
        columns = (table[name].to_pylist() for name in (schema.SOURCE, schema.SAMPLE_ID, "duplicate_of"))
        return {source: (key, of) for source, key, of in zip(*columns, strict=True)}

    @cached_property
    def _chosen(self) -> list[Chosen]:
        """What each selector chose. Only a finished run's choice is known to be of these rows."""
        if self.summary["state"] != "done":
            return []
        selectors = [stage for stage in self.plan.stages if isinstance(stage, Selector)]
        return [
            Chosen(stage, self.run.read_table(decisions_file(stage)))
            for stage in selectors
            if self.run.exists(decisions_file(stage))
        ]

    def evidence(self, selector: Selector, sample: str) -> dict[str, Any]:
        """The numbers by which a selector decided about a sample, by name; none when it was not offered."""
        table = self.run.read_table(decisions_file(selector))
        found = table.filter(pc.equal(table[schema.SAMPLE_ID], sample))
        numbers = found.drop_columns([schema.SAMPLE_ID, "keep", "reason", *selector.writes()])
        return numbers.to_pylist()[0] if found.num_rows else {}

    def parts(self, columns: Sequence[str] = ()) -> Iterator[Part]:
        """Chunk after chunk, those that were taken in, with these computed columns beside the ones that decide."""
        for index in self.indices:
            if self.run.exists(chunk.images_file(index)):
                yield self.part(index, columns)

    def part(self, index: int, columns: Sequence[str] | None = ()) -> Part:
        """One chunk; ``columns`` None: all of them."""
        file = chunk.images_file(index)
        images = self.run.read_table(file, IDENTITY)
        duplicates = self.duplicate_rows(images)
        wanted = None if columns is None else [*columns_of_decisions(self.plan), *columns]
        table = chunk.load(self.run, self.plan, self.prints, index, duplicates, wanted)
        ids = table[schema.SAMPLE_ID].to_pylist()
        for decided in (chosen.of(ids) for chosen in self._chosen):
            for name in decided.column_names:
                table = table.append_column(name, decided[name])
        retry = (self.run.read_schema(file).metadata or {}).get(chunk.DIGEST) == b""
        return Part(index, images, duplicates, retry, table, walk(self.plan, table))

    def duplicate_rows(self, images: pa.Table) -> tuple[int, ...]:
        """Rows of a table of input rows that are exact duplicates of earlier ones."""
        sources, known = images[schema.SOURCE].to_pylist(), self.duplicates
        suspects = [row for row, source in enumerate(sources) if source in known]
        keys = chunk.row_keys(images.take(pa.array(suspects, pa.int64())))
        found = zip(suspects, keys, strict=True)
        return tuple(row for row, key in found if key.tobytes().hex() == known[sources[row]][0])

    def images(self, index: int) -> pa.ChunkedArray:
        """Encoded bytes of a chunk's input rows."""
        return self.run.read_table(chunk.images_file(index), [schema.IMAGE])[schema.IMAGE]

    def new_ledger(self) -> Ledger:
        """An empty ledger of the plan's steps, to :func:`count` parts into."""
        return Ledger({stage.name: stage.kind for stage in self.plan.stages})

    def counts(self, ledger: Ledger) -> list[dict[str, Any]]:
        """The ``stages`` of ``run.json``: as a finished run wrote them, else as the ledger counted what stands."""
        stored = {stage["name"]: stage for stage in self.summary["stages"]}
        if self.summary["state"] == "done":
            return list(stored.values())
        intake = ledger.counts["intake"]
        waiting = max(0, self.summary["rows_in"] - intake.entered)
        intake.entered += waiting
        intake.pending += waiting
        work = ("computed", "seconds", "rows_per_second")
        return [
            entry | {key: stored[entry["name"]][key] for key in work if entry["name"] in stored}
            for entry in ledger.as_json()
        ]


def count(ledger: Ledger, part: Part) -> None:
    """Add a chunk's rows."""
    broken = int(part.broken.sum())
    ledger.add_intake(part.images.num_rows, len(part.duplicates), 0 if part.retry else broken)
    if part.retry:
        intake = ledger.counts["intake"]
        intake.kept -= broken
        intake.pending += broken
    ledger.add(part.passages)


def error_of(part: Part, row: int) -> dict[str, Any]:
    """Why the intake refused a row of ``images``."""
    return part.images[schema.ERROR][row].as_py()


def as_text(value: Any) -> str:
    """A value of a column, short: numbers to four digits, bytes as hex digits, nested ones as JSON."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, str | bytes):
        return _plain(value)
    return json.dumps(value, default=_plain)


def _plain(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
