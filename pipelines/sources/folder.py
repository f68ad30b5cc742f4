"""A folder of image files, with captions beside them where there are any."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterator
from typing import Any, Literal

from potstill.config import RequestError
from potstill.pipelines.sources.base import Item, RawRow, Source
from potstill.pipelines.sources.files import File, Place, matching, open_file
from potstill.pipelines.sources.paths import extension, key
from potstill.pipelines.sources.texts import Texts, texts_of

EXTENSIONS = frozenset({"jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff"})
SIDECARS = ("txt", "json")


class Folder(Source):
    """One row for each image file. ``NAME.txt`` beside ``NAME.jpg`` is its caption, ``NAME.json`` has texts by key."""

    kind: Literal["folder"] = "folder"
    path: Place
    """A folder, one image file, or a glob; local or an fsspec URL."""
    recursive: bool = True
    """Look into subfolders."""
    sidecars: bool = True
    """Read ``NAME.txt`` and ``NAME.json``."""

    def items(self, max_rows: int, max_bytes: int) -> Iterator[Item]:
        """One item for each image file, by path. Other files are passed over."""
        files = matching(self.path, {*EXTENSIONS, *SIDECARS}, recursive=self.recursive)
        images = [file for file in files if extension(file.name) in EXTENSIONS]
        if not images:
            raise RequestError(
                f"source.path {self.path!r} has no image ({', '.join(sorted(EXTENSIONS))}); give another path"
            )
        beside = {file.name: file for file in files if extension(file.name) in SIDECARS} if self.sidecars else {}
        for image in images:
            yield _item(image, beside)

    def read(self, item: Item) -> Iterator[RawRow]:
        """The row of one file. A file that cannot be read is a row with that error."""
        at = json.loads(item.at)
        try:
            with open_file(self.path, at["path"]) as file:
                data = file.read()
        except OSError as error:
            yield RawRow(source=item.key, error=error)
            return
        try:
            texts = self._texts(at)
        except (OSError, ValueError) as error:
            yield RawRow(source=item.key, image=data, error=error)
            return
        yield RawRow(source=item.key, image=data, **texts)

    def _texts(self, at: dict[str, Any]) -> Texts:
        """Texts of the sidecars; the JSON file wins over the text file."""
        texts: Texts = {}
        if "txt" in at:
            with open_file(self.path, at["txt"]) as file:
                texts["caption"] = file.read().decode("utf-8-sig", "replace").strip()
        if "json" in at:
            with open_file(self.path, at["json"]) as file:
                content = file.read()
            texts |= texts_of(content, posixpath.basename(at["json"]))
        return texts


def _item(image: File, beside: dict[str, File]) -> Item:
    stem = posixpath.splitext(image.name)[0]
    mine = {kind: beside[f"{stem}.{kind}"] for kind in SIDECARS if f"{stem}.{kind}" in beside}
    return Item(
        key=key(image.name),
        version="+".join([image.version, *(f"{kind}:{file.version}" for kind, file in mine.items())]),
        rows=1,
        bytes=image.size,
        at=json.dumps({"path": image.path, **{kind: file.path for kind, file in mine.items()}}),
    )
