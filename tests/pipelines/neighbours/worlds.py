"""Small sets of vectors, cut into blocks in any way, with answers that are known."""

import numpy as np
import pyarrow as pa

from potstill.pipelines.rowset import RowSet


class Part:
    """A block that holds its rows."""

    def __init__(self, table):
        self.table = table

    def read(self, columns):
        return self.table.select(["sample_id", *columns])


def id_(number):
    return f"{number:032x}"


def column(vectors, missing=(), kind=np.float16):
    """Vectors as an Arrow column; null at the places in ``missing``."""
    vectors = np.asarray(vectors, kind)
    mask = np.isin(np.arange(len(vectors)), list(missing))
    flat = pa.array(vectors.ravel())
    return pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1], mask=pa.array(mask))


def cut(vectors, order, sizes, missing=(), over=None, scratch=None, **more):
    """Row i of ``vectors`` has id i; rows arrive in ``order``, in blocks of ``sizes``, the last as large as is left."""
    table = pa.table({"sample_id": [id_(i) for i in range(len(vectors))], "v": column(vectors, missing), **more})
    table, parts, at = table.take(pa.array(order)), [], 0
    for size in (*sizes, len(order)):
        parts.append(Part(table.slice(at, size)))
        at = min(at + size, len(order))
    return RowSet(parts, over, scratch)


def angle(*degrees):
    """Unit vectors in the plane."""
    return np.stack([np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))], axis=1)


def mixture(rows, centres=12, width=16, spread=0.5, seed=0):
    """Unit vectors around random centres, and the centre of each."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, centres, rows)
    middle = rng.standard_normal((centres, width))
    found = middle[labels] / np.linalg.norm(middle[labels], axis=1, keepdims=True)
    found = found + spread * rng.standard_normal((rows, width)) / np.sqrt(width)
    return found / np.linalg.norm(found, axis=1, keepdims=True), labels
