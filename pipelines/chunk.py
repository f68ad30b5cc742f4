"""The chunks of a run: which input belongs to which, and the table of one chunk, laid together from its files.

A chunk is a fixed list of source items. Items that a run directory knows keep their chunk for ever, so that more input
makes new chunks and leaves the old ones, with all that was computed for them, as they are.
"""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from potstill.config import RequestError
from potstill.pipelines import schema
from potstill.pipelines.marks import DONE, INPUT, marks, void_changed
from potstill.pipelines.plan import Plan
from potstill.pipelines.rundir import DamagedFile, RunDir
from potstill.pipelines.sources.base import Item
from potstill.pipelines.stage import RowStage

logger = logging.getLogger(__name__)

MANIFEST = "images/.chunks.parquet"
DIGEST = b"potstill.digest"
FINGERPRINTS = b"potstill.fingerprints"
KEY = np.dtype("V16")
NO_KEY = np.zeros((), dtype=KEY)
AT = "_at_"
"""Prefix, in a chunk's table, of the columns that say where the members of a row's group are."""
WHY = "_why_"
"""Prefix, in a chunk's table, of the columns that say why a selector dropped a row; null for the other rows."""


class ConservationError(Exception):
    """Rows went missing or came twice. A bug, never bad input: the run fails rather than go on."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """One chunk: its number, its items in order, and what its input and its intake depend on."""

    index: int
    items: tuple[Item, ...]
    digest: str

    @property
    def rows(self) -> int:
        """Input rows."""
        return sum(item.rows for item in self.items)

    @property
    def images(self) -> str:
        """File of its input rows."""
        return images_file(self.index)

    @property
    def samples(self) -> str:
        """File of its computed columns."""
        return samples_file(self.index)


def images_file(index: int) -> str:
    """Name of the file of a chunk's input rows."""
    return f"images/chunk-{index:05d}.parquet"


def samples_file(index: int) -> str:
    """Name of the file of a chunk's computed columns."""
    return f"samples/chunk-{index:05d}.parquet"


def cut(plan: Plan, items: Iterable[Item], known: Mapping[str, int]) -> list[Chunk]:
    """Chunks of the items: known keys stay where they were, new ones fill new chunks in order up to the limits."""
    members: dict[int, list[Item]] = defaultdict(list)
    last = max(known.values(), default=-1)
    rows = size = 0
    fresh = last
    for item in items:
        if item.key in known:
            members[known[item.key]].append(item)
            continue
        full = rows + item.rows > plan.run.chunk_rows or size + item.bytes > plan.run.chunk_bytes
        if fresh == last or (full and rows):
            fresh, rows, size = fresh + 1, 0, 0
        members[fresh].append(item)
        rows, size = rows + item.rows, size + item.bytes
    settings = json.dumps(
        [
            plan.source.model_dump(mode="json", exclude={"path", "root"}),
            plan.intake.model_dump(mode="json", exclude={"samples_per_image"}),
        ],
        sort_keys=True,
    )
    return [Chunk(index, tuple(chunk), _digest(settings, chunk)) for index, chunk in sorted(members.items())]


def _digest(settings: str, items: Sequence[Item]) -> str:
    state = xxhash.xxh3_128(settings.encode())
    for item in items:
        state.update(json.dumps([item.key, item.version, item.rows, item.at]).encode())
    return state.hexdigest()


def read_manifest(run: RunDir) -> dict[str, int]:
    """Item key -> chunk of an earlier run; empty for a new directory."""
    if not run.exists(MANIFEST):
        return {}
    table = run.read_table(MANIFEST)
    return dict(zip(table["key"].to_pylist(), table["chunk"].to_pylist(), strict=True))


def write_manifest(run: RunDir, chunks: Sequence[Chunk]) -> None:
    """Remember which item belongs to which chunk."""
    rows = [(item.key, chunk.index) for chunk in chunks for item in chunk.items]
    keys, indices = zip(*rows, strict=True) if rows else ((), ())
    run.write_table(MANIFEST, pa.table({"key": pa.array(keys, pa.string()), "chunk": pa.array(indices, pa.int32())}))


def check_same_source(run: RunDir, known: Mapping[str, int], chunks: Sequence[Chunk]) -> None:
    """Raises :class:`RequestError` when a directory holds a run over input that has nothing in common with this one."""
    if known and not any(item.key in known for chunk in chunks for item in chunk.items):
        raise RequestError(
            f"{run.url} holds a run over other input ({len(known)} items, such as {next(iter(known))!r}), "
            "none of which is in this source; choose another --out"
        )


