"""A run directory as a finished run leaves it, written at once: rows with random scores and no pixels.

For measuring what reads stored columns; nothing could be computed in it, for the pictures are single bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from potstill.pipelines import chunk, record, schema
from potstill.pipelines.chunk import Chunk
from potstill.pipelines.ledger import Ledger
from potstill.pipelines.plan import Plan
from potstill.pipelines.rundir import RunDir
from potstill.pipelines.sources.base import Item
from potstill.pipelines.walk import Passage, walk

KEEP = {"small": "image_stats_min_side >= 100", "narrow": "image_stats_aspect <= 3", "low": "clip_score >= 0.2"}


def plan() -> Plan:
    """Sides of the picture and CLIP's score, and a filter over both."""
    stages = [
        {"kind": "image_stats", "columns": ["min_side", "aspect"]},
        {"kind": "clip_score", "model": "tiny"},
        {"kind": "filter", "name": "gate", "keep": KEEP},
    ]
    return Plan.model_validate({"source": {"kind": "folder", "path": "none"}, "stages": stages})


def write(url: str, rows: int, chunk_rows: int = 256, seed: int = 0) -> Plan:
    """Write the directory; scores are like CLIP's on web pairs (mean 0.22, deviation 0.07)."""
    made, run, rng = plan(), RunDir(url), np.random.default_rng(seed)
    prints = made.fingerprints()
    ledger = Ledger({stage.name: stage.kind for stage in made.stages})
    chunks = [
        Chunk(index, (Item(f"part-{index}", "0", min(chunk_rows, rows - start), 1),), "0" * 32)
        for index, start in enumerate(range(0, rows, chunk_rows))
    ]

    def walked() -> Iterator[tuple[pa.Table, list[Passage]]]:
        for part in chunks:
            images = _images(part, rng)
            run.write(part.images, partial(_put, images), durable=False)
            run.write(part.samples, partial(_put, _samples(images, made, prints, rng)), durable=False)
            table = chunk.load(run, made, prints, part.index, ())
            passages = walk(made, table)
            ledger.add_intake(part.rows, 0, 0)
            ledger.add(passages)
            yield table, passages

    record.write_decisions(run, made, walked())
    chunk.write_manifest(run, chunks)
    run.write_bytes("plan.yaml", record.dump_plan(made))
    summary = {"state": "done", "plan": made.name, "seed": 0, "started": "2026-01-01T00:00:00Z", "seconds": 0.0}
    counts = {"chunks": len(chunks), "rows_in": rows, "stages": ledger.as_json(), "rows": ledger.counts["gate"].kept}
    run.write_json("run.json", {**summary, **counts, "fingerprints": prints, "versions": {}})
    return made


def _put(table: pa.Table, file: IO[bytes]) -> None:
    pq.write_table(table, file, compression="zstd")


def _images(part: Chunk, rng: np.random.Generator) -> pa.Table:
    count = part.rows
    bits = rng.integers(0, 256, (count, 16), dtype=np.uint8)
    columns = {
        schema.IMAGE_ID: [row.tobytes().hex() for row in bits],
        schema.IMAGE: [b"x"] * count,
        schema.WIDTH: rng.integers(64, 1024, count),
        schema.HEIGHT: rng.integers(64, 1024, count),
        schema.FORMAT: ["JPEG"] * count,
        schema.SOURCE: [f"folder-{part.index % 50}/{part.index:05d}-{row:05d}.jpg" for row in range(count)],
        schema.CAPTION: [f"a picture with the number {row} of part {part.index}" for row in range(count)],
    }
    arrays = {field.name: pa.array(columns.get(field.name, [None] * count), field.type) for field in schema.IMAGES}
    return pa.table(arrays, schema=schema.IMAGES).replace_schema_metadata({chunk.DIGEST: part.digest.encode()})


def _samples(images: pa.Table, made: Plan, prints: dict[str, str], rng: np.random.Generator) -> pa.Table:
    rows = chunk.skeleton(images, (), 1)
    width, height = (np.asarray(images[name]) for name in (schema.WIDTH, schema.HEIGHT))
    low, high = np.minimum(width, height), np.maximum(width, height)
    values = {
        "image_stats_min_side": low,
        "image_stats_aspect": high / low,
        "clip_score": rng.normal(0.22, 0.07, images.num_rows),
    }
    for stage in made.row_stages():
        rows = rows.append_column(f"{chunk.DONE}{stage.name}", pa.array([True] * images.num_rows))
        for name, kind in stage.writes().items():
            kind = kind or schema.embedding_type(512)
            column = (
                pa.array(values[name].astype(kind.to_pandas_dtype())) if name in values else pa.nulls(len(low), kind)
            )
            rows = rows.append_column(name, column)
    rows = rows.append_column(schema.ERROR, pa.nulls(len(low), schema.ERROR_TYPE))
    return rows.replace_schema_metadata({chunk.FINGERPRINTS: json.dumps(prints).encode()})
