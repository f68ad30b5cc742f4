"""Small local runs: without Ray, with the same result, and nothing lost when they end badly."""

import json
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import get_args

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file

from potstill.config import RequestError
from potstill.pipelines import runner, threads
from potstill.pipelines.errors import RunFailed
from potstill.pipelines.notes import NOTES
from potstill.pipelines.registry import AnyStage
from potstill.pipelines.rundir import RunDir
from potstill.pipelines.runner import Runner, run_plan
from potstill.pipelines.scorers.clip_score import ClipScore
from potstill.pipelines.segment import Segment
from potstill.pipelines.stage import RowStage
from tests.processes import ROOT, Process, result, write_plan
from tests.test_structure import RUN, loaded
from tests.toys import Light, ToyPlan, computed, pictures

ROWS = 24
ROW_STAGES = {
    stage.model_fields["kind"].default: stage
    for stage in get_args(get_args(AnyStage)[0])
    if issubclass(stage, RowStage)
}
STAGES = [
    {"kind": "light"},
    {"kind": "random_subset", "budget": 16},
    {"kind": "light", "name": "after", "offset": 2},
    {"kind": "filter", "keep": {"small": "after > 0"}},
]


def plan(source, stages=STAGES, **settings):
    run = {"chunk_rows": 4, **settings.pop("run", {})}
    return ToyPlan.model_validate({"source": {"kind": "folder", "path": str(source)}, "stages": stages, "run": run})


def fits(tree, out):
    """Whether the plan would run without Ray."""
    run = RunDir(str(out))
    with ExitStack() as stack:
        one = Runner(tree, run, "local", stack)
        one._list()
        return threads.suffice(tree, run, one._chunks)


def test_real_stages_run_with_no_ray_loaded(tmp_path):
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
    monkeypatch.setattr(Light, "in_process", False)
    large = run_plan(plan(source), str(tmp_path / "large"))
    for stage in (*small["stages"], *large["stages"]):
        del stage["seconds"], stage["rows_per_second"]
    assert (small["content_hash"], small["stages"]) == (large["content_hash"], large["stages"])
    assert small["stages"][1]["quarantined"] == 1


@pytest.mark.ray
def test_rows_of_a_model_are_those_of_a_worker_to_the_bit(ray_session, tmp_path, monkeypatch):
    texts = {number: f"{number} red squares" for number in range(ROWS)}
    tree = plan(pictures(tmp_path / "in", ROWS, captions=texts), [{"kind": "clip_score", "text": ["caption"]}])
    assert fits(tree, tmp_path / "small")
    small = run_plan(tree, str(tmp_path / "small"))["content_hash"]
    monkeypatch.setattr(ClipScore, "in_process", False)
    assert not fits(tree, tmp_path / "large")
    assert run_plan(tree, str(tmp_path / "large"))["content_hash"] == small


def test_a_model_for_which_no_row_is_left_is_not_loaded(tmp_path, monkeypatch):
    source, built, build = pictures(tmp_path / "in", ROWS), [], Light.build
    monkeypatch.setattr(Light, "build", lambda stage: [built.append(stage.name), build(stage)][1])
    run_plan(plan(source, STAGES[:1]), str(tmp_path / "out"))
    assert built == ["light"]
    run_plan(plan(source, [{"kind": "light"}, {"kind": "light", "name": "after"}]), str(tmp_path / "out"))
    assert built == ["light", "after"]
    run_plan(plan(source, [{"kind": "light"}, {"kind": "filter", "keep": "light > 0"}]), str(tmp_path / "out"))
    assert built == ["light", "after"]


@pytest.mark.parametrize("kind", sorted(kind for kind, stage in ROW_STAGES.items() if stage.in_process))
def test_what_may_run_in_process_may_be_called_from_several_threads(kind, table, settings):
    function = ROW_STAGES[kind].model_validate({"kind": kind, "name": kind, **settings.get(kind, {})}).build()
    batches = [table.slice(start, 3) for start in range(0, table.num_rows, 3)] * 4
    with ThreadPoolExecutor(4) as pool:
        at_once = list(pool.map(function, batches))
    for rows, got in zip(batches, at_once, strict=True):
        alone = function(rows)
        assert not any(alone.pop("error", ())) and not any(got.pop("error", ()))
        for name, values in alone.items():
            assert pa.array(list(values)).equals(pa.array(list(got[name]))), name


