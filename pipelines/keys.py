"""Which rows share a key, and which hang together through several."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def numbered(column: pa.Array) -> tuple[np.ndarray, pa.Array]:
    """Number of each row's value in the order of first appearance, int64 (n,), -1 for null; the values by number.

    Raises ``ValueError`` for a column of lists or structs.
    """
    try:
        found = pc.dictionary_encode(column)
    except pa.ArrowException as error:
        raise ValueError(f"{column.type} is no key; give a column of texts, numbers or bytes") from error
    return np.asarray(found.indices.fill_null(-1)).astype(np.int64), found.dictionary


def together(columns: Sequence[pa.Array]) -> np.ndarray:
    """A number per row for its values in several columns: int64 (n,), equal for equal ones, -1 where one is null."""
    group, *others = (numbered(column)[0] for column in columns)
    for numbers in others:
        missing = (group < 0) | (numbers < 0)
        _, group = np.unique(group * (numbers.max(initial=0) + 1) + numbers, return_inverse=True)
        group[missing] = -1
    return group


def components(count: int, ones: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Least member of each node's component, int64 (count,), in the graph with an edge from each of ``ones`` to the
    same place of ``others``. A few rounds of O(nodes + edges).

    Every root that has a neighbour of lower root is hung below the lowest of them, then all paths are made short.
    """
    root = np.arange(count)
    while len(ones):
        one, other = root[ones], root[others]
        apart = one != other
        ones, others, one, other = ones[apart], others[apart], one[apart], other[apart]
        np.minimum.at(root, np.maximum(one, other), np.minimum(one, other))
        while not np.array_equal(shorter := root[root], root):
            root = shorter
    return root
