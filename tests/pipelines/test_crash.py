"""Runs that are killed at any moment and started again end with the same dataset as one that was left alone."""

import random
import signal

import pytest

from potstill.config import read_yaml, validate
from potstill.pipelines.runner import run_plan
from tests.processes import Process, result, write_plan
from tests.toys import ToyPlan, computed, pictures

pytestmark = pytest.mark.ray

ROWS = 32
CHUNK = 4
IN_FLIGHT = 4
"""Chunks that may be under way, or done and not committed, at one moment: the actor's queue and the commit tasks."""


@pytest.fixture
def job(ray_session, tmp_path):
    """A plan, its run directory, the folder of toy calls, and the content hash of an undisturbed run."""
    calls = tmp_path / "calls"
    calls.mkdir()
    stages = [
        {"kind": "toy", "slow": 0.1, "offset": 1, "calls": str(calls)},
        {"kind": "gate"},
        {"kind": "random_subset", "budget": 24},
        {"kind": "toy", "name": "after", "slow": 0.1, "calls": str(calls)},
    ]
    plan = write_plan(tmp_path / "plan.yaml", pictures(tmp_path / "in", ROWS), stages)
    tree = read_yaml(plan)
    for stage in tree["stages"]:
        if stage["kind"] == "toy":
            stage |= {"slow": 0, "calls": ""}
    undisturbed = run_plan(validate(ToyPlan, tree, "plan"), str(tmp_path / "whole"))
    assert undisturbed["rows"] == 24
    return plan, tmp_path / "out", calls, undisturbed["content_hash"]


def seen(calls, stage):
    """Calls that a toy stage got."""
    return len(list(calls.glob(f"{stage}-*")))


def test_a_run_that_is_killed_then_interrupted_then_loses_a_worker_ends_as_if_nothing_had_happened(job):
    plan, out, calls, expected = job
    points = random.Random(1)
    process, point = Process(plan, out), points.randint(1, 3)
    assert process.until(lambda: seen(calls, "toy") >= point), process.output
    assert process.end(signal.SIGKILL) == -signal.SIGKILL
    before = len(list((out / "samples").glob("chunk-*"))) if (out / "samples").exists() else 0

    process, point = Process(plan, out), seen(calls, "toy") + points.randint(1, 3)
    assert process.until(lambda: seen(calls, "toy") >= point), process.output
    assert process.end(signal.SIGINT) == 1, process.output
    assert "potstill: interrupted; the same command goes on from here" in process.output
    assert "Traceback" not in process.output
    assert result(out)["state"] == "failed"
    assert len(list((out / "samples").glob("chunk-*"))) >= before

    process = Process(plan, out)
    assert process.until(lambda: seen(calls, "after") >= 1), process.output
    process.kill_worker("after")
    assert process.wait() == 0, process.output
    found = result(out)
    assert (found["content_hash"], found["rows"], found["state"]) == (expected, 24, "done")
    again = len(computed(calls)) - ROWS - 24
    assert 0 <= again <= 3 * IN_FLIGHT * CHUNK
    assert not (out / ".inflight").exists()
    assert not list(out.rglob(".tmp-*"))
