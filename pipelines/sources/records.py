"""Where the records of a JSON-lines file or a JSON list begin and end, in bytes, so that a part can be read alone."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_decoder = json.JSONDecoder()
_SPACE = " \t\r\n"


@dataclass(frozen=True, slots=True)
class Record:
    """Number from 1 (of the line, or in the list), first byte, byte after the last, and the bytes."""

    number: int
    start: int
    stop: int
    text: bytes


def lines(stream: Iterable[bytes]) -> Iterator[Record]:
    """The lines that are not blank; blank ones count in the numbers, as in an editor."""
    start = 0
    for number, line in enumerate(stream, start=1):
        if line.strip(b" \t\r\n\xef\xbb\xbf"):
            yield Record(number, start, start + len(line), line.removeprefix(b"\xef\xbb\xbf"))
        start += len(line)


def elements(data: bytes, start: int) -> Iterator[Record]:
    """The elements of a JSON list whose first stands at or after ``start``; from a damaged place on, all is one record.

    Read as Latin-1, in which one character is one byte: JSON's own signs are ASCII, so they are found where they are.
    """
    text = data.decode("latin-1")
    number, at = 1, start
    while (at := _skip(text, at)) < len(text) and text[at] != "]":
        try:
            _, stop = _decoder.raw_decode(text, at)
            after = _skip(text, stop)
            if after < len(text) and text[after] not in ",]":
                raise ValueError("neither a comma nor the end of the list")
        except (ValueError, RecursionError):
            yield Record(number, at, len(text), data[at:])
            return
        yield Record(number, at, stop, data[at:stop])
        number, at = number + 1, after + (text[after : after + 1] == ",")


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in _SPACE:
        at += 1
    return at
