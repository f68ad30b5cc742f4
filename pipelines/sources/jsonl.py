"""JSON lines, or one JSON list, of records that name an image file and carry texts (LLaVA, MM-INF and plain pairs)."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import xxhash
from fsspec.implementations.local import LocalFileSystem

from potstill.config import RequestError
from potstill.pipelines.sources.base import Item, MissingImage, RawRow, Source
from potstill.pipelines.sources.conversation import first_turns
from potstill.pipelines.sources.files import File, Place, filesystem, matching, open_file
from potstill.pipelines.sources.paths import inside, key
from potstill.pipelines.sources.records import Record, elements, lines
from potstill.pipelines.sources.texts import BadRecord, split_texts

IMAGE_KEYS = ("image", "images", "image_path", "image_file", "img", "file_name", "path")
ASSUMED_BYTES = 512 << 10
"""What a picture is taken to weigh where its size would cost a request."""


class Jsonl(Source):
    """One row for each record; one picture may be in many. What is no text of ours goes to ``meta``."""

    kind: Literal["jsonl"] = "jsonl"
    path: Place
    """A ``.jsonl`` or ``.json`` file, a folder of them, or a glob; local or an fsspec URL."""
    root: Place | None = None
    """Folder that image paths start from; the file's own unless given. Paths that lead out of it are refused."""

    def items(self, max_rows: int, max_bytes: int) -> Iterator[Item]:
        """Runs of records by their bytes in the file. Pictures are not opened; local ones are asked for their size."""
        found = False
        for file in matching(self.path, {"jsonl", "json", "ndjson"}):
            try:
                stream = open_file(self.path, file.path)
            except OSError as error:
                raise RequestError(f"source.path: cannot read {file.path!r}: {error}; give a readable file") from error
            with stream:
                head = stream.read(4096)
                stream.seek(0)
                is_list = head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[")
                records = elements(stream.read(), head.find(b"[") + 1) if is_list else lines(stream)
                for item in self._runs(file, records, is_list, max_rows, max_bytes):
                    found = True
                    yield item
        if not found:
            raise RequestError(f"source.path {self.path!r} has no records; give another path")

    def _runs(
        self, file: File, records: Iterator[Record], is_list: bool, max_rows: int, max_bytes: int
    ) -> Iterator[Item]:
        """Records cut into runs. A run's version is made of its own text and the pictures' sizes and times."""
        run: list[Record] = []
        digest, size = xxhash.xxh3_128(), 0
        for record in records:
            weight, mark = self._weigh(record, file)
            if run and (len(run) == max_rows or size + weight > max_bytes):
                yield _item(file, run, digest.hexdigest(), size, is_list)
                run, digest, size = [], xxhash.xxh3_128(), 0
            run.append(Record(record.number, record.start, record.stop, b""))
            digest.update(record.text + mark.encode())
            size += weight
        if run:
            yield _item(file, run, digest.hexdigest(), size, is_list)

    def read(self, item: Item) -> Iterator[RawRow]:
        """The records of a run. A record or picture that cannot be read is a row with that error."""
        at = json.loads(item.at)
        name = key(at["name"])
        try:
            with open_file(self.path, at["path"]) as stream:
                stream.seek(at["from"])
                data = stream.read(at["to"] - at["from"])
        except OSError as error:
            for row in range(item.rows):
                yield RawRow(source=f"{name}#{at['number'] + row}", error=error)
            return
        records = elements(data, 0) if at["list"] else lines(BytesIO(data))
        for record in records:
            number = at["number"] + record.number - 1
            yield self._row(record, f"{name}#{number}", posixpath.dirname(at["path"]))

    def _row(self, record: Record, source: str, folder: str) -> RawRow:
        try:
            content = _parsed(record.text, source)
        except BadRecord as error:
            return RawRow(source=source, error=error)
        turns = first_turns(content)
        texts = split_texts(turns | content)
        try:
            with open_file(self.root or self.path, self._image_path(content, folder)) as stream:
                return RawRow(source=source, image=stream.read(), **texts)
        except (OSError, ValueError) as error:
            return RawRow(source=source, error=error, **texts)

    def _image_path(self, content: dict[str, Any], folder: str) -> str:
        """Path of a record's picture in the filesystem. Raises ValueError when there is none, or one not to be read."""
        value = next((content[name] for name in IMAGE_KEYS if content.get(name)), None)
        if isinstance(value, list):
            if len(value) > 1:
                raise BadRecord(f"{len(value)} pictures in one record; only records with one are read")
            value = value[0]
        if isinstance(value, dict):
            value = value.get("path")
        if not isinstance(value, str):
            raise MissingImage(f"no picture is named under {', '.join(IMAGE_KEYS)}; add one, or leave the record out")
        return inside(filesystem(self.root)[1] if self.root else folder, value)

    def _weigh(self, record: Record, file: File) -> tuple[int, str]:
        """About how many bytes a record and its picture hold, and what changes when the picture does."""
        if not isinstance(filesystem(self.root or self.path)[0], LocalFileSystem):
            return len(record.text) + ASSUMED_BYTES, ""
        try:
            path = self._image_path(_parsed(record.text, ""), posixpath.dirname(file.path))
            stat = Path(path).stat()
        except (OSError, ValueError):
            return len(record.text), ""  # reading the row will say what is wrong
        return len(record.text) + stat.st_size, f"{stat.st_size}-{stat.st_mtime_ns}"


def _item(file: File, run: list[Record], version: str, size: int, is_list: bool) -> Item:
    first, last = run[0], run[-1]
    at = {"path": file.path, "name": file.name, "number": first.number, "from": first.start, "to": last.stop}
    name = f"{key(file.name)}#{first.number}-{last.number}"
    return Item(name, version, len(run), size, json.dumps(at | {"list": is_list}))


def _parsed(text: bytes, source: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadRecord(f"{source}: not valid JSON ({error}); correct the line, or leave it out") from None
    if not isinstance(content, dict):
        raise BadRecord(f"{source}: a JSON {type(content).__name__}, not an object; correct it, or leave it out")
    return content
