"""Which hashes differ in few bits: an exact search that compares few of all pairs.

Multi-index hashing with the general pigeonhole principle. To find all pairs within D bits, D + 1 is shared out over
words of 64 bits, and each word's share over bands of its bits: if every band differed in at least its share of bits,
the whole would differ in D + 1. So a near pair has a word that differs in fewer bits than its share, and in this word a
band that does. Per band, the others are sorted by its bits; each hash meets those whose band is one of its own with
fewer than share bits flipped. These candidates are compared in the word, and what is left in full: nothing is missed.

Sources: Norouzi, Punjani and Fleet 2014, "Fast exact search in Hamming space with multi-index hashing", IEEE TPAMI 36;
unequal shares after Qin et al. 2018, "GPH: similarity search in Hamming space", ICDE.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import combinations
from math import comb

import numpy as np
import pyarrow as pa

Pairs = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Positions among the hashes, positions among the others, and distances in bits: three arrays of one length."""

Alike = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""What pairs must be beside near: two arrays of positions among the same rows to a boolean array."""

WORD = 64
FARTHEST = 255 - WORD
"""The largest distance in bits that can be searched for."""
_COUNTS = range(3, 11)
"""Bands of a word that are considered: of 22 bits, whose table takes 16 MB, to 6 bits."""
_BLOCK = 1024
"""Rows up to which everything is compared with everything."""
_TILE = (64, 2048)
_CANDIDATES = 1 << 18
_ROWS = 1 << 16
_STRIDE = 97
"""Odd, so that steps of it reach all bits of a power of two; neighbours in rank come to lie 97 bits apart."""
_PAIR, _CANDIDATE, _EMPTY, _FULL, _MASK = 6e-9, 3.3e-9, 1e-8, 2.5e-8, 6e-5
"""Rough seconds of a full comparison, of a candidate, of a hash's look into a table, of finding somebody there, and of
starting on a mask. They decide how a search goes, never what it finds."""


def codes(column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Hashes of a column of fixed-size binary, uint64 (n, words), 0 for null; which are there, boolean (n,).

    Raises ``ValueError`` for a column of another type.
    """
    there = np.asarray(column.is_valid())
    if pa.types.is_null(column.type):
        return np.zeros((len(column), 1), np.uint64), there
    if not pa.types.is_fixed_size_binary(column.type) or column.type.byte_width % 8:
        raise ValueError(
            f"a column of hashes holds binary of a fixed size that is a multiple of 8 bytes, not {column.type}"
        )
    width = column.type.byte_width
    filled = column.fill_null(pa.scalar(bytes(width), column.type))
    data = np.frombuffer(filled.buffers()[1] or b"", np.uint8)[filled.offset * width :][: len(filled) * width]
    return data.reshape(-1, width).view(np.uint64), there


def ones(hashes: np.ndarray) -> np.ndarray:
    """Bits that are set, per hash of uint64 (n, words): int64 (n,)."""
    return np.bitwise_count(hashes).sum(axis=1, dtype=np.int64)


def dealt(hashes: np.ndarray) -> np.ndarray:
    """An order of the bits, int64 (bits,), that deals those which tell least evenly over all bands.

    A search is faster so where many hashes agree in some of their bits, as those of plain pictures do.
    """
    bits = hashes.shape[1] * WORD
    counts = np.zeros(bits, np.int64)
    for low in range(0, len(hashes), _ROWS):
        counts += _bits(hashes[low : low + _ROWS]).sum(axis=0, dtype=np.int64)
    order = np.empty(bits, np.int64)
    order[np.arange(bits) * _STRIDE % bits] = np.argsort(np.abs(2 * counts - len(hashes)), kind="stable")
    return order


def reordered(hashes: np.ndarray, order: np.ndarray) -> np.ndarray:
    """The hashes with their bits in another order: distances stay."""
    result = np.empty_like(hashes)
    for low in range(0, len(hashes), _ROWS):
        packed = np.packbits(_bits(hashes[low : low + _ROWS])[:, order], axis=1)
        result[low : low + _ROWS] = np.ascontiguousarray(packed).view(np.uint64)
    return result


