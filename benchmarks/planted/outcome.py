"""What a finished run did with every row of a planted corpus: its files joined with the truth by source."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from potstill.pipelines import schema
from potstill.pipelines.rundir import RunDir

INTAKE = "intake"
DUPLICATE = "duplicate"


@dataclass
class Outcome:
    """One input row: the truth about it, where it went, and what was written about it."""

    truth: dict[str, Any]
    stages: dict[str, str | None] = field(default_factory=dict)
    """Deciding stage that the row reached -> reason of the drop, ``quarantine: TYPE``, or None for a row that went on.
    """
    columns: dict[str, Any] = field(default_factory=dict)
    """Computed numbers and words, no vectors."""

    @property
    def flaws(self) -> tuple[str, ...]:
        """Planted flaws, ``kind`` or ``kind.variant``; none for a clean row."""
        return tuple(self.truth["flaws"])

    @property
    def clean(self) -> bool:
        """Nothing was planted."""
        return not self.truth["flaws"]

    @property
    def kept(self) -> bool:
        """No stage stopped it."""
        return not any(self.stages.values())

    @property
    def dropped_by(self) -> str | None:
        """The stage that stopped it."""
        return next((name for name, reason in self.stages.items() if reason), None)

    def has(self, patterns: list[str] | tuple[str, ...]) -> bool:
        """Whether a flaw is one of the patterns; ``kind`` stands for all of its variants."""
        return any(flaw == pattern or flaw.startswith(f"{pattern}.") for flaw in self.flaws for pattern in patterns)


def read_outcomes(corpus: Path, out: Path) -> list[Outcome]:
    """The outcome of every row of the corpus, in its order. Raises ValueError when the run was over other input.

    A row with several samples counts as kept when one is; where it was dropped, and its columns, are the first's.
    """
    truths = [json.loads(line) for line in (corpus / "truth.jsonl").read_text(encoding="utf-8").splitlines()]
    outcomes = [Outcome(truth) for truth in truths]
    by_source: dict[str, Outcome] = {}
    for outcome in outcomes:
        path = outcome.truth["path"]
        by_source |= {f"pairs.jsonl#{outcome.truth['line']}": outcome, path: outcome, Path(path).name: outcome}
    run = RunDir(out)
    sample: dict[str, Outcome] = {}
    seen = 0
    for name in run.list("images"):
        images = run.read_table(f"images/{name}", [schema.SOURCE, schema.ERROR])
        rows = []
        for source, error in zip(images[schema.SOURCE].to_pylist(), images[schema.ERROR].to_pylist(), strict=True):
            if source not in by_source:
                raise ValueError(
                    f"{out} has a row from {source!r}, which {corpus} has not; give the corpus that was run"
                )
            rows.append(by_source[source])
            rows[-1].stages[INTAKE] = f"quarantine: {error['type']}" if error else None
        seen += len(rows)
        if run.exists(f"samples/{name}"):
            for record in _plain(run.read_table(f"samples/{name}")):
                outcome = rows[record[schema.ROW]]
                sample[record[schema.SAMPLE_ID]] = outcome
                outcome.columns = {
                    key: value for key, value in record.items() if not key.startswith("_")
                } | outcome.columns
    if seen != len(outcomes):
        raise ValueError(f"{out} holds {seen} rows and {corpus} {len(outcomes)}; finish the run, or give its corpus")
    _decisions(run, sample, by_source)
    return outcomes


def _decisions(run: RunDir, sample: dict[str, Outcome], by_source: dict[str, Outcome]) -> None:
    """Add what each deciding stage did, in the order of the plan, and the rows in quarantine."""
    if run.exists(f"decisions/{INTAKE}.parquet"):
        for source in run.read_table(f"decisions/{INTAKE}.parquet")[schema.SOURCE].to_pylist():
            by_source[source].stages[INTAKE] = DUPLICATE
    lost = {name.removesuffix(".parquet"): f"quarantine/{name}" for name in run.list("quarantine")}
    for stage in (record["name"] for record in run.read_json("run.json")["stages"]):
        if stage == INTAKE:
            continue
        if run.exists(f"decisions/{stage}.parquet"):
            for record in _plain(run.read_table(f"decisions/{stage}.parquet")):
                outcome = sample[record.pop(schema.SAMPLE_ID)]
                first = outcome.stages.get(stage, record["reason"])
                outcome.stages[stage] = None if record.pop("keep") else first
                record.pop("reason")
                outcome.columns = record | outcome.columns
        if stage in lost:
            for record in run.read_table(lost[stage]).to_pylist():
                by_source[record[schema.SOURCE]].stages[stage] = f"quarantine: {record['type']}"


def _plain(table: pa.Table) -> Iterator[dict[str, Any]]:
    """The rows, without vectors, errors and bytes."""
    names = [
        field.name
        for field in table.schema
        if not (
            pa.types.is_nested(field.type) or pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type)
        )
    ]
    yield from table.select(names).to_pylist()