def is_current(run: RunDir, chunk: Chunk) -> bool:
    """Whether the chunk's input rows are there, from just these items and settings. A damaged file is read anew."""
    if not run.exists(chunk.images):
        return False
    try:
        metadata = run.read_schema(chunk.images).metadata or {}
    except DamagedFile as error:
        logger.warning("%s", error)
        return False
    return metadata.get(DIGEST) == chunk.digest.encode()


def row_keys(images: pa.Table) -> np.ndarray:
    """Per input row, 16 bytes: the hash of its bytes and texts. Rows in quarantine all have :data:`NO_KEY`."""
    good = images[schema.ERROR].is_null().to_pylist()
    contents = zip(good, _contents(images), strict=True)
    keys = [bytes.fromhex(sample_id(*content, 0)) if ok else b"" for ok, content in contents]
    return np.frombuffer(b"".join(key.ljust(16, b"\0") for key in keys), dtype=KEY)


def originals(keys: np.ndarray) -> np.ndarray:
    """Per row, the number of the first row with the same key; its own for a row in quarantine. O(n log n)."""
    first = np.arange(len(keys))
    order = np.argsort(keys, kind="stable")
    ranked = keys[order]
    fresh = np.ones(len(keys), dtype=bool)
    fresh[1:] = ranked[1:] != ranked[:-1]
    heads = np.flatnonzero(fresh)
    first[order] = order[heads[np.cumsum(fresh) - 1]] if len(keys) else order
    bad = keys == NO_KEY
    first[bad] = np.flatnonzero(bad)
    return first


def sample_id(image_id: str, texts: Sequence[str | None], ordinal: int) -> str:
    """xxh3-128 of (image id, texts that came with it, ordinal), 32 hex digits."""
    return xxhash.xxh3_128_hexdigest(json.dumps([image_id, list(texts), ordinal]).encode())


def _contents(images: pa.Table) -> Iterable[tuple[str, tuple[str | None, ...]]]:
    texts = zip(*(images[name].to_pylist() for name in schema.TEXTS), strict=True)
    return zip(images[schema.IMAGE_ID].to_pylist(), texts, strict=True)


def skeleton(images: pa.Table, duplicates: Sequence[int], samples_per_image: int) -> pa.Table:
    """The samples of a chunk, before anything is computed: ids and their row in ``images``.

    Rows in quarantine and exact duplicates of earlier rows (by row number) have no samples.
    """
    skip = set(duplicates)
    good = images[schema.ERROR].is_null().to_pylist()
    ids: list[str] = []
    rows: list[int] = []
    for row, (image_id, texts) in enumerate(_contents(images)):
        if good[row] and row not in skip:
            ids += [sample_id(image_id, texts, ordinal) for ordinal in range(samples_per_image)]
            rows += [row] * samples_per_image
    positions = pa.array(rows, pa.int32())
    return pa.table(
        {
            schema.SAMPLE_ID: pa.array(ids, pa.string()),
            schema.IMAGE_ID: images[schema.IMAGE_ID].take(positions),
            schema.ROW: positions,
        }
    )


def load(
    run: RunDir,
    plan: Plan,
    fingerprints: Mapping[str, str],
    index: int,
    duplicates: Sequence[int],
    columns: Sequence[str] | None = None,
    decided: pa.Table | None = None,
) -> pa.Table:
    """A chunk's table: skeleton, input columns except the image, what stages have computed and still stands, errors.

    ``columns`` restricts the computed columns. A stage whose fingerprint has changed counts as not run: its columns and
    errors are left out. ``decided`` holds, row by row, what selectors have decided; its columns are added.
    """
    wanted = [name for name in schema.INPUT_COLUMNS if name != schema.IMAGE]
    images = run.read_table(images_file(index), [*wanted, schema.ERROR])
    base = skeleton(images, duplicates, plan.intake.samples_per_image)
    inputs = images.select(wanted).take(base[schema.ROW])
    for name in wanted:
        base = base.append_column(f"{INPUT}{name}", inputs[name])
    stored = _stored(run, plan, fingerprints, index, columns)
    positions = pc.index_in(base[schema.SAMPLE_ID], stored[schema.SAMPLE_ID])
    for name in stored.column_names[1:]:
        base = base.append_column(name, stored[name].take(positions))
    if schema.ERROR not in base.column_names:
        base = base.append_column(schema.ERROR, pa.nulls(base.num_rows, schema.ERROR_TYPE))
    for name in decided.column_names if decided else ():
        base = base.append_column(name, decided[name])
    for mark, (aside, stages) in marks(plan).items():
        base = void_changed(base, mark, aside, stages)
    return base


