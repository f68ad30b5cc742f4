"""Verdicts of a run are compared with a truth that stands in a column, in ``meta`` or in a file."""

import json

import pyarrow as pa
import pytest

from potstill.config import RequestError
from potstill.pipelines.report.calibration import BIAS, HEAD, bias, calibrate, compared, read_labels
from tests.pipelines.report.runs import SAYS, know_the_double, make_plan, make_run
from tests.toys import pictures

FLAWS = ("0002.png", "0005.png", "0006.png")
"""Sources that are said to be flawed; the judge gives 5, 2 and 1 to them, nothing to 0007 to 0009, 4 or 5 to others."""


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    root = tmp_path_factory.mktemp("calibration")
    source = pictures(root / "in", 10)
    for number in range(10):
        name = f"{number:04d}.png"
        flaw = {"flaw": "planted"} if name in FLAWS else {}
        (source / name).with_suffix(".json").write_text(json.dumps({"score": 1 if flaw else 5, **flaw}))
    return make_run(make_plan(source, SAYS), root / "out")


@pytest.fixture(autouse=True)
def _double(monkeypatch):
    know_the_double(monkeypatch)


def row(tables):
    ((head, values),) = tables
    return dict(zip(head, values, strict=True))


def test_flags_are_compared_with_planted_flaws_and_dropped_rows_count(directory):
    found = row(calibrate(directory, "solvability < 3", "meta_flaw is not None"))
    assert tuple(found) == HEAD
    assert (found["rows"], found["compared"]) == ("10", "7")
    # of seven verdicts six agree; two flags, both right; three flaws, two found
    assert (found["agreement"], found["precision"], found["recall"]) == ("0.857", "1.000", "0.667")
    # flags 2/7 and 3/7: by chance 2/7 * 3/7 + 5/7 * 4/7 = 26/49; (6/7 - 26/49) / (1 - 26/49) = 16/23
    assert found["kappa"] == f"{16 / 23:.3f}"
    assert found["correlation"] == "-"


def test_scores_are_compared_as_values_and_as_numbers(directory):
    found = row(calibrate(directory, "solvability", "meta_score"))
    # the same are 1 at 0006 and 5 at 0001, 0003, 0004; 0000 got 4, 0002 got 5 for 1, 0005 got 2 for 1
    assert (found["compared"], found["agreement"]) == ("7", f"{4 / 7:.3f}")
    assert 0 < float(found["correlation"]) < 1
    assert found["precision"] == found["recall"] == "-"


def test_fractions_agree_by_correlation_alone():
    assert compared([1.5, 4.2, 3], [1, 5, 3])[:3] == ("3", "-", "-")
    assert compared([1.5, 2.5, 3.5], [1, 3, 5])[3] == "1.000"
    assert compared([1.0, 2.0], [1, 3])[1] == "0.500"


def test_the_truth_may_stand_in_a_file(directory, tmp_path):
    labels = tmp_path / "labels.jsonl"
    rows = [{"source": "0005.png", "people": "bad"}, {"source": "0001.png", "people": "good"}]
    labels.write_text("\n".join(map(json.dumps, rows)))
    found = row(calibrate(directory, "solvability < 3", "people == 'bad'", labels))
    assert (found["compared"], found["agreement"], found["precision"], found["recall"]) == ("2", *["1.000"] * 3)


@pytest.mark.parametrize(
    ("verdict", "truth", "message"),
    [
        ("beauty", "meta_score", "no column 'beauty'; columns there: caption, .*solvability"),
        ("solvability < 'a'", "meta_score", "does not fit its columns"),
        ("import os", "meta_score", "is not a condition"),
        ("instruction", "meta_flaw", "no row has both a verdict"),
    ],
)
def test_what_cannot_be_compared_is_refused(directory, verdict, truth, message):
    with pytest.raises(RequestError, match=message):
        calibrate(directory, verdict, truth)


def test_labels_of_another_form_or_of_other_rows_are_refused(directory, tmp_path):
    labels = tmp_path / "labels.jsonl"
    for text in ("{", '{"a": 1}', "[1]", "3"):
        labels.write_text(text)
        with pytest.raises(RequestError, match="give a JSONL file of objects with `source`"):
            read_labels(labels)
    labels.write_text('{"source": "9999.png", "x": 1}')
    with pytest.raises(RequestError, match=r"no row has the source '9999.png'; sources are such as '0000.png'"):
        calibrate(directory, "solvability", "x", labels)
    with pytest.raises(RequestError, match="FileNotFoundError"):
        read_labels(tmp_path / "none.jsonl")


def test_rows_without_a_truth_are_no_mistakes_and_rows_without_a_verdict_are_not_flagged():
    pairs, agreed, *_, precision, recall = compared([True, False, None, True], [True, False, True, None])
    assert (pairs, agreed, precision, recall) == ("2", "1.000", "1.000", "0.500")
    assert compared(["a", "b"], ["a", "a"])[-3:] == ("-", "-", "-")


def test_the_liking_of_a_pair_judge_for_a_place_is_told():
    names = {
        "straight": ["A", "A", "B", None],
        "swapped": ["A", "B", "A", None],
        "consistent": [False, True, True, None],
    }
    columns = {f"duel_{name}": pa.chunked_array([values]) for name, values in names.items()}
    assert len(BIAS) == 2 + len(bias("duel", columns))
    # four letters A and two B, in three rows of which two agree
    assert bias("duel", columns) == ("3", "0.667", "0.333")
