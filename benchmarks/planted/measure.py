"""Numbers about verdicts whose truth is known: confusion counts, copies in groups, the area under the ROC curve."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Confusion:
    """What an operator flagged: rightly, wrongly (clean rows; rows with other flaws), and what it missed."""

    hits: int
    false_clean: int
    false_other: int
    missed: int

    @property
    def precision(self) -> float:
        """Share of the flagged rows that it was right to flag; NaN when none was flagged."""
        return _share(self.hits, self.hits + self.false_clean + self.false_other)

    @property
    def recall(self) -> float:
        """Share of the rows to flag that were flagged; NaN when there was none."""
        return _share(self.hits, self.hits + self.missed)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall: 2 hits / (2 hits + false + missed); NaN when there is nothing."""
        wrong = self.false_clean + self.false_other + self.missed
        return _share(2 * self.hits, 2 * self.hits + wrong)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan


def confusion(flagged: Sequence[bool], wanted: Sequence[bool], clean: Sequence[bool]) -> Confusion:
    """Counts over rows: ``wanted`` rows should be flagged; those that should not are ``clean`` or flawed otherwise."""
    f, w, c = (np.asarray(values, bool) for values in (flagged, wanted, clean))
    return Confusion(int((f & w).sum()), int((f & ~w & c).sum()), int((f & ~w & ~c).sum()), int((~f & w).sum()))


def copies(
    flagged: Sequence[bool], groups: Sequence[Hashable | None], members: Sequence[bool], clean: Sequence[bool]
) -> Confusion:
    """The same for duplicates, of which all but one of a group should go, no matter which one stays.

    ``groups`` says which rows are one picture (None: alone in the set), ``members`` which of these the operator must
    tell: the original and the copies of its kinds. Of n members n - 1 should go, or all when a row of the group that is
    no member stays. A group without any survivor is one false alarm on a clean row; a flagged copy of another kind
    counts as nothing.
    """
    hits = false_clean = false_other = missed = 0
    by_group: dict[Hashable, list[int]] = {}
    for row, group in enumerate(groups):
        if group is not None:
            by_group.setdefault(group, []).append(row)
        elif flagged[row]:
            false_clean, false_other = false_clean + bool(clean[row]), false_other + (not clean[row])
    for rows in by_group.values():
        inside = [row for row in rows if members[row]]
        staying = sum(not flagged[row] for row in inside)
        wanted = max(len(inside) - 1, 0)
        left = max(staying - 1, 0)
        missed, hits = missed + left, hits + wanted - left
        false_clean += all(flagged[row] for row in rows)
    return Confusion(hits, false_clean, false_other, missed)


@dataclass(frozen=True)
class Auc:
    """Chance that a good row scores better than a bad one, its standard error, and how many of each there were."""

    value: float
    error: float
    good: int
    bad: int


def auc(good: Sequence[float] | np.ndarray, bad: Sequence[float] | np.ndarray) -> Auc:
    """Area under the ROC curve (a tie counts half), with the standard error of Hanley & McNeil 1982 (equation 2).

    A higher score is better. NaN when there is no row of either sort.
    """
    n, m = len(good), len(bad)
    if not n or not m:
        return Auc(math.nan, math.nan, n, m)
    values = np.concatenate([np.asarray(good, float), np.asarray(bad, float)])
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    area = float((ranks[:n].sum() - n * (n + 1) / 2) / (n * m))
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + (n - 1) * (q2 - area**2) + (m - 1) * (q1 - area**2)
    return Auc(area, math.sqrt(max(variance, 0) / (n * m)), n, m)


def survivors(kept: Sequence[bool], groups: Sequence[Hashable], ranks: Sequence[int | None]) -> list[bool]:
    """Per row whether it stands for its group in what was kept: of the group's kept rows the one of lowest rank.

    Rank 0 is an original; the higher, the less a copy is like it. None stands for nothing.
    """
    best: dict[Hashable, tuple[int, int]] = {}
    for row, (keep, group, rank) in enumerate(zip(kept, groups, ranks, strict=True)):
        if keep and rank is not None:
            best[group] = min(best.get(group, (rank, row)), (rank, row))
    stands = {row for _, row in best.values()}
    return [row in stands for row in range(len(kept))]


def as_markdown(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; floats with three digits, NaN as a dash."""
    lines = [head, ["---"] * len(head), *([_cell(value) for value in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "-" if math.isnan(value) else f"{value:.3f}"
    return str(value)


def percent(part: int, whole: int) -> str:
    """The share as a percentage, "97.3 %"; a dash of nothing."""
    return f"{100 * part / whole:.1f} %" if whole else "-"


def counted(reasons: Mapping[str, int]) -> str:
    """ "clip_gate 12, shape_gate 3", most first."""
    return ", ".join(f"{name} {count}" for name, count in sorted(reasons.items(), key=lambda item: (-item[1], item[0])))
