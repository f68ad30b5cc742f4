import fcntl
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from potstill.config import RequestError
from potstill.pipelines import schema
from potstill.pipelines.catalogue import catalogue
from potstill.pipelines.chunk import DIGEST
from potstill.pipelines.inspect import explain_row, requeue_rows, status_of
from potstill.pipelines.plan import shipped_plans
from potstill.pipelines.report import explanation
from potstill.pipelines.rundir import RunDir
from tests.pipelines.report import runs
from tests.pipelines.report.conftest import toy_run  # noqa: F401 (a fixture)
from tests.toys import pictures


@pytest.fixture
def run(toy_run):  # noqa: F811 (the fixture of that name)
    """Chunk 0: rows 0 to 3; chunk 1: 4 to 7; chunk 2: 8, 9, the copy of 3, the empty file."""
    return toy_run


def stage(status, name):
    return next(found for found in status["stages"] if found["name"] == name)


def explained(directory, row):
    return "\n".join(explain_row(directory, row))


def ids(directory, source):
    """(image id, sample id) of a row."""
    for file in sorted(Path(directory, "images").glob("chunk-*.parquet")):
        images = pq.read_table(file, columns=[schema.IMAGE_ID, schema.SOURCE]).to_pylist()
        samples = pq.read_table(Path(directory, "samples", file.name)).to_pylist()
        for sample in samples:
            if images[sample["row"]]["source"] == source:
                return sample["image_id"], sample["sample_id"]
    raise AssertionError(source)


