"""An evaluation set on disk: its files, and their columns."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import xxhash

from potstill.pipelines import schema
from potstill.pipelines.rundir import RunDir


def files(url: str) -> tuple[RunDir, list[str]]:
    """The Parquet files of an evaluation set: one file, a folder of them, or the samples of a run folder.

    Relative paths are those of this process. Raises ``ValueError`` when there are none.
    """
    if url.endswith(".parquet"):
        folder, _, name = url.rpartition("/")
        run, names = RunDir(folder or "."), [name]
        names = names if run.exists(name) else []
    else:
        run = RunDir(url)
        inner = "samples" if run.exists("run.json") else ""
        names = [f"{inner}/{name}".strip("/") for name in run.list(inner) if name.endswith(".parquet")]
    if not names:
        raise ValueError(f"against: no Parquet file at {url!r}; give a Parquet file, a folder of them, or a run folder")
    return run, names


def digest(url: str) -> str:
    """Changes with the content of the files."""
    run, names = files(url)
    state = xxhash.xxh3_128()
    for name in names:
        with run.open(name) as file:
            while data := file.read(1 << 20):
                state.update(data)
    return state.hexdigest()


def load(url: str, columns: Sequence[str], id_: str) -> pa.Table:
    """The columns of all rows of an evaluation set and, as ``id``, what they are known by.

    A run folder's input columns are looked up in its images. Raises ``ValueError`` for a column that is not there.
    """
    run, names = files(url)
    wanted = list(dict.fromkeys((*columns, id_)))
    tables = []
    for name in names:
        table = run.read_table(name, [*wanted, schema.ROW])
        missing = [column for column in wanted if column not in table.column_names]
        if missing and name.startswith("samples/"):
            images = run.read_table(f"images/{name.removeprefix('samples/')}", missing).take(table[schema.ROW])
            for column in images.column_names:
                table = table.append_column(column, images[column])
        for column in wanted:
            if column not in table.column_names:
                there = ", ".join(run.read_schema(name).names)
                raise ValueError(f"against: {run.path(name)} has no column {column!r}; columns there: {there}")
        tables.append(table.select(wanted))
    return pa.concat_tables(tables, promote_options="permissive").combine_chunks()
