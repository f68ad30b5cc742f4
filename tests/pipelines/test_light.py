"""Small local runs of light stages: without Ray, with the same result, and nothing lost when they end badly."""

import json
import signal
import threading
from contextlib import ExitStack

import pytest

from potstill.config import RequestError
from potstill.pipelines import runner
from potstill.pipelines.errors import RunFailed
from potstill.pipelines.notes import NOTES
from potstill.pipelines.rundir import RunDir
from potstill.pipelines.runner import Runner, run_plan
from potstill.pipelines.segment import Segment
from tests.processes import Process, result, write_plan
from tests.test_structure import RUN, loaded
from tests.toys import ToyPlan, computed, pictures

ROWS = 24
STAGES = [
    {"kind": "light"},
    {"kind": "random_subset", "budget": 16},
    {"kind": "light", "name": "after", "offset": 2},
    {"kind": "filter", "keep": {"small": "after > 0"}},
]


def plan(source, stages=STAGES, **settings):
    run = {"chunk_rows": 4, **settings.pop("run", {})}
    return ToyPlan.model_validate({"source": {"kind": "folder", "path": str(source)}, "stages": stages, "run": run})


def is_light(tree, out, address="local"):
    with ExitStack() as stack:
        one = Runner(tree, RunDir(str(out)), address, stack)
        one._list()
        return one._is_light()


def test_real_light_stages_run_with_no_ray_loaded(tmp_path):
    stages = [{"kind": "image_stats"}, {"kind": "text_stats"}, {"kind": "phash"}, {"kind": "pixel_hash"},
              {"kind": "near_duplicates"}, {"kind": "filter", "keep": "width > 0"}]  # fmt: skip
    file = write_plan(tmp_path / "plan.yaml", pictures(tmp_path / "in", 9), stages)
    arguments = ["-q", "run", str(file), "--out", str(tmp_path / "out")]
    assert loaded(RUN.format(arguments=arguments)) == []
    assert result(tmp_path / "out")["state"] == "done"


@pytest.mark.ray
def test_the_result_is_that_of_a_run_with_ray(ray_session, tmp_path, monkeypatch):
    source = pictures(tmp_path / "in", ROWS, captions={3: "raise"})
    small = run_plan(plan(source), str(tmp_path / "small"))
    monkeypatch.setattr(runner, "LIGHT_ROWS", 0)
    large = run_plan(plan(source), str(tmp_path / "large"))
    for stage in (*small["stages"], *large["stages"]):
        del stage["seconds"], stage["rows_per_second"]
    assert (small["content_hash"], small["stages"]) == (large["content_hash"], large["stages"])
    assert small["stages"][1]["quarantined"] == 1


def test_only_small_local_runs_of_light_stages_with_default_resources_are_light(tmp_path, monkeypatch):
    source = pictures(tmp_path / "in", 5)
    assert is_light(plan(source), tmp_path / "a")
    assert is_light(plan(source, stages=[]), tmp_path / "b")
    assert not is_light(plan(source), tmp_path / "c", "auto")
    assert not is_light(plan(source, [*STAGES, {"kind": "toy"}]), tmp_path / "d")
    granted = plan(source).model_copy(
        update={"resources": {"light": plan(source).resources_of(plan(source).stages[0])}}
    )
    assert not is_light(granted, tmp_path / "e")
    for limit in ("LIGHT_ROWS", "LIGHT_BYTES"):
        with monkeypatch.context() as small:
            small.setattr(runner, limit, 4)
            assert not is_light(plan(source), tmp_path / limit)


def test_a_run_that_died_amid_a_batch_is_left_to_workers_that_can_find_the_row(tmp_path):
    source, out = pictures(tmp_path / "in", 5), tmp_path / "out"
    (out / NOTES / "attempt").mkdir(parents=True)
    assert not is_light(plan(source), out)


def test_a_run_that_fails_half_way_keeps_its_chunks_and_goes_on_from_there(tmp_path, monkeypatch):
    calls = tmp_path / "calls"
    calls.mkdir()
    tree = plan(pictures(tmp_path / "in", ROWS), [{"kind": "light", "calls": str(calls)}])
    commit, one_by_one = Segment.commit, threading.Lock()

    def full(segment, table):
        with one_by_one:
            if segment.run.list("samples")[3:]:
                raise OSError(28, "No space left on device")
            return commit(segment, table)

    monkeypatch.setattr(Segment, "commit", full)
    with pytest.raises(RunFailed, match="no space left"):
        run_plan(tree, str(tmp_path / "out"))
    stopped = json.loads((tmp_path / "out/run.json").read_text())
    assert (stopped["state"], stopped["error"]) == ("failed", "OSError: [Errno 28] No space left on device")
    there = 4 * len(list((tmp_path / "out/samples").glob("chunk-*")))
    assert 16 <= there < ROWS
    monkeypatch.setattr(Segment, "commit", commit)
    done = run_plan(tree, str(tmp_path / "out"))
    assert (done["rows"], done["stages"][1]["computed"]) == (ROWS, ROWS - there)
    assert len(set(computed(calls))) == ROWS
    fresh = run_plan(plan(tmp_path / "in", [{"kind": "light"}]), str(tmp_path / "fresh"))
    assert fresh["content_hash"] == done["content_hash"]


def test_a_stage_that_breaks_its_word_fails_the_run_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.toys.Light._call", lambda self, rows: {"other": [1] * rows.num_rows})
    with pytest.raises(RunFailed, match="ContractError: stage 'light' promised columns"):
        run_plan(plan(pictures(tmp_path / "in", 5), STAGES[:1]), str(tmp_path / "out"))


def test_a_wrong_request_stays_one(tmp_path, monkeypatch):
    def refuse(*_):
        raise RequestError("no such thing")

    monkeypatch.setattr(runner, "take_in_chunk", refuse)
    with pytest.raises(RequestError, match="no such thing"):
        run_plan(plan(pictures(tmp_path / "in", 5), STAGES[:1]), str(tmp_path / "out"))


def test_a_run_that_is_killed_ends_like_any_other(tmp_path):
    source = pictures(tmp_path / "in", ROWS)
    expected = run_plan(plan(source, [{"kind": "light"}]), str(tmp_path / "whole"))["content_hash"]
    file = write_plan(tmp_path / "plan.yaml", source, [{"kind": "light", "slow": 0.2}])
    out = tmp_path / "out"
    process = Process(file, out)
    assert process.until(lambda: list((out / "samples").glob("chunk-*"))), process.output
    assert process.end(signal.SIGKILL) == -signal.SIGKILL
    process = Process(file, out)
    assert process.wait() == 0, process.output
    assert result(out)["content_hash"] == expected


@pytest.mark.ray
@pytest.mark.slow
def test_a_row_that_kills_the_process_is_found_by_workers_the_next_time(tmp_path):
    killing = pictures(tmp_path / "killing", ROWS, captions={5: "kill"})
    file = write_plan(tmp_path / "kill.yaml", killing, [{"kind": "light"}])
    process = Process(file, tmp_path / "killed")
    assert process.wait() == 1
    assert (tmp_path / "killed" / NOTES).exists()
    process = Process(file, tmp_path / "killed")
    assert process.wait() == 0, process.output
    found = result(tmp_path / "killed")
    assert (found["rows"], found["stages"][1]["quarantined"]) == (ROWS - 1, 1)
