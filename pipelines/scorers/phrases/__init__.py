"""Lists of phrases that scorers look for: one regular expression a line; a line that starts with ``#`` is a comment.

They are matched against lower-cased text with plain apostrophes and single spaces, at word boundaries.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from pathlib import Path

import xxhash

_APOSTROPHES: dict[int, str] = dict.fromkeys((0x2018, 0x2019, 0x02BC, 0x00B4, 0x0060), "'")


@cache
def phrases(name: str) -> re.Pattern[str]:
    """One pattern of all phrases in ``<name>.txt`` of this folder; it neither starts nor ends inside a Latin word."""
    lines = [line.strip() for line in _text(name).splitlines() if line.strip() and not line.startswith("#")]
    return re.compile(rf"(?<![a-z](?=[a-z]))(?:{'|'.join(lines)})(?!(?<=[a-z])[a-z])")


def digest(*names: str) -> str:
    """What the lists hold, as 16 hex digits: for a stage's identity."""
    return xxhash.xxh3_64_hexdigest("\0".join(_text(name) for name in names).encode())


def plain(text: str) -> str:
    """``text`` as the phrases expect it."""
    return " ".join(unicodedata.normalize("NFKC", text).translate(_APOSTROPHES).lower().split())


@cache
def _text(name: str) -> str:
    return Path(__file__).with_name(f"{name}.txt").read_text(encoding="utf-8")
