"""Runs in trouble: no space, a second run, damage, a bucket. Each ends with a sentence and nothing damaged."""

import contextlib
import os
import subprocess
import threading
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from potstill.config import RequestError, read_yaml, validate
from potstill.pipelines.errors import RunFailed, TooManyErrors, own_words
from potstill.pipelines.rundir import RunDir
from potstill.pipelines.runner import run_plan
from tests.processes import Process, result, write_plan
from tests.toys import ToyPlan, computed, pictures, png

pytestmark = pytest.mark.ray


def plan(tmp_path, source, stages, **settings):
    return validate(ToyPlan, read_yaml(write_plan(tmp_path / "plan.yaml", source, stages, **settings)), "plan")


@pytest.fixture
def calls(tmp_path):
    folder = tmp_path / "calls"
    folder.mkdir()
    return folder


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of 3 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


STAGES = [{"kind": "toy"}, {"kind": "toy", "name": "second", "offset": 1}]


def whole_files(out):
    """Every Parquet file of a run can be read, and nothing unfinished lies about."""
    assert not list(out.rglob(".tmp-*"))
    for file in out.rglob("*.parquet"):
        pq.read_table(file)


@pytest.mark.parametrize("left", [60_000, 30_000, 12_000])
def test_a_full_disk_ends_the_run_with_a_sentence_and_with_space_it_goes_on(ray_session, tmp_path, small_disk, left):
    source = tmp_path / "in"
    source.mkdir()
    for number in range(16):
        (source / f"{number:02d}.png").write_bytes(png((number, 0, 0), (40, 40)) + os.urandom(2000))
    made = plan(tmp_path, source, STAGES)
    expected = run_plan(made, str(tmp_path / "whole"))["content_hash"]
    stat = os.statvfs(small_disk)
    (small_disk / "ballast").write_bytes(bytes(stat.f_bavail * stat.f_frsize - left))
    with pytest.raises(RunFailed, match=r"no space left for .*disk/out; what was committed is whole: free some"):
        run_plan(made, str(small_disk / "out"))
    whole_files(small_disk / "out")
    (small_disk / "ballast").unlink()
    assert run_plan(made, str(small_disk / "out"))["content_hash"] == expected


def test_a_disk_that_fills_while_models_run_says_so_and_keeps_what_was_computed(
    ray_session, tmp_path, small_disk, calls
):
    source = pictures(tmp_path / "in", 16)
    stages = [{"kind": "toy", "slow": 0.05, "calls": str(calls)}]
    made = plan(tmp_path, source, stages)
    expected = run_plan(plan(tmp_path, source, [{"kind": "toy"}]), str(tmp_path / "whole"))["content_hash"]

    def fill():
        while not any(calls.iterdir()):
            time.sleep(0.01)
        with contextlib.suppress(OSError), (small_disk / "ballast").open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))

    filler = threading.Thread(target=fill, daemon=True)
    filler.start()
    with pytest.raises(RunFailed, match=r"no space left for .*; what was committed is whole"):
        run_plan(made, str(small_disk / "out"))
    filler.join()
    whole_files(small_disk / "out")
    (small_disk / "ballast").unlink()
    assert run_plan(made, str(small_disk / "out"))["content_hash"] == expected


def test_a_second_run_on_one_directory_is_refused_and_the_first_is_unharmed(tmp_path, calls):
    source = pictures(tmp_path / "in", 8)
    path = write_plan(tmp_path / "plan.yaml", source, [{"kind": "toy", "slow": 0.2, "calls": str(calls)}])
    first = Process(path, tmp_path / "out")
    assert first.until(lambda: any(calls.iterdir())), first.output
    with pytest.raises(RequestError, match=f"is in use by process {first.process.pid} on"):
        run_plan(validate(ToyPlan, read_yaml(path), "plan"), str(tmp_path / "out"))
    assert first.wait() == 0, first.output
    assert result(tmp_path / "out")["rows"] == 8 == len(computed(calls))


def test_a_run_directory_may_be_a_url(ray_session, tmp_path):
    source = pictures(tmp_path / "in", 6)
    made = plan(tmp_path, source, STAGES)
    by_path = run_plan(made, str(tmp_path / "path"))
    by_url = run_plan(made, f"file://{tmp_path}/url")
    assert by_path["content_hash"] == by_url["content_hash"]
    assert [file.name for file in sorted((tmp_path / "url").iterdir())] == [
        file.name for file in sorted((tmp_path / "path").iterdir())
    ]


