"""RS2: a fresh random subset every epoch, so that training touches few rows at a time and still sees all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from potstill.pipelines.rowset import RowSet
from potstill.pipelines.selectors.random_subset import lots
from potstill.pipelines.selectors.selector import Choice, Selector


class RS2(Selector):
    """Writes ``<name>_epochs``: the epochs, from 0, in which a row is trained on; rows of no epoch are dropped.

    Repeated sampling without replacement, Okanovic et al. 2024, arXiv 2305.18424: rows are shuffled and dealt out
    ``budget`` at a time; when none are left they are shuffled anew. It bounds the compute of training, not the storage.
    O(epochs budget + n log n for each time round) time, 4 bytes per row and epoch.
    """

    kind: Literal["rs2"] = "rs2"
    budget: int = Field(gt=0)
    """Rows of an epoch."""
    epochs: int = Field(gt=0)
    """Epochs to deal out."""

    def reads(self) -> tuple[str, ...]:
        """None: the ids are enough."""
        return ()

    def writes(self) -> Mapping[str, pa.DataType]:
        """The epochs of each row."""
        return {f"{self.name}_epochs": pa.list_(pa.int32())}

    def select(self, rows: RowSet, seed: int) -> Choice:
        """Rows that any epoch draws."""
        dealt = islice(deal(lambda turn: lots(rows, seed, f"{self.name}/{turn}"), len(rows), self.budget), self.epochs)
        drawn = np.concatenate([np.stack([at, np.full(len(at), epoch)]) for epoch, at in enumerate(dealt)], axis=1)
        order = np.argsort(drawn[0], kind="stable")
        ends = np.concatenate([[0], np.cumsum(np.bincount(drawn[0], minlength=len(rows)))])
        epochs = pa.ListArray.from_arrays(pa.array(ends, pa.int32()), pa.array(drawn[1, order], pa.int32()))
        return Choice(np.diff(ends) > 0, columns={f"{self.name}_epochs": epochs})


def epoch_ids(ids: Sequence[str], epoch: int, budget: int, seed: int, name: str = "rs2") -> list[str]:
    """Sample ids of one epoch, in the order in which they are drawn: for trainers that go on past ``epochs``."""
    rows = RowSet.of(ids)
    dealt = deal(lambda turn: lots(rows, seed, f"{name}/{turn}"), len(rows), budget)
    return [rows.texts[position] for position in next(islice(dealt, epoch, None))]


def deal(shuffle: Callable[[int], np.ndarray], rows: int, budget: int) -> Iterator[np.ndarray]:
    """Positions of the epochs 0, 1, ..., without end: int64 (min(budget, rows),), no position twice in an epoch.

    ``shuffle(turn)`` has a number (rows,) for each row by whose order they go the turn-th time round. An epoch that
    begins with the last rows of one time round goes on with the first of the next that it does not have yet.
    """
    budget, turn = min(budget, rows), 0
    left = np.zeros(0, np.int64)
    while True:
        taken, left = left[:budget], left[budget:]
        if len(taken) < budget:
            order = np.argsort(shuffle(turn), kind="stable")
            early = np.flatnonzero(~np.isin(order, taken))[: budget - len(taken)]
            taken, left, turn = np.concatenate([taken, order[early]]), np.delete(order, early), turn + 1
        yield taken
