"""Looks at a JPEG's scans without decoding them: zeroed bytes, and far too many scans.

Zeroed bytes must be told from the long runs of zero bits that blank pictures really have.
A run of zero bits decodes to the symbols whose codes are all zeros, over and over. In a blank area those symbols say
"no change, end of block" and the run is sound. Where one of them is a coefficient instead, 512 zero bits would be
blocks in which coefficient after coefficient has the same value: no encoder ever wrote that. Codes, segments and
symbols are as in ITU-T T.81, annexes B, C, F and G.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

RUN = re.compile(rb"\x00{64,}")
"""What a lost sector or a sparse copy leaves behind: 64 zero bytes and more."""
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
"""Ends a scan: any marker but a stuffed zero, a fill byte and the eight restart markers."""


@dataclass(frozen=True, slots=True)
class _Scan:
    start: int
    end: int
    zero_codes: tuple[int, ...]
    """The AC symbols with the all-zero code, one for each table in use; empty where none are decoded."""


def _tables(content: bytes) -> Iterator[tuple[int, int]]:
    """Number of each Huffman table in a DHT segment (16 and up: AC) and its first symbol, which has the zero code."""
    while len(content) > 17:
        yield content[0], content[17]
        content = content[17 + sum(content[1:17]) :]


def _scans(data: bytes) -> Iterator[_Scan]:
    first: dict[int, int] = {}
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4])
        content = data[at + 4 : at + 2 + length]
        if marker == 0xFF:
            at += 1
            continue
        if marker == 0xD9:
            return
        at += 2 + length
        if marker == 0xC4:
            first.update(_tables(content))
        if marker == 0xDA and content:
            found = _MARKER.search(data, at)
            end = found.start() if found else len(data)
            yield _Scan(at, end, _zero_codes(content, first))
            at = end


def _zero_codes(header: bytes, first: dict[int, int]) -> tuple[int, ...]:
    """AC symbols that zero bits stand for in the scan of an SOS header; a scan of DC alone has none."""
    count = header[0]
    if len(header) < 4 + 2 * count or header[2 * count + 2] == 0:
        return ()
    tables = {0x10 | header[2 + 2 * index] & 0x0F for index in range(count)}
    return tuple(first[table] for table in tables if table in first)


MAX_SCANS = 500
"""Progressive pictures have about ten scans. A decoder goes over the whole picture for each, so a small file with very
many keeps it busy for hours (the limit that libjpeg-turbo's own fuzzers use)."""


def has_many_scans(data: bytes) -> bool:
    """Whether a JPEG has more than :data:`MAX_SCANS` scans."""
    return data.count(b"\xff\xda") > MAX_SCANS and sum(1 for _ in islice(_scans(data), MAX_SCANS + 1)) > MAX_SCANS


def zeroed_at(data: bytes) -> int | None:
    """Where bytes of a scan were overwritten with zeros, or None. Zeros before a marker are padding and are sound."""
    if bytes(64) not in data:  # 20 times faster than the pattern
        return None
    for scan in _scans(data):
        has_coefficient = any(symbol & 0x0F for symbol in scan.zero_codes)
        for run in RUN.finditer(data, scan.start, scan.end) if has_coefficient else ():
            if run.end() < scan.end:
                return run.start()
    return None
