"""Several chunks under way in one actor: side by side where a stage allows it, no row blamed for another's death."""

import os
import threading
import time
from pathlib import Path
from typing import Annotated, Literal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import Field

from potstill.config import RequestError, validate
from potstill.pipelines import schema
from potstill.pipelines.plan import Plan
from potstill.pipelines.runner import run_plan
from potstill.pipelines.stage import RowStage
from tests.toys import pictures

PATIENCE = 60


class Together(RowStage):
    """Works on three chunks at once. As their captions say, rows wait for each other, kill the process, or are slow,
    for ever until there was a death."""

    kind: Literal["together"] = "together"
    calls: str
    """Folder in which each call of the function leaves a file, with the captions that it got."""

    def reads(self):
        return (schema.CAPTION,)

    def writes(self):
        return {self.name: pa.string()}

    def chunks_in_flight(self):
        return 3

    def build(self):
        meeting, inside = threading.Barrier(3), threading.Semaphore(0)

        def call(rows):
            captions, death = rows[schema.CAPTION].to_pylist(), Path(self.calls).parent / "death"
            Path(self.calls, f"{time.monotonic_ns()}-{threading.get_ident()}").write_text("\n".join(captions))
            if captions[0].startswith("meet"):
                meeting.wait(PATIENCE)
            first = not death.exists()
            if captions == ["kill"]:  # at first not before another row is there; then one has the time to come
                inside.acquire(timeout=PATIENCE if first else 2)
                death.touch()
                os._exit(1)
            if captions[0].startswith("slow"):
                inside.release()
                time.sleep(PATIENCE if first else 1)
            return {self.name: captions}

        return call


class Alone(RowStage):
    """Takes one chunk at a time; says so if it does not."""

    kind: Literal["alone"] = "alone"

    def reads(self):
        return (schema.CAPTION,)

    def writes(self):
        return {self.name: pa.string()}

    def build(self):
        free = threading.Lock()

        def call(rows):
            if not free.acquire(blocking=False):
                raise RuntimeError("two chunks at once")
            time.sleep(0.1)
            free.release()
            return {self.name: rows[schema.CAPTION].to_pylist()}

        return call


class TogetherPlan(Plan):
    """A plan that knows both."""

    stages: tuple[Annotated[Together | Alone, Field(discriminator="kind")], ...] = ()


def run(tmp_path, captions, *more, **resources):
    """The run's result, the captions in its samples, and those of each call in the order of the calls."""
    calls, source = tmp_path / "calls", pictures(tmp_path / "in", len(captions), dict(enumerate(captions)))
    calls.mkdir()
    tree = {
        "source": {"kind": "folder", "path": str(source)},
        "stages": [{"kind": "together", "calls": str(calls)}, *more],
        "resources": {"together": resources} if resources else {},
        "run": {"chunk_rows": 1, "max_error_fraction": 0.5},
    }
    result = run_plan(TogetherPlan.model_validate(tree), str(tmp_path / "out"))
    files = sorted((tmp_path / "out/samples").glob("chunk-*.parquet"))
    written = [row["together"] for file in files for row in pq.read_table(file).to_pylist()]
    return result, written, [file.read_text().split("\n") for file in sorted(calls.iterdir())]


@pytest.mark.ray
def test_as_many_chunks_as_a_stage_allows_are_computed_at_the_same_time_and_a_plain_one_takes_one(
    ray_session, tmp_path
):
    """Rows of three chunks wait for each other: with two at once they would wait for ever."""
    captions = [f"meet {number}" for number in range(6)]
    result, written, _ = run(tmp_path, captions, {"kind": "alone"}, {"kind": "alone", "name": "lone"})
    assert [stage["quarantined"] for stage in result["stages"]] == [0] * len(result["stages"])
    assert sorted(written) == captions


@pytest.mark.ray
def test_rows_beside_one_that_kills_the_process_are_not_blamed(ray_session, tmp_path):
    captions = ["slow 0", "kill", "slow 1", "slow 2", "slow 3"]
    result, written, calls = run(tmp_path, captions)
    assert result["rows"] == 4
    (row,) = pq.read_table(tmp_path / "out/quarantine/together.parquet").to_pylist()
    assert (row["source"], row["type"], row["attempts"]) == ("0001.png", "WorkerDied", 2)
    assert "died 2 times with this row, at last alone" in row["message"]
    assert sorted(text for text in written if text) == ["slow 0", "slow 1", "slow 2", "slow 3"]
    assert calls.count(["kill"]) == 2
    assert len(calls) > 2 + 4, "no row was beside it at its first death"
    assert not (tmp_path / "out/.inflight").exists()


def test_a_stage_that_takes_one_chunk_at_a_time_cannot_be_given_more(tmp_path):
    tree = {
        "source": {"kind": "folder", "path": str(tmp_path)},
        "stages": [{"kind": "alone"}, {"kind": "together", "calls": "x"}],
    }
    validate(TogetherPlan, tree | {"resources": {"together": {"chunks_in_flight": 8}}}, "plan")
    with pytest.raises(RequestError, match=r"resources\.alone\.chunks_in_flight: .*takes one chunk at a time"):
        validate(TogetherPlan, tree | {"resources": {"alone": {"chunks_in_flight": 2}}}, "plan")
