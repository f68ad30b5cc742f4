"""The stored columns of a whole run as one table, sorted by sample id: what a preview decides from."""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.fs as pafs

from potstill.pipelines import chunk, schema
from potstill.pipelines.marks import marks, void_changed
from potstill.pipelines.report.standing import Standing
from potstill.pipelines.rundir import RunDir

logger = logging.getLogger(__name__)

THREADS = 4
INTAKE = [schema.SOURCE, schema.IMAGE_ID, *schema.TEXTS, schema.ERROR]
EMPTY = pa.table({schema.SAMPLE_ID: pa.array([], pa.string()), schema.ERROR: pa.array([], schema.ERROR_TYPE)})
FINAL = "decisions/final.parquet"


def stored(standing: Standing, columns: Sequence[str]) -> pa.Table:
    """Sample ids, errors, which stages have run, and these columns, as :func:`chunk.load` names them.

    Of a finished run all files are scanned together, which is ten times as fast as chunk by chunk; the result is
    the same.
    """
    table = None
    if standing.state == "done":
        try:
            table = _scanned(standing, columns)
        except (pa.ArrowException, OSError) as error:
            logger.warning("reading chunk by chunk: %s", error)
    table = _loaded(standing, columns) if table is None else table
    return table.take(pc.sort_indices(table[schema.SAMPLE_ID])).combine_chunks()


def _inputs(columns: Sequence[str]) -> list[str]:
    """Columns of the source that are wanted, without their prefix."""
    named = [name.removeprefix(chunk.INPUT) for name in columns if name.startswith(chunk.INPUT)]
    return [name for name in schema.INPUT_COLUMNS if name in {*named, schema.SOURCE} and name != schema.IMAGE]


def _loaded(standing: Standing, columns: Sequence[str]) -> pa.Table:
    """Chunk by chunk, those that were taken in."""
    hashed = [name for names, _ in marks(standing.plan).values() for name in names]
    keep = {f"{chunk.INPUT}{name}" for name in _inputs([*columns, *hashed])}

    def load(index: int) -> pa.Table:
        duplicates = standing.duplicate_rows(standing.run.read_table(chunk.images_file(index), INTAKE))
        table = chunk.load(standing.run, standing.plan, standing.prints, index, duplicates, [*columns, schema.ERROR])
        return table.select([n for n in table.column_names if n in keep or not n.startswith(chunk.INPUT)])

    taken = [index for index in standing.indices if standing.run.exists(chunk.images_file(index))]
    with ThreadPoolExecutor(THREADS) as pool:
        tables = list(pool.map(load, taken))
    return pa.concat_tables([EMPTY, *tables], promote_options="permissive")


def _scanned(standing: Standing, columns: Sequence[str]) -> pa.Table | None:
    """All files together; None when they do not fit what the run wrote down at its end."""
    run, indices = standing.run, standing.indices
    if not run.exists(FINAL):
        return None
    aside = marks(standing.plan)
    hashed = [name for names, _ in aside.values() for name in names]
    inputs = _inputs([*columns, *hashed])
    texts = schema.TEXTS if standing.duplicates else ()
    types = {name: schema.IMAGES.field(name).type for name in {schema.IMAGE_ID, schema.ERROR, *inputs, *texts}}
    images = _scan(run, _fragments(run, [chunk.images_file(index) for index in indices]), types)
    good = np.array(images[schema.ERROR].is_null())
    if standing.duplicates:
        good[list(standing.duplicate_rows(images))] = False
    rows = np.repeat(np.flatnonzero(good), standing.plan.intake.samples_per_image)
    final = run.read_table(FINAL, [schema.SAMPLE_ID, schema.IMAGE_ID])
    rows = images.select([schema.IMAGE_ID, *inputs]).take(pa.array(rows))
    if not rows[schema.IMAGE_ID].equals(final[schema.IMAGE_ID]):
        return None
    table = final.select([schema.SAMPLE_ID])
    for name in inputs:
        table = table.append_column(f"{chunk.INPUT}{name}", rows[name])
    found = _samples(standing, [name for name in columns if not name.startswith(chunk.INPUT)])
    at = pc.index_in(table[schema.SAMPLE_ID], found[schema.SAMPLE_ID])
    for name in found.column_names[1:]:
        table = table.append_column(name, found[name].take(at))
    for mark, (names, stages) in aside.items():
        table = void_changed(table, mark, names, stages)
    return table


def _samples(standing: Standing, columns: Sequence[str]) -> pa.Table:
    """What stages have written, each file with the columns that still stand in it."""
    run, stages = standing.run, standing.plan.row_stages()
    names = [chunk.samples_file(index) for index in standing.indices]
    groups: dict[tuple[str, ...], list[pads.ParquetFileFragment]] = defaultdict(list)
    vectors: dict[str, pa.DataType] = {}
    for fragment in _fragments(run, [name for name in names if run.exists(name)]):
        there = fragment.physical_schema
        prints: Mapping[str, str] = json.loads((there.metadata or {}).get(chunk.FINGERPRINTS, b"{}"))
        current = [stage.name for stage in stages if prints.get(stage.name) == standing.prints[stage.name]]
        groups[tuple(current)].append(fragment)
        for name in set(columns) & set(there.names):
            if not pa.types.is_null(there.field(name).type):
                vectors.setdefault(name, there.field(name).type)
    parts: list[pa.Table] = []
    for current, fragments in groups.items():
        types = {schema.SAMPLE_ID: pa.string()}
        for stage in stages:
            if stage.name in current:
                types[f"{chunk.DONE}{stage.name}"] = pa.bool_()
                wanted = {name: kind for name, kind in stage.writes().items() if name in columns}
                types |= {name: kind or vectors.get(name, pa.null()) for name, kind in wanted.items()}
        types |= dict.fromkeys(marks(standing.plan), pa.string())
        part = _scan(run, fragments, {**types, schema.ERROR: schema.ERROR_TYPE})
        errors = part[schema.ERROR].combine_chunks()
        stands = pc.is_in(pc.struct_field(errors, "stage"), value_set=pa.array(current, pa.string()))
        errors = errors.take(pc.if_else(stands, pa.array(np.arange(len(errors))), None))
        parts.append(part.set_column(part.column_names.index(schema.ERROR), schema.ERROR, errors))
    return pa.concat_tables([EMPTY, *parts], promote_options="permissive")


def _fragments(run: RunDir, names: Sequence[str]) -> list[pads.ParquetFileFragment]:
    """Parquet files to be scanned together; nothing is read yet."""
    system = pafs.LocalFileSystem() if run.local else fsspec.url_to_fs(run.url)[0]
    return [pads.ParquetFileFormat().make_fragment(run.path(name), system) for name in names]


def _scan(run: RunDir, fragments: Sequence[pads.ParquetFileFragment], types: Mapping[str, pa.DataType]) -> pa.Table:
    """These columns of all files, in their order."""
    return pads.FileSystemDataset(list(fragments), pa.schema(list(types.items())), pads.ParquetFileFormat()).to_table()
