"""What every stage does that puts rows together: the first row of a group goes on and brings the others along."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

import numpy as np
import pyarrow as pa

from potstill.pipelines.rowset import RowSet
from potstill.pipelines.selectors.selector import Choice, Selector

GROUPED, ALONE = "grouped", "alone"


class Grouping(Selector):
    """Writes ``<name>_ids``: the sample ids of a row's group, the one that goes on first; null for a row in no group.

    Stages behind it read any column of the whole group as ``<name>.<column>``: a list, in the order of the ids. Members
    are dropped for ``grouped``, rows in no group for ``alone``.
    """

    names_rows: ClassVar[bool] = True

    def writes(self) -> Mapping[str, pa.DataType]:
        """The ids of the group."""
        return {f"{self.name}_ids": pa.list_(pa.string())}

    @abstractmethod
    def groups(self, rows: RowSet, seed: int) -> Iterable[Sequence[int]]:
        """Positions of the rows of each group, the one that goes on first; no row in two groups."""

    def select(self, rows: RowSet, seed: int) -> Choice:
        """The first row of each group."""
        keep, reasons = np.zeros(len(rows), bool), np.full(len(rows), ALONE, object)
        ids: list[list[str] | None] = [None] * len(rows)
        for group in self.groups(rows, seed):
            names = [rows.texts[position] for position in group]
            keep[group[0]] = True
            for position in group:
                if ids[position] is not None:
                    raise ValueError(f"stage {self.name!r} put row {rows.texts[position]} into two groups")
                ids[position], reasons[position] = names, GROUPED
        return Choice(keep, reasons, {f"{self.name}_ids": pa.array(ids, pa.list_(pa.string()))})
