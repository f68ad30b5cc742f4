"""Parquet files beside the source that a plan names: which they are, whether they changed, their vectors."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import xxhash


def parquet_files(path: str) -> list[Path]:
    """The file itself, or the files ``*.parquet`` of a folder by name. ``FileNotFoundError`` when there are none."""
    place = Path(path)
    found = sorted(place.glob("*.parquet")) if place.is_dir() else [place] if place.is_file() else []
    if not found:
        raise FileNotFoundError(f"{path} is no Parquet file and no folder with *.parquet files")
    return found


def digest(path: str) -> str:
    """32 hex digits of the content of :func:`parquet_files`; read again only when a file's size or time changed."""
    states = [(file, file.stat()) for file in parquet_files(path)]
    parts = [_digest(file, state.st_size, state.st_mtime_ns) for file, state in states]
    return xxhash.xxh3_128_hexdigest("".join(parts).encode())


@lru_cache(maxsize=10_000)
def _digest(file: Path, size: int, modified: int) -> str:
    state = xxhash.xxh3_128()
    with file.open("rb") as opened:
        while data := opened.read(2**20):
            state.update(data)
    return state.hexdigest()


def matrix(column: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """A column of lists of numbers, all of one length and none null: float64 (n, d)."""
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    kind = column.type
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)):
        raise ValueError(f"a column of vectors holds lists of numbers, this one {kind}")
    lengths = set(column.value_lengths().to_pylist()) if len(column) else {0}
    if len(lengths) > 1 or None in lengths:
        raise ValueError(f"vectors of one column have one length, these have {sorted(lengths, key=str)}")
    return np.asarray(column.flatten()).astype(np.float64).reshape(len(column), lengths.pop())