def test_a_damaged_file_of_computed_columns_stops_the_run_and_deleted_it_is_computed_anew(ray_session, tmp_path, calls):
    source, out = pictures(tmp_path / "in", 12), tmp_path / "out"
    made = plan(tmp_path, source, [{"kind": "toy", "calls": str(calls)}])
    expected = run_plan(made, str(out))["content_hash"]
    file = out / "samples/chunk-00001.parquet"
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(
        RunFailed, match=r"samples/chunk-00001\.parquet is damaged .* delete it and run the same command"
    ):
        run_plan(made, str(out))
    file.unlink()
    assert run_plan(made, str(out))["content_hash"] == expected
    assert len(computed(calls)) == 12 + 4


def test_damaged_input_rows_are_read_from_the_source_again_and_cost_no_model(ray_session, tmp_path, calls):
    source, out = pictures(tmp_path / "in", 12), tmp_path / "out"
    made = plan(tmp_path, source, [{"kind": "toy", "calls": str(calls)}])
    expected = run_plan(made, str(out))["content_hash"]
    file = out / "images/chunk-00002.parquet"
    file.write_bytes(file.read_bytes()[:100])
    assert run_plan(made, str(out))["content_hash"] == expected
    (out / "images/chunk-00000.parquet").unlink()
    assert run_plan(made, str(out))["content_hash"] == expected
    assert len(computed(calls)) == 12


def test_a_row_that_a_new_filter_drops_before_the_stage_where_it_failed_is_no_error_any_more(ray_session, tmp_path):
    source, out = pictures(tmp_path / "in", 10, captions=dict.fromkeys(range(3), "raise")), str(tmp_path / "out")
    stages = [{"kind": "toy"}]
    with pytest.raises(TooManyErrors):
        run_plan(plan(tmp_path, source, stages), out)
    stages = [{"kind": "filter", "keep": "caption is None or caption != 'raise'"}, {"kind": "toy"}, {"kind": "gate"}]
    found = run_plan(plan(tmp_path, source, stages), out)
    assert [stage["quarantined"] for stage in found["stages"]] == [0, 0, 0, 0]
    assert RunDir(out).list("quarantine") == []


def test_a_stage_that_breaks_its_promise_fails_the_run_and_is_named(ray_session, tmp_path):
    source = pictures(tmp_path / "in", 2)
    stages = [{"kind": "toy", "name": "bent", "offset": 2**63 - 1}]
    with pytest.raises(RunFailed, match=r"^ContractError: stage 'bent' returned 'bent' that is no column of int64: "):
        run_plan(plan(tmp_path, source, stages), str(tmp_path / "out"))


def test_what_a_worker_raised_is_found_in_rays_traceback():
    cause = "The above exception was the direct cause of the following exception:"
    frames = 'ray::f() (pid=1)\n  File "x.py", line 1, in f\n    raise KeyError\n'
    advice = f"\n\n{cause}\n\nray::f() (pid=1)\nray.exceptions.UserCodeException: UDF failed.\nTo change retries, do\n"
    assert own_words(f"{frames}ValueError: two\nlines{advice}") == "ValueError: two\nlines"
    assert own_words(f"{frames}KeyError: 1\n\n{cause}\n\n{frames}ValueError: x{advice}") == "ValueError: x"
    assert own_words(f"{frames}ValueError: x") == "ValueError: x"
    assert own_words(f"{frames}a.b.CorruptThing: x.y: z{advice}") == "CorruptThing: x.y: z"
    assert own_words("no traceback at all") == "no traceback at all"


def test_the_empty_result_of_a_run_is_a_result(ray_session, tmp_path):
    source = pictures(tmp_path / "in", 3)
    stages = [
        {"kind": "filter", "keep": "1 > 2"},
        {"kind": "toy"},
        {"kind": "filter", "name": "late", "keep": "toy > 1"},
    ]
    found = run_plan(plan(tmp_path, source, stages), str(tmp_path / "out"))
    assert (found["rows"], found["stages"][1]["dropped"], found["stages"][2]["in"]) == (0, {"failed": 3}, 0)
    assert list(Path(tmp_path / "out/dataset").glob("*.parquet")) == []
