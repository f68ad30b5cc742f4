"""Small sets of rows for selectors: in any order, in blocks, with vectors; and what became of each row."""

import itertools

import numpy as np
import pyarrow as pa

from potstill.pipelines import schema
from potstill.pipelines.rowset import RowSet


class Held:
    """A block in memory."""

    def __init__(self, table):
        self.table = table

    def read(self, columns):
        return self.table.select([schema.SAMPLE_ID, *columns])


def vectors(values, missing=()):
    """A column of float32 vectors (n, d), null at the positions ``missing``."""
    values = np.asarray(values, np.float32)
    mask = np.isin(np.arange(len(values)), missing)
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1], mask=pa.array(mask))


def rows(count, *, order=None, blocks=1, **columns):
    """Rows with the ids 0, 1, ...; ``order`` is the order in which they come."""
    table = pa.table(
        {schema.SAMPLE_ID: pa.array([f"{number:032x}" for number in range(count)], pa.string()), **columns}
    )
    table = table if order is None else table.take(pa.array(order))
    cuts = np.linspace(0, count, blocks + 1).astype(int)
    return RowSet([Held(table.slice(a, b - a)) for a, b in itertools.pairwise(cuts)])


def shuffled(count, seed=1, **columns):
    """The same rows in another order and in three blocks."""
    return rows(count, order=np.random.default_rng(seed).permutation(count), blocks=3, **columns)


def kept(choice):
    """Positions of the kept rows."""
    return np.flatnonzero(choice.keep).tolist()


def told(choice):
    """Everything that a choice says, to compare."""
    reasons = None if choice.reasons is None else np.where(choice.keep, None, choice.reasons).tolist()
    return choice.keep.tolist(), reasons, {name: values.to_pylist() for name, values in choice.columns.items()}
