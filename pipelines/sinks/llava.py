"""LLaVA's format: one JSON list of conversations, and the pictures as files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any, Literal

import pyarrow as pa

from potstill.pipelines import schema
from potstill.pipelines.rundir import RunDir
from potstill.pipelines.sinks.base import Sink
from potstill.pipelines.sinks.parts import image_name, part, prune

FOLDER = "llava"
IMAGES = f"{FOLDER}/images"


class Llava(Sink):
    """``llava/llava.json`` with ``id``, ``image`` (a list for a group) and ``conversations``; ``llava/images/ID.ext``.

    A row without an instruction asks for nothing and shows its caption as the answer.
    """

    kind: Literal["llava"] = "llava"

    def write_part(self, run: RunDir, chunk: int, rows: pa.Table) -> None:
        """The pictures of a chunk, then its records as JSON lines; a picture that is there already is left."""
        name = part(FOLDER, chunk, "jsonl")
        if rows.num_rows == 0:
            run.remove(name)
            return
        records = rows.select([each for each in _READS if each in rows.column_names]).to_pylist()
        for record, images in zip(records, _pictures(rows), strict=True):
            record["files"] = []
            for file, image in images:
                if not run.exists(f"{IMAGES}/{file}"):
                    run.write_bytes(f"{IMAGES}/{file}", image)
                record["files"].append(f"images/{file}")
        lines = "".join(json.dumps(_record(record), ensure_ascii=False) + "\n" for record in records)
        run.write_bytes(name, lines.encode())

    def finish(self, run: RunDir, chunks: Sequence[int], card: Mapping[str, Any]) -> None:
        """Join the parts to the list, in the order of chunks, and remove pictures that no record names."""
        names = prune(run, FOLDER, set(chunks))
        used: set[str] = set()

        def fill(file: IO[bytes]) -> None:
            comma = b"[\n"
            for name in names:
                for line in run.read_bytes(f"{FOLDER}/{name}").splitlines():
                    image = json.loads(line)["image"]
                    used.update([image] if isinstance(image, str) else image)
                    file.write(comma + line)
                    comma = b",\n"
            file.write(b"[]\n" if comma == b"[\n" else b"\n]\n")

        run.write(f"{FOLDER}/llava.json", fill)
        for image in run.list(IMAGES):
            if f"images/{image}" not in used:
                run.remove(f"{IMAGES}/{image}")


_READS = (schema.SAMPLE_ID, schema.IMAGE_ID, schema.FORMAT, *schema.TEXTS)


def _pictures(rows: pa.Table) -> Iterator[list[tuple[str, bytes]]]:
    """Per row, the file name and the bytes of its picture, or of those of its group."""
    if schema.IMAGES_OF_GROUP in rows.column_names:
        for group in rows[schema.IMAGES_OF_GROUP]:
            yield [(image["path"], image["bytes"]) for image in group.as_py()]
        return
    for id_, kind, image in zip(*(rows[name] for name in (schema.IMAGE_ID, schema.FORMAT, schema.IMAGE)), strict=True):
        yield [(image_name(id_.as_py(), kind.as_py()), image.as_py())]


def _record(row: Mapping[str, Any]) -> dict[str, Any]:
    asks = row.get(schema.INSTRUCTION)
    answer = row.get(schema.RESPONSE) if asks else row.get(schema.RESPONSE) or row.get(schema.CAPTION)
    return {
        "id": row[schema.SAMPLE_ID],
        "image": row["files"] if len(row["files"]) > 1 else row["files"][0],
        "conversations": [
            {"from": "human", "value": "\n".join(["<image>"] * len(row["files"]) + ([asks] if asks else []))},
            {"from": "gpt", "value": answer or ""},
        ],
    }
