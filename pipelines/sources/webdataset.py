"""WebDataset tars: members that share a key are one row. A damaged tail costs the member it cuts, and no other."""

from __future__ import annotations

import json
import posixpath
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from typing import IO, Any, Literal

from potstill.config import RequestError
from potstill.pipelines.sources.base import Item, MissingImage, RawRow, Source
from potstill.pipelines.sources.files import File, Place, matching, open_file
from potstill.pipelines.sources.folder import EXTENSIONS
from potstill.pipelines.sources.paths import key
from potstill.pipelines.sources.texts import Texts, texts_of


class DamagedTar(ValueError):
    """A tar whose rest cannot be read."""


@dataclass(slots=True)
class _Sample:
    """Consecutive members with one key: the bytes they span in the tar, and which parts there are."""

    key: str
    start: int
    stop: int = 0
    parts: set[str] = field(default_factory=set)


class WebDataset(Source):
    """One row for each key: the first picture, ``txt`` or ``caption`` as the caption, ``json`` as texts and meta."""

    kind: Literal["webdataset"] = "webdataset"
    path: Place
    """A tar, a folder of tars, or a glob, which may hold braces: ``part-{000..010}.tar``; local or an fsspec URL."""

    def items(self, max_rows: int, max_bytes: int) -> Iterator[Item]:
        """Runs of samples with their place in the tar; only headers are read."""
        found = False
        for file in matching(self.path, {"tar"}):
            try:
                with open_file(self.path, file.path) as stream:
                    samples, damage = _scan(stream, file.size)
            except OSError as error:
                samples, damage = [], str(error)
            for run in _runs(samples, max_rows, max_bytes):
                yield _item(file, run)
            if damage is not None:
                at = json.dumps({"path": file.path, "name": file.name, "error": damage})
                yield Item(f"{key(file.name)}#damaged", file.version, 1, 0, at)
            found = found or bool(samples) or damage is not None
        if not found:
            raise RequestError(f"source.path {self.path!r}: the tars are empty; give another path")

    def read(self, item: Item) -> Iterator[RawRow]:
        """The samples of a run; the damaged rest of a tar is one row with its error."""
        at = json.loads(item.at)
        name = key(at["name"])
        if "error" in at:
            yield RawRow(source=f"{name}#damaged", error=DamagedTar(f"{name}: {at['error']}; fetch it again"))
            return
        try:
            samples = self._samples(at)
        except (OSError, tarfile.TarError) as error:
            for row in range(item.rows):
                yield RawRow(source=f"{item.key}.{row}", error=error)
            return
        for stem, parts in samples:
            yield _row(f"{name}#{key(stem)}", parts)

    def _samples(self, at: dict[str, Any]) -> list[tuple[str, dict[str, bytes]]]:
        """Key and parts of each sample in a range of bytes. Of two parts of one name the first counts."""
        with open_file(self.path, at["path"]) as stream:
            stream.seek(at["from"])
            content = BytesIO(stream.read(at["to"] - at["from"]) + bytes(1536))  # padding, and the end mark of a tar
        samples: list[tuple[str, dict[str, bytes]]] = []
        view = content.getvalue()
        with tarfile.open(fileobj=content, mode="r:") as tar:
            for member in tar:
                stem, part = _split(member.name)
                if not member.isreg():
                    continue
                if not samples or samples[-1][0] != stem:
                    samples.append((stem, {}))
                start = member.offset_data
                samples[-1][1].setdefault(part, view[start : start + member.size])
        return samples


def _runs(samples: list[_Sample], max_rows: int, max_bytes: int) -> Iterator[list[_Sample]]:
    """Samples cut into runs within the limits; a sample larger than the limit is a run of its own."""
    run: list[_Sample] = []
    for sample in samples:
        if run and (len(run) == max_rows or sample.stop - run[0].start > max_bytes):
            yield run
            run = []
        run.append(sample)
    if run:
        yield run


def _split(name: str) -> tuple[str, str]:
    """Key and part of a member: the file name is cut at its first dot, the folder belongs to the key."""
    folder, base = posixpath.split(name)
    stem, _, part = base.partition(".")
    return posixpath.join(folder, stem), part.lower()


def _scan(stream: IO[bytes], size: int) -> tuple[list[_Sample], str | None]:
    """Samples of a tar in order, and what is wrong with its end, if anything is."""
    samples: list[_Sample] = []
    try:
        tar = tarfile.open(fileobj=stream, mode="r:")  # noqa: SIM115 (closing it would only close the stream)
    except tarfile.TarError as error:
        return [], f"not a tar, or its start is damaged ({error})"
    try:
        while (member := tar.next()) is not None:
            tar.members.clear()  # pyright: ignore[reportAttributeAccessIssue] (else tarfile keeps them all)
            stem, part = _split(member.name)
            if member.isreg() and member.offset_data + member.size > size:
                if samples and samples[-1].key == stem and not samples[-1].parts & EXTENSIONS:
                    samples.pop()  # its picture is what was cut: one row with an error, not two
                return samples, f"the file ends inside member {key(member.name)!r}"
            if member.isreg():
                if not samples or samples[-1].key != stem:
                    samples.append(_Sample(stem, member.offset))
                samples[-1].stop = min(size, member.offset_data + -(-member.size // 512) * 512)
                samples[-1].parts.add(part)
                if samples[-1].stop == size:
                    return samples, None
        offset = tar.offset
    except tarfile.TarError as error:
        return samples, f"the file is damaged after {len(samples)} samples ({error})"
    stream.seek(offset)
    rest = stream.read(512)
    if rest.strip(b"\x00"):
        return samples, f"no tar header at byte {offset}, where one must be"
    return samples, None


def _item(file: File, run: list[_Sample]) -> Item:
    start, stop = run[0].start, run[-1].stop
    at = json.dumps({"path": file.path, "name": file.name, "from": start, "to": stop})
    return Item(f"{key(file.name)}#{start}-{stop}", file.version, len(run), stop - start, at)


def _row(source: str, parts: dict[str, bytes]) -> RawRow:
    image = next((parts[part] for part in parts if part in EXTENSIONS), None)
    if image is None:
        have = ", ".join(sorted(parts))
        return RawRow(source=source, error=MissingImage(f"no picture among the parts {have}; add one, or drop the key"))
    texts: Texts = {}
    for part in ("txt", "caption"):
        if part in parts:
            texts.setdefault("caption", parts[part].decode("utf-8-sig", "replace").strip())
    if "json" in parts:
        try:
            texts |= texts_of(parts["json"], f"{source}.json")
        except ValueError as error:
            return RawRow(source=source, image=image, error=error)
    return RawRow(source=source, image=image, **texts)