def _bits(hashes: np.ndarray) -> np.ndarray:
    return np.unpackbits(np.ascontiguousarray(hashes).view(np.uint8), axis=1)


def any_two(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Nothing more is asked of a pair: all true."""
    return np.ones(len(one), bool)


def leaders(hashes: np.ndarray, limit: int, alike: Alike = any_two) -> np.ndarray:
    """Which hashes have none before them that leads, is within ``limit`` bits and is ``alike``: boolean (n,).

    So every hash either leads or has a leader like it before it, and no two leaders are. Each half is compared with the
    leaders of the half before it alone: a thousand copies of one picture cost a thousand comparisons.
    """
    leads = np.ones(len(hashes), bool)

    def settle(low: int, high: int) -> None:
        if high - low <= _BLOCK:
            _settle_block(hashes, leads, low + np.flatnonzero(leads[low:high]), limit, alike)
            return
        middle = (low + high) // 2
        settle(low, middle)
        first, rest = low + np.flatnonzero(leads[low:middle]), middle + np.flatnonzero(leads[middle:high])
        found = np.zeros(len(rest), bool)
        for at, of, _ in pairs(hashes[rest], hashes[first], limit, found):
            found[at[alike(rest[at], first[of])]] = True
        leads[rest[found]] = False
        settle(middle, high)

    settle(0, len(hashes))
    return leads


def _settle_block(hashes: np.ndarray, leads: np.ndarray, rows: np.ndarray, limit: int, alike: Alike) -> None:
    near = np.zeros((len(rows), len(rows)), bool)
    for one, other, _ in _every(hashes[rows], hashes[rows], limit):
        near[one, other] = alike(rows[one], rows[other])
    for place, row in enumerate(rows):
        if leads[row]:
            leads[rows[place + 1 :][near[place, place + 1 :]]] = False


def pairs(hashes: np.ndarray, others: np.ndarray, limit: int, skip: np.ndarray | None = None) -> Iterator[Pairs]:
    """All pairs of a hash (n, words) and one of the others (m, words) that differ in at most ``limit`` bits.

    A pair may come more than once. ``skip`` (n,) marks hashes to leave out; it may be set while pairs come, for hashes
    of which enough is known. Time: about n * m / 100 comparisons at 48 of 256 bits and a million others.
    """
    if not len(hashes) or not len(others):
        return
    count = min((None, *_COUNTS), key=lambda bands: _cost(len(hashes), len(others), hashes.shape[1], limit, bands))
    there = np.arange(len(hashes)) if skip is None else np.flatnonzero(~skip)
    spare = len(there) * len(others) * _PAIR / _CANDIDATE if count else -1
    for band in _bands(hashes.shape[1], limit, count) if count else ():
        if skip is not None:
            there = np.flatnonzero(~skip)
        for one, other, compared in _band(hashes[there], others, *band) if spare >= 0 else ():
            spare -= compared
            if spare < 0:
                break
            apart = np.bitwise_count(hashes[there[one]] ^ others[other]).sum(axis=1, dtype=np.int64)
            close = apart <= limit
            if close.any():
                yield there[one[close]], other[close], apart[close]
    if spare < 0:
        for one, other, apart in _every(hashes[there], others, limit):
            yield there[one], other, apart


def _shares(total: int, parts: int) -> list[int]:
    return [total // parts + (part < total % parts) for part in range(parts)]


def _bands(words: int, limit: int, count: int) -> Iterator[tuple[int, int, int, int, int]]:
    """Word, its share, first bit, width and share of each band that has one, with ``count`` bands in a word."""
    for word, share in enumerate(_shares(limit + 1, words)):
        first = 0
        for width, part in zip(_shares(WORD, count), reversed(_shares(share, count)), strict=True):
            if part:
                yield word, share, first, width, part
            first += width


def _cost(hashes: int, others: int, words: int, limit: int, count: int | None) -> float:
    """Rough seconds of a search among evenly spread hashes with so many bands in a word; ``None``: without any."""
    if count is None:
        return hashes * others * _PAIR
    seconds = 0.0
    for _, _, _, width, part in _bands(words, limit, count):
        masks = sum(comb(width, flips) for flips in range(part))
        load = others / 2.0**width
        seconds += masks * (_MASK + hashes * (_EMPTY + _FULL * min(1.0, load) + _CANDIDATE * load))
    return seconds


@lru_cache(maxsize=16)
def _masks(width: int, flips: int) -> np.ndarray:
    """All numbers of ``width`` bits with at most ``flips`` set, fewest first."""
    chosen = (combinations(range(width), count) for count in range(flips + 1))
    return np.array([sum(1 << bit for bit in bits) for some in chosen for bits in some], np.int64)


def _band(
    hashes: np.ndarray, others: np.ndarray, word: int, share: int, shift: int, width: int, part: int
) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """Pairs that differ in fewer than ``part`` bits of a band and ``share`` of its word; how many were compared."""
    key, order = _sorted(hashes[:, word], shift, width)
    other_key, other_order = _sorted(others[:, word], shift, width)
    values, other_values = hashes[order, word], others[other_order, word]
    ends = np.cumsum(np.bincount(other_key, minlength=1 << width)).astype(np.int32)
    starts = np.concatenate([np.zeros(1, np.int32), ends[:-1]])
    for mask in _masks(width, part - 1):
        wanted = key ^ mask
        start, count = starts[wanted], ends[wanted] - starts[wanted]
        some = np.flatnonzero(count)
        start, count = start[some], count[some]
        upto = np.cumsum(count, dtype=np.int64)
        total = int(upto[-1]) if len(upto) else 0
        cuts = np.searchsorted(upto, np.arange(_CANDIDATES, total, _CANDIDATES))
        for low, high in zip([0, *cuts], [*cuts, len(some)], strict=True):
            before = int(upto[low - 1]) if low else 0
            first = start[low:high] - (upto[low:high] - count[low:high] - before)
            at = np.repeat(first, count[low:high])
            at += np.arange(len(at))
            differ = np.repeat(values[some[low:high]], count[low:high])
            differ ^= other_values[at]
            hit = np.flatnonzero(np.bitwise_count(differ) < share)
            who = np.searchsorted(upto[low:high] - before, hit, side="right")
            yield order[some[low:high][who]], other_order[at[hit]], len(at)


def _sorted(values: np.ndarray, shift: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """The bits of a band as numbers, ascending, and the order that sorts them."""
    key = ((values >> np.uint64(shift)) & np.uint64((1 << width) - 1)).astype(np.int64)
    order = np.argsort(key, kind="stable")
    return key[order], order


def _every(hashes: np.ndarray, others: np.ndarray, limit: int) -> Iterator[Pairs]:
    """All near pairs by comparing everything, in tiles that stay in the processor's cache."""
    columns, other_columns = np.ascontiguousarray(hashes.T), np.ascontiguousarray(others.T)
    for low in range(0, len(hashes), _TILE[0]):
        for left in range(0, len(others), _TILE[1]):
            tile, other_tile = columns[:, low : low + _TILE[0]], other_columns[:, left : left + _TILE[1]]
            apart = np.zeros((tile.shape[1], other_tile.shape[1]), np.uint8)
            for one, other in zip(tile, other_tile, strict=True):
                np.minimum(apart, FARTHEST, out=apart)  # a byte holds this and the 64 bits of one word more
                apart += np.bitwise_count(one[:, None] ^ other)
            one, other = np.nonzero(apart <= limit)
            if len(one):
                yield low + one, left + other, apart[one, other].astype(np.int64)
