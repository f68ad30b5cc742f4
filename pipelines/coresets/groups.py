"""Rows in groups: who belongs where, how a budget is shared out, and who goes first inside a group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

NONE = -1
"""The group of a row without a label."""


def codes(column: pa.Array) -> tuple[list[Any], np.ndarray]:
    """The different labels, ascending, and each row's place among them: int64 (n,), :data:`NONE` for null."""
    if pa.types.is_nested(column.type) or pa.types.is_floating(column.type):
        raise ValueError(f"a column of labels holds texts, whole numbers or truth values, this one {column.type}")
    encoded = column.dictionary_encode() if not pa.types.is_null(column.type) else column.cast(pa.string())
    values = encoded.dictionary.to_pylist() if isinstance(encoded, pa.DictionaryArray) else []
    order = sorted(range(len(values)), key=values.__getitem__)
    place = np.full(len(values) + 1, NONE, np.int64)  # the last one is where null points to
    place[order] = np.arange(len(order))
    if not values:
        return [], np.full(len(column), NONE, np.int64)
    return [values[index] for index in order], place[np.asarray(encoded.indices.fill_null(len(values)))]


def sizes(codes: np.ndarray) -> np.ndarray:
    """Rows of each group, up to the last that has any: int64 (g,)."""
    return np.bincount(codes[codes != NONE])


def water_fill(counts: np.ndarray, budget: int) -> np.ndarray:
    """Equal shares, as far as groups have rows: int64 (g,), of sum min(budget, sum of counts).

    The smallest group first, each takes ``min(count, rest // groups left)``, so that what a small group leaves over is
    shared by all larger ones (CCS, Zheng et al. 2023, arXiv 2210.15809, algorithm 1). Equal counts: the first group
    first.
    """
    quotas = np.zeros(len(counts), np.int64)
    rest = budget
    for done, group in enumerate(np.argsort(counts, kind="stable")):
        quotas[group] = min(int(counts[group]), rest // (len(counts) - done))
        rest -= quotas[group]
    return quotas


def apportion(weights: Sequence[float] | np.ndarray, total: int) -> np.ndarray:
    """Whole shares of ``total`` in proportion to ``weights`` (>= 0, not all 0), by largest remainder: int64 (g,)."""
    shares = np.asarray(weights, np.float64)
    shares = total * (shares / shares.sum())
    whole = np.floor(shares).astype(np.int64)
    order = np.argsort(-(shares - whole), kind="stable")
    whole[order[: total - int(whole.sum())]] += 1
    return whole


def proportional(weights: np.ndarray, counts: np.ndarray, budget: int) -> np.ndarray:
    """Shares of ``budget`` by weight, none above its group's ``counts`` (g,): what a group lacks, the others share.

    int64 (g,), of sum min(budget, rows of groups with a weight above 0).
    """
    quotas = np.zeros(len(weights), np.int64)
    open_ = (weights > 0) & (counts > 0)
    while open_.any() and (left := budget - int(quotas.sum())):
        quotas[open_] = np.minimum(quotas[open_] + apportion(weights[open_], left), counts[open_])
        open_ &= quotas < counts
    return quotas


def first(codes: np.ndarray, quotas: np.ndarray, key: np.ndarray) -> np.ndarray:
    """The ``quotas[g]`` rows of lowest ``key`` in each group g, lower position on ties: boolean (n,)."""
    keep = np.zeros(len(codes), bool)
    if not len(quotas):
        return keep
    order = np.lexsort((key, codes))
    order = order[codes[order] != NONE]
    sorted_codes = codes[order]
    rank = np.arange(len(order)) - np.searchsorted(sorted_codes, sorted_codes)
    keep[order[rank < quotas[sorted_codes]]] = True
    return keep
