"""Which conditions drop the same rows: how many each drops, alone and together, and how alike two of them are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa

from potstill.pipelines.decide.border import seen
from potstill.pipelines.filters import expression
from potstill.pipelines.filters.filter import Filter
from potstill.pipelines.plan import Plan
from potstill.pipelines.selectors.set_filter import SetFilter
from potstill.pipelines.walk import Passage


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What one condition says of all n rows, whatever other stages say of them; boolean (n,)."""

    name: str
    """Stage and reason."""
    fails: np.ndarray
    known: np.ndarray


def verdicts(plan: Plan, table: pa.Table, passages: Sequence[Passage]) -> list[Verdicts]:
    """Every condition of every filter, tried on every row whose columns are stored.

    A condition over all rows is tried on those that reach its stage: of others it does not say anything.
    """
    found: list[Verdicts] = []
    for position, stage in enumerate(plan.stages):
        if not isinstance(stage, Filter | SetFilter):
            continue
        everyone = np.ones(table.num_rows, bool)
        asked = passages[position].entered if isinstance(stage, SetFilter) else everyone
        columns = seen(plan, position, table, asked)
        for reason, tree in stage.conditions.items():
            holds = expression.evaluate(tree, columns, int(asked.sum()))
            fails, known = np.zeros(table.num_rows, bool), np.zeros(table.num_rows, bool)
            fails[asked] = ~np.asarray(holds.fill_null(True))
            known[asked] = np.asarray(holds.is_valid())
            found.append(Verdicts(f"{stage.name} {reason}", fails, known))
    return found


def overlap(found: Sequence[Verdicts]) -> dict[str, Any]:
    """``conditions`` (rows known, dropped, dropped by no other) and ``pairs`` (rows known to both, both, either).

    ``jaccard`` is both / either, 0 to 1; null where neither drops a row.
    """
    votes = np.sum([one.fails for one in found], axis=0) if found else np.zeros(0)
    conditions = [
        {"name": one.name, "known": int(one.known.sum()), "drops": int(one.fails.sum()),
         "alone": int((one.fails & (votes == 1)).sum())}
        for one in found
    ]  # fmt: skip
    return {"conditions": conditions, "pairs": [_pair(*pair) for pair in combinations(found, 2)]}


def _pair(a: Verdicts, b: Verdicts) -> dict[str, Any]:
    known = a.known & b.known
    both, either = int((a.fails & b.fails).sum()), int(((a.fails | b.fails) & known).sum())
    jaccard = both / either if either else None
    return {"a": a.name, "b": b.name, "known": int(known.sum()), "both": both, "either": either, "jaccard": jaccard}