def set_state(directory, state):
    file = Path(directory, "run.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | {"state": state}))


def test_a_finished_run_has_the_status_it_wrote(run):
    status = status_of(run)
    assert (status["state"], status["chunks_done"], status["chunks"], status["rows"]) == ("done", 3, 3, 5)
    assert status["stages"] == json.loads(Path(run, "run.json").read_text())["stages"]


def test_a_run_that_died_counts_what_stands(run):
    set_state(run, "running")
    Path(run, "samples/chunk-00001.parquet").unlink()
    Path(run, "images/chunk-00002.parquet").unlink()
    status = status_of(run)
    assert (status["state"], status["chunks_done"], status["chunks"]) == ("interrupted", 1, 3)
    intake, judge = stage(status, "intake"), stage(status, "judge")
    assert (intake["in"], intake["kept"], intake["pending"]) == (12, 8, 4)
    assert (judge["in"], judge["kept"], judge["pending"]) == (8, 4, 4)
    assert stage(status, "gate")["kept"] == 4


def test_a_run_that_goes_on_is_running_and_not_disturbed(run):
    set_state(run, "running")
    with Path(run, ".lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = sorted(Path(run).rglob("*"))
        assert status_of(run)["state"] == "running"
        assert sorted(Path(run).rglob("*")) == before


@pytest.mark.parametrize("question", [status_of, requeue_rows, lambda directory: list(explain_row(directory, "a.png"))])
def test_a_folder_that_is_no_run_is_refused_and_left_alone(tmp_path, question):
    with pytest.raises(RequestError, match=r"no run directory"):
        question(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_kept_row_is_explained_with_its_values(run):
    text = explained(run, "0004.png")
    image, sample = ids(run, "0004.png")
    assert f"image    {image} (32 x 24 pixels, PNG)" in text and f"sample   {sample}" in text
    assert "now      in the dataset" in text and "solvability = 5" in text and "match = 0.4" in text
    assert '{"revision": "abc123"}' in text and "gate (filter): kept: solvability == 5" in text


def test_a_changed_model_is_told_and_changes_nothing_else(run, monkeypatch):
    before = explained(run, "0004.png")
    monkeypatch.setattr(runs.Judge, "identity", lambda self: {"revision": "other"})
    after = explained(run, "0004.png")
    assert after == before.replace('{"revision": "abc123"}', "(model, prompts or code have changed since)")


def test_lists_are_shown_as_they_are_and_vectors_by_their_length():
    plan = runs.JudgePlan.model_validate({"source": {"kind": "folder", "path": "x"}, "stages": [{"kind": "judge"}]})
    columns = {"solvability": [[0.5, 0.25]], "match": [[0.0] * 17], "instruction": [[{"text": "a dog", "holds": True}]]}
    part = SimpleNamespace(table=pa.table({name: pa.array(values) for name, values in columns.items()}))
    assert list(explanation._values(plan.stages[0], part, 0)) == [
        "    solvability = [0.5, 0.25]",
        "    match = vector of 17",
        '    instruction = [{"text": "a dog", "holds": true}]',
    ]


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("0005.png", "gate (filter): dropped: solvability == 2, needs solvability >= 3 (reason: unsolvable)"),
        (
            "0009.png",
            "gate (filter): dropped: solvability is null, needs solvability >= 3 (reason: unsolvable_unknown)",
        ),
        ("0007.png", "judge: dropped: no_instruction"),
        ("copy.png", "intake   duplicate of 0003.png: same bytes and texts, so only that row goes on"),
        ("empty.png", "intake   quarantined: EmptyFile: the file is empty (0 bytes); fetch it again, or leave it out"),
        ("0008.png", "judge: quarantined: ValueError: no score in "),
    ],
)
def test_the_end_of_a_row_is_explained(run, source, line):
    assert line in explained(run, source)


def test_a_row_in_quarantine_says_how_often_it_was_tried_and_what_it_never_reached(run):
    text = explained(run, "0008.png")
    assert "(1 attempt)" in text and "gate (filter): not reached" in text and "now      quarantined at judge" in text


def test_hostile_text_does_not_reach_the_terminal(run):
    text = explained(run, "0000.png") + explained(run, "0008.png")
    assert "\x1b" not in text and "\x00" not in text and "\u202e" not in text and "␛[31m" in text


def test_rows_are_found_by_prefixes_of_their_ids(run):
    image, sample = ids(run, "0005.png")
    whole = explained(run, "0005.png")
    assert explained(run, image[:6]) == explained(run, sample[:6].upper()) == explained(run, sample) == whole


def test_several_rows_that_match_are_listed(run):
    image, sample = ids(run, "0003.png")
    lines = list(explain_row(run, image))
    assert lines[0] == f"2 rows match '{image}'; ask for one of them:"
    assert lines[1:] == [f"  0003.png  image {image}  sample {sample}", f"  copy.png  image {image}  no sample"]


@pytest.mark.parametrize("wanted", ["nowhere.png", "abcde", "00000000", ""])
def test_a_row_that_is_not_there_is_refused(run, wanted):
    with pytest.raises(RequestError, match="has no row"):
        list(explain_row(run, wanted))


def test_one_sample_of_an_image_can_be_asked_for(tmp_path, monkeypatch):
    runs.know_the_double(monkeypatch)
    plan = runs.make_plan(pictures(tmp_path / "in", 1), runs.SAYS, intake={"samples_per_image": 3})
    out = runs.make_run(plan, tmp_path / "out")
    _, sample = ids(out, "0000.png")
    assert explained(out, "0000.png").count("sample   ") == 3
    assert [line for line in explain_row(out, sample) if line.startswith("sample")] == [f"sample   {sample}"]


def test_what_a_selector_left_out_is_explained(tmp_path, monkeypatch):
    runs.know_the_double(monkeypatch)
    more = [{"kind": "random_subset", "budget": 1}]
    plan = runs.make_plan(pictures(tmp_path / "in", 4), runs.SAYS, more=more)
    out = runs.make_run(plan, tmp_path / "out")
    texts = [explained(out, f"000{number}.png") for number in range(4)]
    assert sum("random_subset: kept" in text for text in texts) == 1
    assert sum("now      dropped (not_selected) at random_subset" in text for text in texts) == 3


def test_a_filter_over_all_rows_is_explained_by_the_numbers_it_decided_by(tmp_path, monkeypatch):
    runs.know_the_double(monkeypatch)
    keep = {"low": "match >= quantile(match, 0.25)", "few": "top(match, 2)"}
    plan = runs.make_plan(pictures(tmp_path / "in", 5), runs.SAYS, more=[{"kind": "set_filter", "keep": keep}])
    out = runs.make_run(plan, tmp_path / "out")
    assert "dropped: match == 0, quantile(match, 0.25) == 0.1, needs match >= quantile(match, 0.25) (reason: low)" in (
        explained(out, "0000.png")
    )
    assert "dropped: rank(match) == 3, needs top(match, 2) (reason: few)" in explained(out, "0002.png")
    assert "set_filter: kept: match == 0.4, quantile(match, 0.25) == 0.1, rank(match) == 1" in explained(
        out, "0004.png"
    )
    set_state(out, "failed")
    assert "set_filter: waiting to be computed or chosen" in explained(out, "0004.png")


def test_requeued_rows_are_tried_again_and_nothing_else_is(run, tmp_path, monkeypatch):
    metadata = pq.read_schema(Path(run, "samples/chunk-00002.parquet")).metadata
    assert requeue_rows(run, "judge") == 1
    assert pq.read_schema(Path(run, "samples/chunk-00002.parquet")).metadata == metadata
    assert sorted(file.name for file in Path(run, "quarantine").iterdir()) == ["intake.parquet"]
    status = status_of(run)
    assert (status["state"], status["chunks_done"], stage(status, "judge")["pending"]) == ("requeued", 2, 1)
    assert requeue_rows(run, "judge") == 0
    monkeypatch.setattr(runs.Judge, "_call", lambda self, rows: answers(rows))
    runs.make_run(runs.make_plan(tmp_path / "in", runs.SAYS), run)
    after = status_of(run)
    assert (after["rows"], stage(after, "judge")["computed"], stage(after, "judge")["quarantined"]) == (6, 1, 0)


def answers(rows):
    assert rows[schema.SOURCE].to_pylist() == ["0008.png"]
    return {name: pa.nulls(1, kind) for name, kind in runs.TYPES.items()} | {"solvability": [5]}


def test_rows_that_the_intake_refused_are_read_again_and_keep_what_stands(run, tmp_path):
    assert requeue_rows(run, "intake") == 1
    assert requeue_rows(run, "intake") == 0
    metadata = pq.read_schema(Path(run, "images/chunk-00002.parquet")).metadata
    assert metadata[DIGEST] == b""
    assert stage(status_of(run), "intake")["pending"] == 1
    assert "the next run tries it again" in explained(run, "empty.png")
    shutil.copy(tmp_path / "in/0001.png", tmp_path / "in/empty.png")
    runs.make_run(runs.make_plan(tmp_path / "in", runs.SAYS), run)
    status = status_of(run)
    assert (stage(status, "intake")["quarantined"], stage(status, "intake")["duplicate"]) == (0, 2)
    assert stage(status, "judge")["computed"] == 0


def test_all_stages_are_requeued_when_none_is_named(run):
    assert requeue_rows(run) == 2
    assert list(Path(run, "quarantine").iterdir()) == []


def test_requeue_waits_for_no_run_and_knows_the_stages(run):
    with pytest.raises(RequestError, match="no stage 'gate' can fail rows in this run; stages: intake, judge"):
        requeue_rows(run, "gate")
    with RunDir(run).lock(), pytest.raises(RequestError, match="is in use by"):
        requeue_rows(run)


def test_the_catalogue_names_every_unit_with_a_line():
    found = catalogue()
    assert set(found) == {"plans", "sources", "stages", "sinks"}
    assert set(found["plans"]) == set(shipped_plans())
    assert {"clip_score", "filter", "random_subset"} <= set(found["stages"])
    assert "folder" in found["sources"] and "parquet" in found["sinks"]
    lines = [line for units in found.values() for line in units.values()]
    assert all(line and "`" not in line and not line.startswith("#") for line in lines)
