"""What a run counts: rows in and out of each stage, with reasons, and whether the sums are right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from potstill.pipelines.chunk import ConservationError
from potstill.pipelines.walk import Passage


@dataclass(slots=True)
class Count:
    """Rows at one step: ``entered`` = kept + dropped + duplicate + quarantined, once nothing is pending."""

    kind: str
    entered: int = 0
    kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    duplicate: int = 0
    quarantined: int = 0
    pending: int = 0
    computed: int = 0
    """Rows computed by this run; the others stood from before."""
    seconds: float = 0.0
    """Worker seconds spent by this run."""

    def add(self, passage: Passage) -> None:
        """Add the rows of one chunk."""
        self.entered += int(passage.entered.sum())
        self.kept += int(passage.kept.sum())
        self.quarantined += int(passage.quarantined.sum())
        self.pending += int(passage.pending.sum())
        self.dropped.update(passage.reasons[passage.dropped].tolist())

    def check(self, name: str) -> None:
        """Raises :class:`ConservationError` unless every row that came in is accounted for."""
        out = self.kept + self.dropped.total() + self.duplicate + self.quarantined + self.pending
        if out != self.entered:
            raise ConservationError(f"stage {name}: {self.entered} rows came in and {out} are accounted for")

    def as_json(self, name: str) -> dict[str, Any]:
        """The entry of ``run.json``."""
        return {
            "name": name,
            "kind": self.kind,
            "in": self.entered,
            "kept": self.kept,
            "dropped": dict(sorted(self.dropped.items())),
            "duplicate": self.duplicate,
            "quarantined": self.quarantined,
            "pending": self.pending,
            "computed": self.computed,
            "seconds": round(self.seconds, 3),
            "rows_per_second": round(self.computed / self.seconds, 2) if self.seconds else None,
        }


class Ledger:
    """The counts of a run, step by step; the first step is the intake."""

    def __init__(self, stages: Mapping[str, str]) -> None:
        self.counts = {"intake": Count("intake"), **{name: Count(kind) for name, kind in stages.items()}}

    def reset(self) -> None:
        """Forget the rows and keep what was computed: rows are counted anew at each walk."""
        for name, count in self.counts.items():
            fresh = Count(count.kind, computed=count.computed, seconds=count.seconds)
            self.counts[name] = fresh

    def took(self, stage: str, rows: int, seconds: float) -> None:
        """Note work done by this run."""
        self.counts[stage].computed += rows
        self.counts[stage].seconds += seconds

    def add_intake(self, rows: int, duplicates: int, quarantined: int) -> None:
        """Add the input rows of one chunk."""
        count = self.counts["intake"]
        count.entered += rows
        count.duplicate += duplicates
        count.quarantined += quarantined
        count.kept += rows - duplicates - quarantined

    def add(self, passages: list[Passage]) -> None:
        """Add the samples of one chunk."""
        for passage in passages:
            self.counts[passage.stage].add(passage)

    def check(self, samples_per_image: int) -> None:
        """Raises :class:`ConservationError` when rows are lost within a step or between two."""
        arriving = self.counts["intake"].kept * samples_per_image
        for name, count in self.counts.items():
            count.check(name)
            if name == "intake":
                continue
            if count.entered != arriving:
                raise ConservationError(f"stage {name}: {arriving} rows were sent on to it and {count.entered} came in")
            arriving = count.kept

    def as_json(self) -> list[dict[str, Any]]:
        """The ``stages`` of ``run.json``."""
        return [count.as_json(name) for name, count in self.counts.items()]


def first_drop(passages: list[Passage], rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Per row, the stage that ended its way and the reason (object arrays; ``None`` for a row that is kept)."""
    by = np.full(rows, None, dtype=object)
    reason = np.full(rows, None, dtype=object)
    for passage in passages:
        by[passage.dropped] = passage.stage
        reason[passage.dropped] = passage.reasons[passage.dropped]
        by[passage.quarantined] = passage.stage
        reason[passage.quarantined] = "quarantined"
        by[passage.pending] = passage.stage
        reason[passage.pending] = "pending"
    return by, reason
