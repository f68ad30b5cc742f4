"""Real run directories, made in this process: the runner with its own chunks, worker and commits, and without Ray."""

import json
from typing import Annotated, Any, Literal

import pyarrow as pa
from pydantic import Field

from potstill.pipelines import chunk, schema
from potstill.pipelines.filters.filter import Filter
from potstill.pipelines.plan import Plan
from potstill.pipelines.report import standing
from potstill.pipelines.rundir import RunDir
from potstill.pipelines.runner import Runner
from potstill.pipelines.selectors.random_subset import RandomSubset
from potstill.pipelines.selectors.set_filter import SetFilter
from potstill.pipelines.stage import RowStage
from potstill.pipelines.worker import CHUNK, STATS, Worker

TYPES = {
    "solvability": pa.int8(),
    "match": pa.float32(),
    "instruction": pa.string(),
    "judge_prompt_tokens": pa.int32(),
    "judge_completion_tokens": pa.int32(),
    "judge_reason": pa.string(),
}


class Judge(RowStage):
    """Writes for each source what the test says; a row whose ``fail`` is set raises it."""

    kind: Literal["judge"] = "judge"
    says: dict[str, dict[str, Any]] = Field(default_factory=dict)

    def reads(self):
        return (schema.SOURCE,)

    def writes(self):
        return TYPES

    def gate(self):
        return "judge_reason"

    def identity(self):
        return {"revision": "abc123"}

    def build(self):
        return self._call

    def _call(self, rows):
        found = [self.says.get(source, {}) for source in rows[schema.SOURCE].to_pylist()]
        failures = [ValueError(row["fail"]) if "fail" in row else None for row in found]
        return {name: [row.get(name) for row in found] for name in TYPES} | {"error": failures}


class JudgePlan(Plan):
    """A plan that knows the double."""

    stages: tuple[Annotated[Judge | Filter | RandomSubset | SetFilter, Field(discriminator="kind")], ...] = ()


class LocalRunner(Runner):
    """The runner where the stages run in this process."""

    def _ray(self):
        pass

    def _compute(self, start, stop):
        for part in self._chunks:
            table = self._load(part, None)
            table = table.append_column(CHUNK, pa.array([part.index] * table.num_rows, pa.int32()))
            worker = Worker(self.plan, self._row_positions(start, stop), self.run, "test")
            table = worker(table)
            if STATS in table.column_names:
                for name, numbers in json.loads(table[STATS][0].as_py()).items():
                    self._ledger.took(name, numbers["rows"], numbers["seconds"])
                chunk.commit(self.run, self.plan, self._prints, part.index, table)

    def _row_positions(self, start, stop):
        return [at for at in range(start, stop) if isinstance(self.plan.stages[at], RowStage)]


def make_plan(source, says, keep=None, **settings):
    """Judge the pictures of a folder, then drop those below 3."""
    stages = [
        {"kind": "judge", "says": says},
        {"kind": "filter", "name": "gate", "keep": keep or {"unsolvable": "solvability >= 3"}},
        *settings.pop("more", []),
    ]
    run = {"chunk_rows": 4, "max_error_fraction": 0.9} | settings.pop("run", {})
    tree = {"name": "toy", "source": {"kind": "folder", "path": str(source)}, "stages": stages, "run": run}
    return JudgePlan.model_validate(tree | settings)


def make_run(plan, out):
    """Run a plan into a directory, and return its path."""
    from contextlib import ExitStack

    run = RunDir(str(out))
    run.check_writable()
    with run.lock(), ExitStack() as stack:
        LocalRunner(plan, run, "none", stack).go()
    return str(out)


def know_the_double(monkeypatch):
    """Let readers of run directories understand :class:`JudgePlan`."""
    monkeypatch.setattr(standing, "Plan", JudgePlan)


HOSTILE = "\"><script>alert(1)</script><img src=x onerror='alert(2)'> & \u202egnp.exe\x00\x1b[31m {{ 7 * 7 }}"
SAYS = {
    **{f"{number:04d}.png": {"solvability": 5, "match": 0.1 * number, "judge_prompt_tokens": 7} for number in range(5)},
    "0000.png": {"solvability": 4, "match": 0.0, "instruction": HOSTILE, "judge_prompt_tokens": 7},
    "0005.png": {"solvability": 2, "match": 0.5},
    "0006.png": {"solvability": 1, "match": 0.6},
    "0007.png": {"judge_reason": "no_instruction"},
    "0008.png": {"fail": f"no score in {HOSTILE}"},
    "0009.png": {"solvability": None, "match": 0.9},
}
"""0 to 4 are kept; 5 and 6 are unsolvable, 9 cannot be told; 7 is rejected by the judge, 8 fails."""
