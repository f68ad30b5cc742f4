"""The run directory: whole files or none, one run at a time, damage told."""

import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from potstill.config import RequestError
from potstill.pipelines.rundir import DamagedFile, RunDir
from tests.processes import ROOT

HOLD = """
import sys
from potstill.pipelines.rundir import RunDir
with RunDir(sys.argv[1]).lock():
    print("held", flush=True)
    input()
"""


@pytest.fixture(params=["path", "url"])
def run(request, tmp_path):
    return RunDir(tmp_path / "run" if request.param == "path" else f"file://{tmp_path}/run")


def test_what_is_written_is_read_back(run):
    run.write_bytes("a/b/raw", b"123")
    run.write_json("x.json", {"ä": [1, None]})
    table = pa.table({"n": [1, 2], "t": ["a", None]}).replace_schema_metadata({b"k": b"v"})
    run.write_table("t/x.parquet", table)
    assert (run.read_bytes("a/b/raw"), run.size("a/b/raw"), run.read_json("x.json")) == (b"123", 3, {"ä": [1, None]})
    assert run.read_table("t/x.parquet").equals(table)
    assert run.read_table("t/x.parquet", ["t", "absent"]).column_names == ["t"]
    assert run.read_schema("t/x.parquet").metadata[b"k"] == b"v"
    assert (run.exists("x.json"), run.exists("y.json")) == (True, False)


def test_a_write_that_fails_half_way_leaves_the_old_file_and_nothing_beside_it(run):
    run.write_bytes("a/file", b"old")

    def half(file):
        file.write(b"new but not ")
        raise RuntimeError("cut")

    with pytest.raises(RuntimeError, match="cut"):
        run.write("a/file", half)
    with pytest.raises(RuntimeError, match="cut"):
        run.write("a/other", half)
    assert run.read_bytes("a/file") == b"old"
    assert [path.name for path in Path(run.path("a")).iterdir()] == ["file"]


def test_a_file_that_is_being_replaced_is_read_whole_all_the_time(run):
    run.write_bytes("file", b"old")

    def fill(file):
        file.write(b"new")
        file.flush()
        assert run.read_bytes("file") == b"old"

    run.write("file", fill)
    assert run.read_bytes("file") == b"new"


def test_listing_is_sorted_and_leaves_out_folders_and_hidden_and_unfinished_files(run):
    for name in ("s/b", "s/a", "s/.tmp-1", "s/.chunks.parquet", "s/sub/c"):
        run.write_bytes(name, b"")
    assert run.list("s") == ["a", "b"]
    assert run.list("nowhere") == []


def test_removing_what_is_not_there_is_fine(run):
    run.remove("nothing")
    run.remove_tree("nothing")
    run.write_bytes("a/b", b"")
    run.remove_tree("a")
    assert not run.exists("a")


def test_it_goes_to_workers_that_stand_in_another_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = RunDir("here")
    run.write_bytes("file", b"1")
    (tmp_path / "else").mkdir()
    monkeypatch.chdir(tmp_path / "else")
    assert pickle.loads(pickle.dumps(run)).read_bytes("file") == b"1"


def test_a_directory_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("in the way")
    for out in (tmp_path / "file", tmp_path / "file/below", "/proc/potstill"):
        with pytest.raises(RequestError, match=r"cannot write to .*; choose another --out"):
            RunDir(out).check_writable()
    RunDir(tmp_path / "new").check_writable()
    assert list((tmp_path / "new").iterdir()) == []


def held(folder):
    """Another process that holds the lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, text=True,
    )  # fmt: skip
    assert process.stdout.readline() == "held\n"
    return process


def end(process, number):
    process.send_signal(number)
    process.wait()
    process.stdin.close()
    process.stdout.close()


def test_a_second_process_is_refused_with_the_name_of_the_first_and_a_killed_one_holds_nothing(run):
    run.check_writable()
    first = held(run.url)
    with pytest.raises(RequestError, match=rf"is in use by process {first.pid} on .*or give another --out"), run.lock():
        raise AssertionError("two processes held one lock")
    end(first, signal.SIGKILL)
    with run.lock():
        assert run.read_json(".lock")["pid"] == os.getpid()


def test_the_lock_is_free_after_an_error(run):
    run.check_writable()
    with pytest.raises(RuntimeError), run.lock():
        raise RuntimeError
    with run.lock():
        pass


@pytest.mark.parametrize("damage", ["cut", "empty", "footer", "body", "text"])
def test_a_damaged_table_is_told_with_its_name_and_the_way_out(run, damage):
    run.write_table("samples/x.parquet", pa.table({"n": list(range(10_000))}))
    path = Path(run.path("samples/x.parquet"))
    data = path.read_bytes()
    changed = bytearray(data)
    changed[len(data) // 3] ^= 0x10
    path.write_bytes(
        {"cut": data[: len(data) // 2], "empty": b"", "footer": data[:-6] + b"\xff" * 6, "body": bytes(changed)}.get(
            damage, b"<html>no such file</html>"
        )
    )
    with pytest.raises(DamagedFile, match=r"samples/x\.parquet is damaged .*delete it"):
        run.read_table("samples/x.parquet")


def test_a_missing_table_is_missing_and_not_damaged(run):
    with pytest.raises(FileNotFoundError):
        run.read_table("samples/none.parquet")