def _stored(
    run: RunDir, plan: Plan, fingerprints: Mapping[str, str], index: int, columns: Sequence[str] | None
) -> pa.Table:
    """Sample ids, columns and errors of the stages that need not run again."""
    file = samples_file(index)
    if not run.exists(file):
        return pa.table({schema.SAMPLE_ID: pa.array([], pa.string())})
    current = _current(plan, fingerprints, run.read_schema(file))
    names = [name for stage in current for name in (f"{DONE}{stage.name}", *stage.writes())]
    if columns is not None:
        names = [name for name in names if name in columns or name.startswith(DONE)]
    names += marks(plan)
    table = run.read_table(file, [schema.SAMPLE_ID, *names, schema.ERROR])
    table = table.select([schema.SAMPLE_ID, *(name for name in names if name in table.column_names), schema.ERROR])
    valid = pa.array([stage.name for stage in current], pa.string())
    errors = table[schema.ERROR].combine_chunks()
    stands = pc.is_in(pc.struct_field(errors, "stage"), value_set=valid)
    errors = errors.take(pc.if_else(stands, pa.array(range(len(errors)), pa.int64()), None))
    return table.set_column(table.column_names.index(schema.ERROR), schema.ERROR, errors)


def _current(plan: Plan, fingerprints: Mapping[str, str], stored: pa.Schema) -> list[RowStage]:
    prints = json.loads((stored.metadata or {}).get(FINGERPRINTS, b"{}"))
    return [stage for stage in plan.row_stages() if prints.get(stage.name) == fingerprints[stage.name]]


def standing(plan: Plan, fingerprints: Mapping[str, str], stored: pa.Schema) -> list[str]:
    """Columns of a samples file's schema that stages wrote with just the settings they have in the plan."""
    return [name for stage in _current(plan, fingerprints, stored) for name in stage.writes()]


def commit(run: RunDir, plan: Plan, fingerprints: Mapping[str, str], index: int, table: pa.Table) -> None:
    """Write the chunk's computed columns anew, whole and at once: those in ``table`` and those that stood before."""
    ids = table[schema.SAMPLE_ID].to_pylist()
    before = _stored(run, plan, fingerprints, index, None)
    positions = pc.index_in(table[schema.SAMPLE_ID], before[schema.SAMPLE_ID])
    merged = {name: table[name] for name in (schema.SAMPLE_ID, schema.IMAGE_ID, schema.ROW)}
    done: dict[str, str] = {}
    for stage in plan.row_stages():
        names = [f"{DONE}{stage.name}", *stage.writes()]
        for name in names:
            if name in table.column_names:
                merged[name] = table[name]
            elif name in before.column_names:
                merged[name] = before[name].take(positions)
        if names[0] in merged:
            done[stage.name] = fingerprints[stage.name]
    merged[schema.ERROR] = table[schema.ERROR]
    for mark in marks(plan):
        if mark in table.column_names:
            merged[mark] = table[mark]
    if len(set(ids)) != len(ids):
        raise ConservationError(f"chunk {index}: {len(ids) - len(set(ids))} samples came twice")
    result = pa.table(merged).replace_schema_metadata({FINGERPRINTS: json.dumps(done).encode()})
    run.write_table(samples_file(index), result)


def blocked(table: pa.Table, stage: RowStage) -> np.ndarray:
    """Rows that are in quarantine because of a stage."""
    errors = table[schema.ERROR].combine_chunks()
    return np.asarray(pc.equal(pc.struct_field(errors, "stage"), stage.name).fill_null(False))


def pack(kept: np.ndarray) -> bytes:
    """A boolean array as bits."""
    return np.packbits(kept).tobytes()


def unpack(bits: bytes, rows: int) -> np.ndarray:
    """The boolean array of ``rows`` that :func:`pack` took."""
    return np.unpackbits(np.frombuffer(bits, dtype=np.uint8), count=rows).astype(bool)
