"""How far a judge can be trusted, from rows of which the truth is known. Pure functions of lists; None is no verdict.

Source: agreement and position bias as in MLLM-as-a-Judge (Chen et al. 2024, arXiv 2402.04788) and Zheng et al. 2023
(arXiv 2306.05685); kappa: Cohen 1960.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Agreement:
    """Verdicts against labels: how many pairs, the share that is equal, and kappa (1 perfect, 0 as good as chance)."""

    pairs: int
    share: float
    kappa: float


@dataclass(frozen=True, slots=True)
class Detection:
    """Planted flaws against flags: share of the flags that are right, share of the flaws that are flagged."""

    precision: float
    recall: float


def agreement(verdicts: Sequence[Hashable | None], labels: Sequence[Hashable | None]) -> Agreement:
    """Of the rows that have both. NaN where there is none; kappa is NaN too where chance alone would agree fully."""
    pairs = [
        (one, two) for one, two in zip(verdicts, labels, strict=True) if one is not None and two is not None
    ]  # fmt: skip
    if not pairs:
        return Agreement(0, float("nan"), float("nan"))
    share = sum(one == two for one, two in pairs) / len(pairs)
    ours, theirs = Counter(one for one, _ in pairs), Counter(two for _, two in pairs)
    chance = sum(count * theirs[value] for value, count in ours.items()) / len(pairs) ** 2
    return Agreement(len(pairs), share, (share - chance) / (1 - chance) if chance < 1 else float("nan"))


def correlation(scores: Sequence[float | None], labels: Sequence[float | None]) -> float:
    """Pearson's r of scores and labels, -1..1, over the rows that have both: the measure of scoring in the paper.

    NaN where there are fewer than two, or where one side is the same everywhere.
    """
    pairs = [(one, two) for one, two in zip(scores, labels, strict=True) if one is not None and two is not None]
    if len(pairs) < 2:
        return float("nan")
    ours, theirs = ([float(pair[side]) for pair in pairs] for side in (0, 1))
    middle, centre = sum(ours) / len(ours), sum(theirs) / len(theirs)
    spread = sum((one - middle) ** 2 for one in ours) * sum((two - centre) ** 2 for two in theirs)
    shared = sum((one - middle) * (two - centre) for one, two in zip(ours, theirs, strict=True))
    return shared / spread**0.5 if spread else float("nan")


def position_bias(straight: Sequence[str | None], swapped: Sequence[str | None]) -> float:
    """Preference for the place of a response, -1..1, from the letters of a pair judge (A: shown first; C: a tie).

    Over the replies of both orders: (A - B) / (A + B). Quality cancels out, as each response stands first once; 0 is
    unbiased, 1 always prefers the first, -1 the second. NaN where no row has a preference in any order.
    """
    both = [pair for pair in zip(straight, swapped, strict=True) if None not in pair]
    counts = Counter(letter for pair in both for letter in pair)
    decided = counts["A"] + counts["B"]
    return (counts["A"] - counts["B"]) / decided if decided else float("nan")


def detection(flagged: Sequence[bool | None], planted: Sequence[bool]) -> Detection:
    """Precision and recall of a judge's flags for rows with a planted flaw. A row without a verdict is not flagged.

    NaN for precision where nothing was flagged, for recall where nothing was planted.
    """
    pairs = list(zip(flagged, planted, strict=True))
    right = sum(bool(flag) and plant for flag, plant in pairs)
    flags, flaws = sum(bool(flag) for flag, _ in pairs), sum(plant for _, plant in pairs)
    return Detection(right / flags if flags else float("nan"), right / flaws if flaws else float("nan"))
