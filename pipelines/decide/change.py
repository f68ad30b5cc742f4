"""The plan of a run with changes made to it, and which of them no stored column can answer."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import Any

import yaml

from potstill.config import RequestError, override, read_yaml, validate
from potstill.pipelines.plan import Plan, find_plan
from potstill.pipelines.report.standing import Standing
from potstill.pipelines.selectors.selector import Selector
from potstill.pipelines.stage import RowStage

ALSO = "also"
FIXED = ("source", "intake")


def changed(standing: Standing, changes: Sequence[str], also: Sequence[str] = ()) -> Plan:
    """The run's plan with other stages (the file or name of a plan), overrides, and conditions added at the end.

    ``gate.keep.low=...`` is short for ``stages.gate.keep.low=...``. Of another plan only the stages count, and its
    seed. Raises :class:`RequestError` with every mistake.
    """
    tree: dict[str, Any] = yaml.safe_load(standing.plan_text)
    files = [change for change in changes if "=" not in change]
    if len(files) > 1:
        raise RequestError(f"one plan at most can be compared with the run's, these are {', '.join(files)}")
    for name in files:
        other = read_yaml(find_plan(name))
        tree |= {key: other[key] for key in ("stages", "seed") if key in other}
        tree["resources"] = {}
    assignments = [_in_full(change, type(standing.plan)) for change in changes if "=" in change]
    tree = override(tree, assignments)
    if also:
        keep = {"failed" if len(also) == 1 else f"failed_{number}": text for number, text in enumerate(also, 1)}
        tree["stages"] = [*tree["stages"], {"kind": "set_filter", "name": ALSO, "keep": keep}]
    plan = validate(type(standing.plan), tree, "the changed plan")
    for part in FIXED:
        if getattr(plan, part) != getattr(standing.plan, part):
            raise RequestError(
                f"{part} differs from the run's: other input means other rows, which `potstill run` would have to take "
                "in; change stages only"
            )
    return plan


def _in_full(change: str, plan: type[Plan]) -> str:
    return change if change.partition("=")[0].partition(".")[0] in plan.model_fields else f"stages.{change}"


def command(standing: Standing, changes: Sequence[str]) -> str:
    """The command that would make the changes real."""
    plan = next((change for change in changes if "=" not in change), f"{standing.run.url}/plan.yaml")
    overrides = [shlex.quote(_in_full(change, type(standing.plan))) for change in changes if "=" in change]
    return " ".join(["potstill run", plan, "--out", standing.run.url, *overrides])


def recomputed(before: Plan, after: Plan) -> list[RowStage]:
    """Stages of ``after`` whose columns are not those that a run of ``before`` has stored: they would have to run."""
    known, wanted = dict(_essences(before)), dict(_essences(after))
    return [stage for stage in after.row_stages() if wanted[stage.name] != known.get(stage.name)]


def unchanged_selectors(before: Plan, after: Plan) -> set[str]:
    """Selectors that would choose the same from the same rows."""
    known = dict(_essences(before))
    same = {name for name, essence in _essences(after) if known.get(name) == essence}
    return {stage.name for stage in after.stages if isinstance(stage, Selector) and stage.name in same}


def _essences(plan: Plan) -> Iterator[tuple[str, Any]]:
    """Per stage that computes or chooses, what its columns depend on, down to the source; no model is looked at."""
    found: dict[str, Any] = {}
    writer: dict[str, str] = {}
    for stage in plan.stages:
        if isinstance(stage, RowStage | Selector):
            parts = [part for column in stage.reads() for part in _parts(column)]
            reads = {column: found.get(writer.get(column, "")) for column in parts}
            seed = plan.seed if isinstance(stage, Selector) else 0
            found[stage.name] = (seed, stage.model_dump(mode="json", exclude=dict(stage.speed)), reads)
            writer.update(dict.fromkeys(stage.writes(), stage.name))
    yield from found.items()


def _parts(column: str) -> tuple[str, ...]:
    """What a column rests on: of a group's column, the column and the group."""
    group, dot, name = column.partition(".")
    return (f"{group}_ids", name) if dot else (column,)
