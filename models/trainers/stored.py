"""A teacher's predictions that stand in the data: what the teacher stages write, and how a trainer takes them.

Columns of a store called ``teacher``: ``teacher_about`` (JSON: who said it, about which classes, at which temperature,
the same in every row), ``teacher_views`` (how the picture was cut and turned, for each of V views), and for each view
what the teacher said: ``teacher_idx`` and ``teacher_logp`` (V times the k best classes) or ``teacher_image``. Training
replays view n in epoch n, after the last the first again (dataset reinforcement: Faghri et al. 2023, arXiv
2303.08983; MobileCLIP: Vasu et al. 2024, arXiv 2311.17049).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from potstill.config import RequestError
from potstill.models.trainers.parquet import EPOCH

VIEWS = pa.list_(pa.struct([("box", pa.list_(pa.int32())), ("flip", pa.bool_())]))
"""Of each view the box in pixels of the stored picture (left, top, right, bottom), and whether it is turned."""
ROUNDING = 1e-2
"""By how much the probabilities of the best classes may pass 1: they are kept as float16 logarithms."""


def about(**facts: Any) -> str:
    """The words that every row of a store carries."""
    return json.dumps(facts, sort_keys=True)


def names_digest(names: Sequence[str]) -> str:
    """Digest of class names in their order."""
    return xxhash.xxh3_64_hexdigest("\0".join(names).encode())


def check(rows: pa.Table, store: str, sample_id: str, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """What the store says of itself. Raises :class:`RequestError` when a row has nothing stored, when rows were written
    by different teachers, or when it is not what is ``wanted``.
    """
    column = rows[f"{store}_about"]
    if column.null_count:
        first = rows[sample_id].filter(pc.is_null(column))[0].as_py()
        raise RequestError(
            f"{column.null_count} of {rows.num_rows} rows have nothing in {store}_about (sample {first} is the first): "
            "run the stage that stores the teacher over all rows, or leave them out by data.where"
        )
    said = pc.unique(column).to_pylist()
    if len(said) > 1:
        raise RequestError(f"{store}_about differs between rows: {said[0]} and {said[1]}; store one teacher for all")
    found = json.loads(said[0])
    for name, value in wanted.items():
        if found.get(name) != value:
            raise RequestError(f"{store} was stored with {name} {found.get(name)!r}, and the recipe has {value!r}")
    return found


def views_of_epoch(rows: pa.Table, store: str) -> list[dict[str, Any]]:
    """How each row's picture is to be cut and turned in its epoch."""
    views, epochs = rows[f"{store}_views"].to_pylist(), rows[EPOCH].to_pylist()
    return [each[(epoch - 1) % len(each)] for each, epoch in zip(views, epochs, strict=True)]


def best_of_epoch(rows: pa.Table, store: str) -> tuple[np.ndarray, np.ndarray]:
    """The best classes of each row's view in its epoch: int64 (N, k), and their log-probabilities, float32 (N, k)."""
    views = pc.list_value_length(rows[f"{store}_views"]).to_numpy()
    idx, logp = (_table(rows[f"{store}_{name}"]) for name in ("idx", "logp"))
    if idx.shape != logp.shape or idx.shape[1] % views[0] or (views != views[0]).any():
        raise RequestError(f"{store}_idx and {store}_logp do not have as many classes in each row and view")
    k = idx.shape[1] // views[0]
    at = ((rows[EPOCH].to_numpy() - 1) % views[0])[:, None] * k + np.arange(k)
    idx, logp = np.take_along_axis(idx, at, 1), np.take_along_axis(logp, at, 1)
    most = np.exp(logp.astype(np.float64)).sum(1).max()
    if not most <= 1 + ROUNDING:
        raise RequestError(f"{store}_logp is no log-probability: the best {k} classes of a row sum to {most:.3f}")
    return idx.astype(np.int64), logp.astype(np.float32)


def _table(column: pa.ChunkedArray) -> np.ndarray:
    """Lists of equal length as one array (N, length)."""
    whole = column.combine_chunks()
    lengths = pc.list_value_length(whole).to_numpy(zero_copy_only=False)
    if (lengths != lengths[0]).any():
        raise RequestError(f"the rows of the store have between {lengths.min()} and {lengths.max()} numbers each")
    return whole.flatten().to_numpy(zero_copy_only=False).reshape(len(whole), -1)
