"""Paths as text: keys, extensions, braces, and paths that are not to be trusted."""

from __future__ import annotations

import os
import posixpath
import re
from functools import lru_cache
from pathlib import Path

from potstill.config import RequestError


def key(name: str) -> str:
    """``name`` as valid UTF-8, different names staying different: bytes that are no UTF-8 are written ``\\udcff``."""
    return name.replace("\\", "\\\\").encode("utf-8", "backslashreplace").decode()


def extension(name: str) -> str:
    """What follows the last dot of the file name, in lower case."""
    return posixpath.splitext(posixpath.basename(name))[1][1:].lower()


def braces(pattern: str) -> list[str]:
    """The pattern with ``{000..010}`` and ``{a,b}`` written out.

    >>> braces("x-{08..10}.tar")
    ['x-08.tar', 'x-09.tar', 'x-10.tar']
    """
    match = re.search(r"\{([^{}]*)\}", pattern)
    if match is None:
        return [pattern]
    span = re.fullmatch(r"(\d+)\.\.(\d+)", match[1])
    if span:
        width = len(span[1])
        if int(span[2]) - int(span[1]) >= 1_000_000:
            raise RequestError(f"source.path {pattern!r} names over a million files; correct the braces")
        options = [f"{number:0{width}}" for number in range(int(span[1]), int(span[2]) + 1)]
    elif "," in match[1]:
        options = match[1].split(",")
    else:
        return [pattern]
    return [text for option in options for text in braces(pattern[: match.start()] + option + pattern[match.end() :])]


class OutsidePath(ValueError):
    """A picture's path that leads out of its folder, or to another place."""


def inside(folder: str, path: str) -> str:
    """``path`` below ``folder``, links followed. Raises :class:`OutsidePath`: what a file names is not trusted."""
    if "://" in path or path.startswith("data:"):
        raise OutsidePath(f"{path[:200]!r} is a URL, which is not fetched; download the pictures and give local paths")
    if "\x00" in path:
        raise OutsidePath(f"{path[:200]!r} is no file name; correct it")
    joined = posixpath.normpath(posixpath.join(folder, path))
    if joined != folder and not joined.startswith(folder.rstrip("/") + "/"):
        raise OutsidePath(f"{path[:200]!r} leads out of {folder!r}; move the picture, or set source.root")
    if "://" not in folder and Path(folder).is_dir():
        real = os.path.realpath(joined) if Path(joined).is_symlink() else _real(posixpath.dirname(joined))
        if real != _real(folder) and not real.startswith(_real(folder).rstrip("/") + "/"):
            raise OutsidePath(f"{path[:200]!r} is a link out of {folder!r}; move the picture, or set source.root")
    return joined


@lru_cache(maxsize=4096)
def _real(folder: str) -> str:
    """A folder, links followed; kept, as one folder holds many pictures."""
    return os.path.realpath(folder)
