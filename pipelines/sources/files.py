"""Finding and opening files below a folder, a glob or one path, on a local disk or any fsspec URL."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated, Any

import fsspec
from fsspec.implementations.local import LocalFileSystem
from pydantic import AfterValidator

from potstill.config import RequestError
from potstill.pipelines.sources.paths import braces, extension


def _absolute(path: str) -> str:
    """A local path made absolute where the plan is read: workers may stand in another folder."""
    if not path:
        raise ValueError("the path is empty; give a folder, a file or a URL")
    if "://" in path:
        return path
    return os.path.normpath(Path(path).expanduser().absolute())


Place = Annotated[str, AfterValidator(_absolute)]
"""A local path or an fsspec URL."""


@dataclass(frozen=True, slots=True)
class File:
    """A file found: ``path`` for the filesystem, ``name`` relative to where the search began, bytes, and version."""

    path: str
    name: str
    size: int
    version: str


def filesystem(place: str) -> tuple[Any, str]:
    """The filesystem of a place and the path in it. Raises :class:`RequestError` for an unknown protocol."""
    if "://" not in place:
        return LocalFileSystem(), place
    try:
        return fsspec.url_to_fs(place)
    except (ValueError, ImportError) as error:
        raise RequestError(f"source.path {place!r}: {error}; install that filesystem or give another path") from error


def open_file(place: str, path: str) -> IO[bytes]:
    """A file of the place, for reading, seekable."""
    fs, _ = filesystem(place)
    return Path(path).open("rb") if isinstance(fs, LocalFileSystem) else fs.open(path, "rb")


def matching(place: str, extensions: Collection[str], *, recursive: bool = True) -> list[File]:
    """Files of one path, below one folder (with one of ``extensions``, lower case, no dot), or of a glob; sorted.

    A glob may hold WebDataset's braces, ``part-{000..010}.tar``. Hidden files are passed over, a link to a folder is
    followed once. Raises :class:`RequestError` when the place is missing, unreadable or has no such file.
    """
    fs, root = filesystem(place)
    try:
        found = _found(fs, root, place, extensions, recursive)
    except OSError as error:
        raise RequestError(f"source.path {place!r} cannot be read: {error}; give a readable path") from error
    if not found:
        kinds = ", ".join(sorted(extensions))
        raise RequestError(f"source.path {place!r} has no file that ends in {kinds}; give another path")
    return sorted(found, key=lambda file: file.name)


def _found(fs: Any, root: str, place: str, extensions: Collection[str], recursive: bool) -> list[File]:
    if fs.isfile(root):
        return [_file(fs, root, posixpath.basename(root), fs.info(root))]
    if fs.isdir(root):
        walk = _walk_local(root, recursive) if isinstance(fs, LocalFileSystem) else _walk(fs, root, recursive)
        files = (_file(fs, path, name, info) for path, name, info in walk)
        return [file for file in files if extension(file.name) in extensions]
    globs = [
        name for pattern in braces(root) for name in (fs.glob(pattern) if re.search(r"[*?\[]", pattern) else [pattern])
    ]
    if globs == [root]:
        raise RequestError(f"source.path {place!r} does not exist; give a folder, a file, a glob or a URL")
    missing = [path for path in globs if not fs.isfile(path)]
    if missing:
        raise RequestError(f"source.path {place!r}: {missing[0]!r} is no file; correct the pattern")
    start = posixpath.dirname(re.split(r"[*?\[{]", root)[0])
    return [_file(fs, path, posixpath.relpath(path, start), fs.info(path)) for path in dict.fromkeys(globs)]


def _file(fs: Any, path: str, name: str, info: os.stat_result | dict[str, Any]) -> File:
    if isinstance(info, os.stat_result):
        return File(path, name, info.st_size, f"{info.st_size}-{info.st_mtime_ns}")
    if isinstance(fs, LocalFileSystem):
        return _file(fs, path, name, Path(path).stat())
    marks = ("ETag", "etag", "md5Hash", "LastModified", "last_modified", "mtime", "created")
    mark = next((str(info[each]) for each in marks if info.get(each)), "")
    return File(path, name, int(info["size"] or 0), f"{info['size']}-{mark}")


def _walk_local(root: str, recursive: bool) -> Iterator[tuple[str, str, os.stat_result]]:
    """Path, relative name and stat. A file that vanished or a dangling link has no stat of its own: lstat is used."""
    seen: set[tuple[int, int]] = set()
    folders = [("", root)]
    while folders:
        prefix, folder = folders.pop()
        stat = Path(folder).stat()
        if (stat.st_dev, stat.st_ino) in seen:
            continue
        seen.add((stat.st_dev, stat.st_ino))
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda each: each.name):
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    folders.extend([(f"{prefix}{entry.name}/", entry.path)] if recursive else [])
                elif entry.is_file() or entry.is_symlink():
                    yield entry.path, prefix + entry.name, entry.stat(follow_symlinks=entry.is_file())


def _walk(fs: Any, root: str, recursive: bool) -> Iterator[tuple[str, str, dict[str, Any]]]:
    fs.invalidate_cache()
    for path, info in fs.find(root, maxdepth=None if recursive else 1, detail=True).items():
        name = posixpath.relpath(path, root)
        if not any(part.startswith(".") for part in name.split("/")):
            yield path, name, info