@pytest.fixture(scope="module")
def table():
    """Rows with every column that such a stage reads; texts are short, and longer than the model takes."""
    files = sorted((ROOT / "samples").glob("scene-*"))[:12]
    ids = [file.stem for file in files]
    images = pa.array([file.read_bytes() for file in files], pa.large_binary())
    captions = ["two red dogs and a small green snail " * (1 + 9 * (number % 2)) for number in range(len(files))]
    rows = pa.table({"sample_id": ids, "image_id": ids, "image": images, "caption": captions, "response": captions})
    rows = rows.append_column("width", pa.array([64] * len(ids))).append_column("height", pa.array([48] * len(ids)))
    scored = ClipScore().build()(rows)
    for name in ("clip_score", "clip_score_image", "clip_score_text"):
        rows = rows.append_column(name, pa.array(scored[name]))
    places = [[[0.1, 0.1, 0.5, 0.4]]] * len(files)
    return rows.append_column("text_area_places", pa.array(places, pa.list_(pa.list_(pa.float32(), 4))))


@pytest.fixture(scope="module")
def settings(table, tmp_path_factory):
    """Settings by kind, where it has some that are required or worth a look."""
    folder = tmp_path_factory.mktemp("settings")
    pq.write_table(table.select(["clip_score_image"]), folder / "target.parquet")
    width = len(table["clip_score_image"][0])
    save_file({"0.weight": np.linspace(-1, 1, width, dtype=np.float32)[None]}, folder / "head.safetensors")
    return {
        "clip_score": {"windows": "mean"},
        "concepts": {"concepts": ["dog", "snail"]},
        "embedding_head": {"weights": str(folder / "head.safetensors")},
        "norm_sim": {"against": str(folder / "target.parquet")},
    }


def test_only_small_local_runs_with_default_resources_do_without_ray(tmp_path, monkeypatch):
    source = pictures(tmp_path / "in", 5)
    assert fits(plan(source), tmp_path / "a")
    assert fits(plan(source, stages=[]), tmp_path / "b")
    assert not fits(plan(source, [*STAGES, {"kind": "toy"}]), tmp_path / "d")
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    with pytest.raises(RequestError, match=r"no Ray cluster at '127\.0\.0\.1:1': .*refused; start one"):
        run_plan(plan(source), str(tmp_path / "c"), "127.0.0.1:1")
    granted = plan(source).model_copy(
        update={"resources": {"light": plan(source).resources_of(plan(source).stages[0])}}
    )
    assert not fits(granted, tmp_path / "e")
    for limit in ("MOST_ROWS", "MOST_BYTES"):
        with monkeypatch.context() as small:
            small.setattr(threads, limit, 4)
            assert not fits(plan(source), tmp_path / limit)


def test_a_run_that_died_amid_a_batch_is_left_to_workers_that_can_find_the_row(tmp_path):
    source, out = pictures(tmp_path / "in", 5), tmp_path / "out"
    (out / NOTES / "attempt").mkdir(parents=True)
    assert not fits(plan(source), out)


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
    (out / "samples/.tmp-half").write_bytes(b"what a killed writer leaves")
    process = Process(file, out)
    assert process.wait() == 0, process.output
    assert result(out)["content_hash"] == expected
    assert not list(out.rglob(".tmp-*"))


def test_an_interrupted_run_waits_for_no_batch_and_goes_on_without_ray(tmp_path):
    source, calls, out = pictures(tmp_path / "in", ROWS), tmp_path / "calls", tmp_path / "out"
    calls.mkdir()
    file = write_plan(tmp_path / "plan.yaml", source, [{"kind": "light", "calls": str(calls), "slow": 1e6}])
    process = Process(file, out)
    assert process.until(lambda: list(calls.iterdir())), process.output
    assert process.end(signal.SIGINT) == 1, process.output
    assert process.output.endswith("potstill: interrupted; the same command goes on from here\n")
    assert (result(out)["state"], list((out / "samples").glob("chunk-*"))) == ("failed", [])
    assert fits(plan(source, [{"kind": "light"}]), out)


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
