"""A random number for each group of rows that hang together, which depends on the group alone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import xxhash

from potstill.pipelines.keys import components, numbered

_MOST = np.iinfo(np.uint64).max


def draw(columns: Mapping[str, pa.Array], own: np.ndarray, seed: str) -> np.ndarray:
    """A number from 0 to 1 for each of n rows: float64 (n,), equal for rows with an equal value in any column.

    Rows that hang together through several values share the number of the value whose hash is least, hashed again, so
    that large groups are as likely anywhere as small ones. A row without any value draws by its ``own`` number, uint64
    (n,). ``seed`` tells one drawing from another.
    """
    count = len(own)
    found = {name: numbered(column) for name, column in columns.items()}
    ones, others = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for numbers, _ in found.values():
        there = np.flatnonzero(numbers >= 0)
        _, first, which = np.unique(numbers[there], return_index=True, return_inverse=True)
        ones.append(there)
        others.append(there[first[which]])
    group = components(count, np.concatenate(ones), np.concatenate(others))
    least = np.full(count, _MOST, np.uint64)
    for name, (numbers, values) in found.items():
        there = np.flatnonzero(numbers >= 0)
        lots = [xxhash.xxh3_64_intdigest(f"{seed}/{name}/{value}".encode()) for value in values.to_pylist()]
        np.minimum.at(least, group[there], np.array(lots, np.uint64)[numbers[there]])
    chosen = np.where(least[group] == _MOST, own, least[group])
    again = np.fromiter((xxhash.xxh3_64_intdigest(value) for value in chosen.view("V8").tolist()), np.uint64, count)
    return again / 2.0**64
