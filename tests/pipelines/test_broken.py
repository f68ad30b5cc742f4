"""Folders with broken files: the good rows are all kept, each bad one is in quarantine with its reason."""

import io
import struct
import zlib
from functools import cache

import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest
from PIL import Image

from potstill.pipelines.errors import TooManyErrors
from potstill.pipelines.plan import load_plan
from potstill.pipelines.runner import run_plan
from tests.processes import Process, result, write_plan

pytestmark = pytest.mark.ray


def jpeg(seed):
    """A noisy photograph-like picture: its file is long enough to be damaged in the middle."""
    pixels = np.random.default_rng(seed).integers(0, 255, (64, 64, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


@cache
def bomb():
    """A PNG of 14000 x 12000 pixels, all black, in a few hundred kilobytes."""

    def part(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    packer = zlib.compressobj(9)
    row = bytes(1 + 14000 * 3)
    data = b"".join(packer.compress(row) for _ in range(12000)) + packer.flush()
    header = struct.pack(">IIBBBBB", 14000, 12000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", header) + part(b"IDAT", data) + part(b"IEND", b"")


def tiny():
    buffer = io.BytesIO()
    Image.new("RGB", (1, 1)).save(buffer, "PNG")
    return buffer.getvalue()


def broken(kind, seed):
    data = jpeg(1000 + seed)
    middle = len(data) // 2
    return {
        "EmptyFile": b"",
        "TruncatedImage": data[:middle],
        "NotAnImage": f"<!doctype html><title>404 {seed}</title>".encode(),
        "CorruptImage": data[:middle] + bytes(300) + data[middle + 300 :],
        "ImageTooSmall": tiny(),
        "ImageTooLarge": bomb(),
    }[kind]


KINDS = ("EmptyFile", "TruncatedImage", "NotAnImage", "CorruptImage", "ImageTooSmall", "ImageTooLarge")
WORDS = {
    "EmptyFile": "0 bytes",
    "TruncatedImage": "ends before the picture does",
    "NotAnImage": "an HTML or XML page",
    "CorruptImage": "zeros",
    "ImageTooSmall": "1 x 1 pixels, shorter side at least 16",
    "ImageTooLarge": "14000 x 12000 = 168000000 pixels, limit 50000000",
}


def folder(path, good, bad):
    """``good`` good files and ``bad`` broken ones of all kinds, mixed by name."""
    path.mkdir()
    for number in range(good):
        (path / f"{number:03d}-good.jpg").write_bytes(jpeg(number))
    kinds = {}
    for number in range(bad):
        name = f"{number * 7 % 100:03d}-{number}-bad.jpg"
        kinds[name] = KINDS[number % len(KINDS)]
        (path / name).write_bytes(broken(kinds[name], number))
    return path, kinds


def quarantined(out):
    rows = pq.read_table(out / "quarantine/intake.parquet").to_pylist()
    for row in rows:
        assert row["stage"] == "intake"
        assert row["attempts"] == 1
        assert WORDS[row["type"]] in row["message"], row
        assert len(row["id"]) == 32
    return {row["source"]: row["type"] for row in rows}


def sources(out):
    files = sorted((out / "dataset").glob("*.parquet"))
    return sorted(name for file in files for name in pq.read_table(file, columns=["source"])["source"].to_pylist())


def plan(tmp_path, source):
    path = write_plan(tmp_path / "plan.yaml", source, [{"kind": "toy"}], run={"chunk_rows": 32})
    from potstill.config import read_yaml, validate
    from tests.toys import ToyPlan

    return validate(ToyPlan, read_yaml(path), "plan")


@pytest.mark.parametrize(("good", "bad"), [(99, 1), (114, 6)])
def test_one_and_five_percent_of_broken_files_go_to_quarantine_and_all_good_rows_are_kept(
    ray_session, tmp_path, good, bad
):
    source, kinds = folder(tmp_path / "in", good, bad)
    found = run_plan(plan(tmp_path, source), str(tmp_path / "out"))
    assert found["rows"] == good
    assert (
        found["stages"][0] | {"in": good + bad, "kept": good, "quarantined": bad, "duplicate": 0} == found["stages"][0]
    )
    assert quarantined(tmp_path / "out") == kinds
    assert sources(tmp_path / "out") == sorted(path.name for path in source.glob("*-good.jpg"))


def test_one_broken_file_more_than_five_percent_stops_the_run(ray_session, tmp_path):
    source, kinds = folder(tmp_path / "in", 113, 7)
    with pytest.raises(TooManyErrors, match=r"7 of 120 rows \(5\.8%\).*run\.max_error_fraction=0\.07"):
        run_plan(plan(tmp_path, source), str(tmp_path / "out"))
    assert quarantined(tmp_path / "out") == kinds


def test_half_broken_ends_with_exit_code_3_and_with_the_override_it_names_all_good_rows_are_there(tmp_path):
    source, kinds = folder(tmp_path / "in", 60, 60)
    path = write_plan(tmp_path / "plan.yaml", source, [], run={"chunk_rows": 32})
    assert load_plan(path).run.max_error_fraction == 0.05
    process = Process(path, tmp_path / "out", module="potstill")
    assert process.wait() == 3, process.output
    assert "60 of 120 rows (50.0%) are in quarantine so far, more than max_error_fraction 5.0%." in process.output
    assert "run again with run.max_error_fraction=0.51" in process.output
    assert "Traceback" not in process.output
    assert result(tmp_path / "out")["state"] == "stopped"
    assert quarantined(tmp_path / "out") == kinds
    process = Process(path, tmp_path / "out", "run.max_error_fraction=0.51", module="potstill")
    assert process.wait() == 0, process.output
    assert result(tmp_path / "out")["rows"] == 60
    assert quarantined(tmp_path / "out") == kinds
    assert sources(tmp_path / "out") == sorted(path.name for path in source.glob("*-good.jpg"))


def test_a_decompression_bomb_is_refused_by_its_header_and_costs_no_memory():
    from potstill.pipelines.intake import Intake, take_in
    from potstill.pipelines.sources.base import RawRow

    ours = psutil.Process()
    take_in([RawRow(source="good", image=jpeg(0))], Intake())
    before = ours.memory_info().rss
    table = take_in([RawRow(source=f"{number}", image=bomb()) for number in range(20)], Intake())
    assert {error["type"] for error in table["error"].to_pylist()} == {"ImageTooLarge"}
    assert ours.memory_info().rss - before < 50 * 2**20 < 14000 * 12000 * 3
