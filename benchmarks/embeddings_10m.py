"""Semantic deduplication and concept clusters over many embeddings on disk.

    python -m benchmarks.embeddings_10m [--rows 100000 1000000 10000000] [--folder /tmp/emb]

Writes 256 numbers of float16 a row to Parquet and runs both selectors over the files on a local Ray. The rows lie in
1000 concepts of very different size, each of 32 dimensions; a tenth are planted near copies (cosine 0.96 to 0.995) of a
row elsewhere, a twentieth decoys (0.85 to 0.93), one in a hundred is always the same vector. Memory is the proportional
set size of the driver, Ray and its workers together, at the peak, without the kernel's cache of files.

Recall: planted pairs of which one row was dropped for the other. Precision: dropped rows whose keeper was planted so.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from benchmarks.common import Usage, print_table
from potstill.pipelines import schema
from potstill.pipelines.rowset import RowSet, in_order
from potstill.pipelines.rundir import RunDir
from potstill.pipelines.selectors.concept_clusters import ConceptClusters
from potstill.pipelines.selectors.selector import Choice, Selector
from potstill.pipelines.selectors.semantic_duplicates import SemanticDuplicates

WIDTH, CONCEPTS, DIMENSIONS, FAMILIES = 256, 1000, 32, 64
BLOCK = 50_000
COPIES, DECOYS, SAME = BLOCK // 10, BLOCK // 20, BLOCK // 100
COPIED = COPIES + DECOYS
ORIGINALS = BLOCK - COPIED - SAME


@dataclass(frozen=True)
class RowGroup:
    """A block of rows: one row group of a Parquet file."""

    path: str
    number: int

    def read(self, columns: Sequence[str]) -> pa.Table:
        """``sample_id`` and the columns."""
        with pq.ParquetFile(self.path) as file:
            return file.read_row_group(self.number, columns=[schema.SAMPLE_ID, *columns])


class World:
    """Rows that can be made block by block, each block from its number alone."""

    def __init__(self, blocks: int, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.blocks, self.seed = blocks, seed
        self.centres = unit(rng.standard_normal((CONCEPTS, WIDTH), np.float32))
        self.bases = rng.standard_normal((FAMILIES, DIMENSIONS, WIDTH), np.float32) / np.sqrt(WIDTH * DIMENSIONS)
        self.share = 1 / np.arange(1, CONCEPTS + 1)

    def originals(self, number: int, copied: bool) -> np.ndarray:
        """New rows of a block, those that another block copies or the others: unit vectors (m, d)."""
        rng = np.random.default_rng((self.seed, number, copied))
        count = COPIED if copied else ORIGINALS - COPIED
        concept = rng.choice(CONCEPTS, count, p=self.share / self.share.sum())
        inner = rng.standard_normal((count, DIMENSIONS), np.float32)
        rows = self.centres[concept]
        for family in range(FAMILIES):
            mine = np.flatnonzero(concept % FAMILIES == family)
            rows[mine] += inner[mine] @ self.bases[family].astype(np.float32)
        return unit(rows)

    def partner(self, number: int) -> int:
        """The block that a block's copies are copies of: each block is the partner of one."""
        return (number + self.blocks // 2) % self.blocks

    def block(self, number: int) -> tuple[list[str], np.ndarray]:
        """Ids, and vectors in float16 (BLOCK, d): originals, copies, decoys, the row that is always the same."""
        rng = np.random.default_rng((self.seed, number, 2))
        source = self.originals(self.partner(number), copied=True)
        cosine = np.concatenate([rng.uniform(0.96, 0.995, COPIES), rng.uniform(0.85, 0.93, DECOYS)])[:, None]
        noise = rng.standard_normal(source.shape, np.float32)
        noise = unit(noise - (noise * source).sum(axis=1, keepdims=True) * source)
        turned = cosine * source + np.sqrt(1 - cosine**2) * noise
        same = np.repeat(self.centres[:1], SAME, axis=0)
        own = self.originals(number, copied=True), self.originals(number, copied=False)
        vectors = np.concatenate([*own, turned.astype(np.float32), same]).astype(np.float16)
        return [self.id(number, place) for place in range(BLOCK)], vectors

    def id(self, number: int, place: int) -> str:
        """Sample id of a row."""
        return xxhash.xxh3_128_hexdigest(f"{self.seed}/{number}/{place}".encode())


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows divided by their length."""
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def write(world: World, folder: Path) -> list[RowGroup]:
    """One file of one row group per block, 26 MB, unless it is there."""
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for number in range(world.blocks):
        path = folder / f"part-{world.blocks:05d}-{number:05d}.parquet"
        if not path.exists():
            ids, vectors = world.block(number)
            flat = pa.Array.from_buffers(pa.float16(), vectors.size, [None, pa.py_buffer(vectors)])
            column = pa.FixedSizeListArray.from_arrays(flat, WIDTH)
            aside = path.with_suffix(".tmp")
            plain = {"use_dictionary": False, "compression": "none", "write_statistics": False}
            pq.write_table(pa.table({schema.SAMPLE_ID: ids, "vector": column}), aside, **plain)
            aside.rename(path)
        found.append(RowGroup(str(path), 0))
    return found


def planted(world: World, rows: RowSet, choice: Choice) -> tuple[float, float]:
    """Recall and precision of a deduplication."""
    behind = choice.columns["semantic_duplicates_duplicate_of"]
    keeper = {}
    dropped = np.flatnonzero(~choice.keep)
    names = behind.take(pa.array(dropped)).to_pylist()
    for place, name in zip(dropped.tolist(), names, strict=True):
        keeper[rows.ids[place].decode()] = name
    hits = right = 0
    for number in range(world.blocks):
        for place in range(COPIES):
            copy, source = world.id(number, ORIGINALS + place), world.id(world.partner(number), place)
            hit = (keeper.get(copy) == source) + (keeper.get(source) == copy)
            hits, right = hits + hit, right + hit
    same = {world.id(number, place) for number in range(world.blocks) for place in range(BLOCK - SAME, BLOCK)}
    right += sum(keeper.get(name) in same for name in same)
    return hits / (COPIES * world.blocks), right / len(keeper)


def measure(selector: Selector, blocks: list[RowGroup], scratch: Path) -> tuple[RowSet, Choice, float, Usage]:
    """One choice of a selector over blocks on disk, the reading of the ids included."""
    from potstill.models.ray_session import session
    from potstill.pipelines import stream

    started = time.perf_counter()
    with Usage() as usage, session("local", spare_cpus=1):
        rows = RowSet(blocks, partial(in_order, stream.over_chunks), RunDir(scratch))
        choice = selector.select(rows, 0)
    took = time.perf_counter() - started
    shutil.rmtree(scratch)
    return rows, choice, took, usage


def main() -> None:
    """Run each size and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000, 10_000_000])
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir(), "emb"))
    options = parser.parse_args()
    table = []
    for count in options.rows:
        world = World(-(-count // BLOCK))
        blocks = write(world, options.folder)
        found = SemanticDuplicates.model_validate({"embedding": "vector"})
        shares = ConceptClusters.model_validate({"embedding": "vector", "budget": 0.3, "clusters": 500})
        for selector in (found, shares):
            rows, choice, took, usage = measure(selector, blocks, options.folder / "scratch")
            recall, precision = planted(world, rows, choice) if selector is found else ("", "")
            kept = int(choice.keep.sum())
            row = (selector.name, len(rows), kept, f"{took:.0f}", f"{usage.cpu:.0f}", usage.peak >> 20)
            table.append((*row, *(f"{share:.4f}" if share else "" for share in (recall, precision))))
            print_table(("stage", "rows", "kept", "seconds", "CPU s", "peak MiB", "recall", "precision"), table[-1:])
    print_table(("stage", "rows", "kept", "seconds", "CPU s", "peak MiB", "recall", "precision"), table)


if __name__ == "__main__":
    main()
