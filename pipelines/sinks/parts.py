"""What the sinks share: file names, which columns go out, and parts that come and go with their chunks."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

import pyarrow as pa

from potstill.config import RequestError
from potstill.pipelines import schema
from potstill.pipelines.rundir import RunDir

EXTENSION = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "GIF": "gif", "BMP": "bmp", "TIFF": "tif"}
INTERNAL = (schema.ROW, schema.ERROR, "dropped_by")
"""Columns of the run itself; a kept row has nothing in them."""


def part(folder: str, chunk: int, extension: str) -> str:
    """Name of a chunk's part in the run directory."""
    return f"{folder}/part-{chunk:05d}.{extension}"


def chunk_of(name: str) -> int | None:
    """The chunk number in a part's file name; None for another file."""
    match = re.fullmatch(r"part-(\d+)\.\w+", name)
    return int(match[1]) if match else None


def prune(run: RunDir, folder: str, chunks: Collection[int]) -> list[str]:
    """Remove the parts of all other chunks. Returns the file names of the parts that stay, by chunk."""
    numbers = {name: chunk_of(name) for name in run.list(folder)}
    for name, number in numbers.items():
        if number is not None and number not in chunks:
            run.remove(f"{folder}/{name}")
    return sorted(name for name, number in numbers.items() if number is not None and number in chunks)


def image_name(image_id: str, format_name: str | None) -> str:
    """File name of a picture: its id and the extension of what it really is."""
    return f"{image_id}.{EXTENSION.get(format_name or '', 'bin')}"


def is_vector(kind: pa.DataType) -> bool:
    """Whether a column holds embeddings: lists of numbers."""
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)
    return False


def chosen(have: pa.Schema, columns: Sequence[str] | None, *, embeddings: bool) -> list[str]:
    """Names of the columns that go out: those asked for, else all but internal ones and (unless wanted) embeddings."""
    if columns is not None:
        missing = [name for name in columns if name not in have.names]
        if missing:
            known = ", ".join(sorted(have.names))
            raise RequestError(f"sink.columns: there is no column {missing[0]!r}; columns: {known}")
        return list(columns)
    return [
        field.name
        for field in have
        if field.name not in INTERNAL and (embeddings or not is_vector(field.type))
    ]  # fmt: skip
