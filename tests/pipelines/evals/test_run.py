"""An evaluation from rows to files."""

import json

import pyarrow.parquet as pq
import pytest

from potstill.config import RequestError
from potstill.pipelines.errors import TooManyErrors
from potstill.pipelines.evals.run import evaluate
from potstill.pipelines.evals.text import lines
from tests.pipelines.evals.rows import evaluation, png, write


@pytest.fixture
def judged(tmp_path):
    return write(tmp_path / "in", sample_id=["a", "b", "c"], image_id=["p", "q", "r"], clarity=[5, None, 4])


def test_both_files_say_what_was_found(judged, tmp_path):
    out = tmp_path / "out"
    result = evaluate(evaluation("judge", judged, scores=["clarity"]), str(out))
    assert json.loads((out / "eval.json").read_text()) == result
    assert result["metrics"]["clarity"] == {"value": 4.5, "low": 4.0, "high": 5.0, "n": 2}
    assert (result["kind"], result["rows"], result["failed"], result["left_out"]) == ("judge", 3, {}, {"no clarity": 1})
    assert result["recipe"]["scores"] == ["clarity"] and result["recipe"]["seed"] == 0
    assert result["seconds"] >= 0
    assert pq.read_table(out / "eval-rows.parquet").to_pylist() == [
        {"sample_id": "a", "image_id": "p", "clarity": 5, "error": None},
        {"sample_id": "b", "image_id": "q", "clarity": None, "error": None},
        {"sample_id": "c", "image_id": "r", "clarity": 4, "error": None},
    ]


def test_rows_without_ids_are_numbered(tmp_path):
    evaluate(evaluation("judge", write(tmp_path, clarity=[5, 4], parts=2), scores=["clarity"]), str(tmp_path / "out"))
    assert pq.read_table(tmp_path / "out" / "eval-rows.parquet")["row"].to_pylist() == [0, 1]


def test_the_text_is_a_table_with_what_it_is_of(judged, tmp_path):
    result = evaluate(evaluation("judge", judged, scores=["clarity"], confidence=0.9), str(tmp_path))
    assert list(lines(result, str(tmp_path)))[:2] == [
        "metric   value  90 % interval   n",
        "clarity  4.500  4.000 to 5.000  2",
    ]
    assert list(lines(result, "x/"))[3:] == ["failed: 0", "left out: no clarity 1", "x/eval.json, x/eval-rows.parquet"]
    result["metrics"]["clarity"] |= {"low": None, "high": None}
    result |= {"failed": {"OSError": 2}, "model": {"model": "m", "digest": "d"}, "facts": {"texts": 3}, "rows": 1234}
    words = list(lines(result, "x"))
    assert words[1].split() == ["clarity", "4.500", "-", "2"]
    assert words[2].startswith("m d, 1,234 rows, ")
    assert words[3:6] == ["failed: OSError 2", "left out: no clarity 1", "texts 3"]


def test_too_many_failures_leave_the_rows_and_no_result(tmp_path):
    folder = write(tmp_path / "in", image=[png("red"), None, b"x"], caption=["a", "b", "c"])
    out = tmp_path / "out"
    out.mkdir()
    (out / "eval.json").write_text("{}")
    with pytest.raises(TooManyErrors, match=r"2 of 3 rows failed, .* the first: MissingImage: .*eval-rows\.parquet"):
        evaluate(evaluation("clip", folder), str(out))
    assert not (out / "eval.json").exists()
    errors = pq.read_table(out / "eval-rows.parquet")["error"].to_pylist()
    assert errors[0] is None and errors[1].startswith("MissingImage: ") and errors[2].startswith("NotAnImage: ")
    result = evaluate(evaluation("clip", folder, max_error_fraction=0.7), str(out))
    assert result["failed"] == {"MissingImage": 1, "NotAnImage": 1}
    assert result["metrics"]["rankme_pictures"] == {"value": pytest.approx(1), "low": None, "high": None, "n": 1}


def test_a_wrong_request_changes_no_file(judged, tmp_path):
    (tmp_path / "eval.json").write_text("{}")
    for asked in (
        evaluation("judge", judged, scores=["x"]),
        evaluation("clip", judged, model="local-dir:/nowhere"),
        evaluation("judge", tmp_path / "nowhere", scores=["x"]),
    ):
        with pytest.raises(RequestError):
            evaluate(asked, str(tmp_path))
    assert (tmp_path / "eval.json").read_text() == "{}"
    with pytest.raises(RequestError, match="cannot write to"):
        evaluate(evaluation("judge", judged, scores=["clarity"]), "/proc/potstill")
