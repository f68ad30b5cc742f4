"""What a change of filters or selectors would keep and drop: from stored columns alone, writing nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from potstill.config import RequestError
from potstill.pipelines import chunk, schema
from potstill.pipelines.choosing import decisions_file
from potstill.pipelines.decide import change
from potstill.pipelines.decide.border import EXAMPLES, borders
from potstill.pipelines.decide.curve import curve, parse
from potstill.pipelines.decide.overlap import overlap, verdicts
from potstill.pipelines.decide.passing import decisive, passed, ways
from potstill.pipelines.decide.scores import stored
from potstill.pipelines.filters import expression
from potstill.pipelines.filters.filter import Filter
from potstill.pipelines.ledger import Count, first_drop
from potstill.pipelines.plan import Plan
from potstill.pipelines.report.standing import Standing
from potstill.pipelines.selectors.selector import Selector
from potstill.pipelines.selectors.set_filter import SetFilter
from potstill.pipelines.walk import Passage, read

COUNTED = ("in", "kept", "dropped", "quarantined", "pending")


@dataclass(frozen=True)
class Way:
    """The rows of a run on their way through a plan."""

    plan: Plan
    table: pa.Table
    passages: list[Passage]

    @cached_property
    def kept(self) -> np.ndarray:
        """Rows that go all the way, boolean (n,)."""
        return ways(self.passages, self.table.num_rows)[0]

    @cached_property
    def waits(self) -> np.ndarray:
        """Rows that have yet to be computed somewhere, boolean (n,)."""
        return ways(self.passages, self.table.num_rows)[1]

    @cached_property
    def ends(self) -> tuple[np.ndarray, np.ndarray]:
        """Per row the stage that ended its way and why; None for a kept row."""
        return first_drop(self.passages, self.table.num_rows)

    def counts(self) -> dict[str, dict[str, Any]]:
        """Rows per stage and outcome."""
        found: dict[str, dict[str, Any]] = {}
        for stage, passage in zip(self.plan.stages, self.passages, strict=True):
            count = Count(stage.kind)
            count.add(passage)
            numbers = count.as_json(stage.name)
            found[stage.name] = {"kind": stage.kind} | {name: numbers[name] for name in COUNTED}
        return found

    def end(self, at: int) -> str:
        """What becomes of a row, in words."""
        stage, reason = self.ends[0][at], self.ends[1][at]
        return "kept" if stage is None else f"waits for {stage}" if reason == "pending" else f"{stage}: {reason}"


def preview(
    directory: str, changes: Sequence[str] = (), also: Sequence[str] = (), of: str | None = None
) -> dict[str, Any]:
    """Rows kept now and then, by stage and reason; who changes sides; the rows at the borders; overlap; a curve ``of``.

    ``changes`` are overrides or the name or file of a plan, ``also`` conditions that are added at the end. JSON
    throughout. Raises :class:`RequestError` for a change that a model would have to run for.
    """
    standing = Standing(directory)
    before, after = standing.plan, change.changed(standing, changes, also)
    asked = expression.names(parse(of)) if of else ()
    wanted = {*decisive(before), *decisive(after), *after.storage(len(after.stages), asked).values()}
    table = stored(standing, sorted(wanted))
    _refuse_models(standing, after, table, changes)
    recorded = _recorded(standing)
    now = Way(before, *passed(before, table, recorded))
    same = change.unchanged_selectors(before, after)
    then = Way(after, *passed(after, table, {name: choice for name, choice in recorded.items() if name in same}))
    return {
        "plan": standing.summary["plan"],
        "command": change.command(standing, changes),
        "state": standing.state,
        "rows": table.num_rows,
        "stages": _stages(now, then),
        "kept": {
            "now": int(now.kept.sum()),
            "then": int(then.kept.sum()),
            "leave": int((now.kept & ~then.kept & ~then.waits).sum()),
            "come": int((then.kept & ~now.kept).sum()),
        },
        "would_run": _would_run(now, then),
        "leave": _groups(now, then, now.kept & ~then.kept & ~then.waits, then),
        "come": _groups(now, then, then.kept & ~now.kept, now),
        "borders": list(_borders(now, then)),
        "overlap": overlap(verdicts(after, then.table, then.passages)),
        "curve": curve(of, read(after, len(after.stages), then.table, asked), then.kept) if of else None,
    }


def _recorded(standing: Standing) -> dict[str, pa.Table]:
    """What selectors chose; only a finished run's choice is known to be of these rows."""
    if standing.state != "done":
        return {}
    selectors = [stage for stage in standing.plan.stages if isinstance(stage, Selector)]
    files = {stage.name: decisions_file(stage) for stage in selectors}
    return {name: standing.run.read_table(file) for name, file in files.items() if standing.run.exists(file)}


