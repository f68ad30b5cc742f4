"""WebDataset: one tar per chunk, a picture, its texts and its numbers under one key."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any, Literal

import pyarrow as pa

from potstill.pipelines import schema
from potstill.pipelines.rundir import RunDir
from potstill.pipelines.sinks.base import Sink
from potstill.pipelines.sinks.parts import chosen, image_name, part, prune

FOLDER = "webdataset"


class WebDatasetTars(Sink):
    """``webdataset/part-NNNNN.tar`` with ``SAMPLE_ID.jpg`` (or what it is), ``.txt`` (the caption) and ``.json``.

    The pictures of a group are ``SAMPLE_ID.0.jpg``, ``SAMPLE_ID.1.jpg`` and so on.
    """

    kind: Literal["webdataset"] = "webdataset"
    columns: tuple[str, ...] | None = None
    """Columns in the JSON member; all but embeddings unless given."""
    embeddings: bool = False
    """Write embedding columns too, as lists of numbers."""

    def write_part(self, run: RunDir, chunk: int, rows: pa.Table) -> None:
        """The same rows give the same bytes: no times, owners or machine names are written."""
        name = part(FOLDER, chunk, "tar")
        if rows.num_rows == 0:
            run.remove(name)
            return
        out = chosen(rows.schema, self.columns, embeddings=self.embeddings)
        names = [each for each in out if each not in (schema.IMAGE, schema.IMAGES_OF_GROUP)]
        run.write(name, lambda file: _fill(file, rows, names))

    def finish(self, run: RunDir, chunks: Sequence[int], card: Mapping[str, Any]) -> None:
        """Remove the parts of other chunks."""
        prune(run, FOLDER, set(chunks))


def _fill(file: IO[bytes], rows: pa.Table, names: Sequence[str]) -> None:
    with tarfile.open(fileobj=file, mode="w|", format=tarfile.GNU_FORMAT) as tar:
        for name, content in _members(rows, names):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def _members(rows: pa.Table, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """The caption is also the text member, else the instruction and the response."""
    for row in rows.to_batches(max_chunksize=64):
        for record in row.to_pylist():
            key = record[schema.SAMPLE_ID]
            alone = {"path": image_name(record[schema.IMAGE_ID], record[schema.FORMAT]), "bytes": record[schema.IMAGE]}
            images = record.get(schema.IMAGES_OF_GROUP) or [alone]
            for number, image in enumerate(images):
                extension = image["path"].rpartition(".")[2]
                yield f"{key}.{f'{number}.' if len(images) > 1 else ''}{extension}", image["bytes"]
            texts = [record.get(schema.INSTRUCTION), record.get(schema.RESPONSE)]
            text = record.get(schema.CAPTION) or "\n".join(each for each in texts if each)
            yield f"{key}.txt", text.encode()
            values = {name: record[name] for name in names}
            yield f"{key}.json", json.dumps(values, ensure_ascii=False, default=_as_json).encode()


def _as_json(value: Any) -> str:
    """What JSON has no type for, as text: bytes (a hash) in hex."""
    return value.hex() if isinstance(value, bytes) else str(value)