def _refuse_models(standing: Standing, after: Plan, table: pa.Table, changes: Sequence[str]) -> None:
    """Raises :class:`RequestError` when a stage is not the one whose columns are stored."""
    stages = change.recomputed(standing.plan, after)
    if stages:
        first = stages[0]
        until = after.model_copy(update={"stages": after.stages[: after.stages.index(first) + 1]})
        gone = {f"{chunk.DONE}{first.name}", *first.writes()} & set(table.column_names)
        _, passages = passed(until, table.drop_columns(sorted(gone)), {})
        rows = int(passages[-1].pending.sum())
        behind = f", and then {', '.join(stage.name for stage in stages[1:])}" if stages[1:] else ""
        raise RequestError(
            f"stage {first.name!r} would have to run: {rows:,} rows{behind}. `potstill decide` runs no model: change "
            f"filters and selectors only, or compute it with `{change.command(standing, changes)}`, which keeps what "
            "stands, and decide after that"
        )


def _stages(now: Way, then: Way) -> list[dict[str, Any]]:
    """Each stage of either plan with its counts; null where a plan has it not."""
    old, new = now.counts(), then.counts()
    return [{"name": name, "now": old.get(name), "then": new.get(name)} for name in dict.fromkeys([*new, *old])]


def _would_run(now: Way, then: Way) -> dict[str, int]:
    """Rows per stage that the change lets through to it, and that it has not computed yet."""
    waiting = {passage.stage: passage.pending for passage in now.passages}
    none = np.zeros(now.table.num_rows, bool)
    found = {each.stage: int((each.pending & ~waiting.get(each.stage, none)).sum()) for each in then.passages}
    return {name: rows for name, rows in found.items() if rows}


def _groups(now: Way, then: Way, rows: np.ndarray, by: Way) -> list[dict[str, Any]]:
    """Rows by what ends their way in one of the plans, the largest group first, with the first few of each."""
    members: dict[tuple[str, str], list[int]] = {}
    for at in np.flatnonzero(rows).tolist():
        members.setdefault((by.ends[0][at], by.ends[1][at]), []).append(at)
    return [
        {"stage": stage, "reason": reason, "rows": len(found),
         "examples": [_row(now, then, {"at": at}) for at in found[:EXAMPLES]]}
        for (stage, reason), found in sorted(members.items(), key=lambda item: (-len(item[1]), item[0]))
    ]  # fmt: skip


def _borders(now: Way, then: Way) -> Iterator[dict[str, Any]]:
    """The borders of the conditions that changed; of all, when no stage did."""
    same = now.plan.stages == then.plan.stages
    old = {stage.name: stage.keep for stage in now.plan.stages if isinstance(stage, Filter | SetFilter)}
    for position, stage in enumerate(then.plan.stages):
        if isinstance(stage, Filter | SetFilter):
            known = {} if same else old.get(stage.name, {})
            changed = {reason for reason, text in stage.keep.items() if known.get(reason) != text}
            for border in borders(then.plan, position, then.table, then.passages[position], changed):
                sides = {side: [_row(now, then, row) for row in border[side]] for side in ("holds", "fails")}
                yield {"stage": stage.name} | border | sides


def _row(now: Way, then: Way, row: dict[str, Any]) -> dict[str, Any]:
    at = row["at"]
    return {
        "id": now.table[schema.SAMPLE_ID][at].as_py(),
        "source": now.table[f"{chunk.INPUT}{schema.SOURCE}"][at].as_py(),
        "values": row.get("values", {}),
        "now": now.end(at),
        "then": then.end(at),
    }
