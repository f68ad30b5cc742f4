"""What a change would keep: just what the run with that change keeps, told without writing or running anything."""

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from potstill.config import RequestError
from potstill.pipelines.decide import scores
from potstill.pipelines.decide.preview import preview
from tests.pipelines.decide.runs import SAYS, finished
from tests.pipelines.report import runs
from tests.toys import pictures

SUBSET = {"kind": "random_subset", "budget": 3}
TOP = {"kind": "set_filter", "name": "top", "keep": {"far": "top(match, 3)"}}


@pytest.fixture(autouse=True)
def double(monkeypatch):
    runs.know_the_double(monkeypatch)


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """A finished run that no test of this module changes."""
    with pytest.MonkeyPatch.context() as patch:
        return finished(tmp_path_factory.mktemp("run"), patch, {"low": "match >= 0.5", "hard": "solvability >= 3"})


def sources(found, group):
    return sorted(row["source"] for row in group["examples"])


def stage(found, name):
    return next(each for each in found["stages"] if each["name"] == name)


def snapshot(folder):
    return {str(file): (file.stat().st_mtime_ns, file.stat().st_size) for file in Path(folder).rglob("*")}


def set_state(directory, state):
    file = Path(directory, "run.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | {"state": state}))


def test_a_lower_and_a_higher_threshold_say_who_comes_in_and_who_leaves(out):
    found = preview(out, ["gate.keep.low=match >= 0.3"])
    assert found["kept"] == {"now": 5, "then": 7, "leave": 0, "come": 2}
    assert [(group["stage"], group["reason"], group["rows"]) for group in found["come"]] == [("gate", "low", 2)]
    assert sources(found, found["come"][0]) == ["0003.png", "0004.png"]
    found = preview(out, ["stages.gate.keep.low=match >= 0.8"])
    assert found["kept"] == {"now": 5, "then": 2, "leave": 3, "come": 0}
    assert sources(found, found["leave"][0]) == ["0005.png", "0006.png", "0007.png"]
    assert stage(found, "gate")["now"] == {
        "kind": "filter", "in": 10, "kept": 5, "dropped": {"low": 5}, "quarantined": 0, "pending": 0,
    }  # fmt: skip
    assert stage(found, "gate")["then"]["dropped"] == {"low": 8}


def test_the_border_shows_the_nearest_rows_on_both_sides(out):
    found = preview(out, ["gate.keep.low=match > 0.45"])
    (border,) = found["borders"]
    assert (border["stage"], border["reason"], border["comparison"]) == ("gate", "low", "match > 0.45")
    assert [row["source"] for row in border["holds"]] == ["0005.png", "0006.png", "0007.png"]
    assert [row["source"] for row in border["fails"]] == ["0004.png", "0003.png", "0002.png"]
    assert border["fails"][0]["values"] == {"match": pytest.approx(0.4)}
    assert (border["fails"][0]["now"], border["holds"][0]["then"]) == ("gate: low", "kept")


def test_nothing_changed_keeps_what_is_kept_and_shows_every_border(out):
    found = preview(out)
    assert found["kept"] == {"now": 5, "then": 5, "leave": 0, "come": 0}
    assert [border["reason"] for border in found["borders"]] == ["low", "hard"]
    assert found["leave"] == found["come"] == []


def test_one_more_condition_is_a_stage_of_its_own_at_the_end(out):
    found = preview(out, also=["top(match, 2)"])
    assert found["kept"] == {"now": 5, "then": 2, "leave": 3, "come": 0}
    assert stage(found, "also")["now"] is None
    assert stage(found, "also")["then"]["dropped"] == {"failed": 3}
    assert found["leave"][0]["reason"] == "failed"


@pytest.mark.parametrize(
    "change",
    [
        ["gate.keep.low=match >= 0.2"],
        ["random_subset.budget=5"],
        ["gate.keep.low=match >= 0.2", "seed=9"],
        ["top.keep.far=top_fraction(match, 0.5)", "gate.keep.low=match >= 0.1"],
    ],
)
def test_a_preview_keeps_just_the_rows_that_the_changed_run_keeps(tmp_path, monkeypatch, change):
    more = [SUBSET, TOP] if "random" in change[0] else [TOP, SUBSET]
    out = finished(tmp_path, monkeypatch, more=more)
    found = preview(out, change)
    assert found["kept"]["now"] == json.loads(Path(out, "run.json").read_text())["rows"]
    settings = dict(part.split("=", 1) for part in change)
    keep = {"low": settings.get("gate.keep.low", "match >= 0.5")}
    more = [dict(stage) for stage in more]
    for each in more:
        if each["kind"] == "random_subset":
            each["budget"] = int(settings.get("random_subset.budget", 3))
        else:
            each["keep"] = {"far": settings.get("top.keep.far", "top(match, 3)")}
    again = finished(tmp_path / "again", monkeypatch, keep, more, seed=int(settings.get("seed", 0)))
    summary = json.loads(Path(again, "run.json").read_text())
    assert found["kept"]["then"] == summary["rows"]
    then = {name: each["then"] for each in found["stages"] for name in [each["name"]]}
    for each in summary["stages"][1:]:
        assert {key: then[each["name"]][key] for key in ("in", "kept", "dropped")} == {
            key: each[key] for key in ("in", "kept", "dropped")
        }


def test_it_writes_nothing(tmp_path, monkeypatch):
    out = finished(tmp_path, monkeypatch, more=[TOP])
    before = snapshot(out)
    preview(out, ["gate.keep.low=match >= 0.1", "top.keep.far=top(match, 5)"], ["match < mean(match)"], "match")
    assert snapshot(out) == before


def test_it_needs_neither_the_source_nor_the_models(tmp_path, monkeypatch):
    out = finished(tmp_path, monkeypatch)
    shutil.rmtree(tmp_path / "in")
    monkeypatch.setattr(runs.Judge, "identity", lambda self: 1 / 0)
    monkeypatch.setattr(runs.Judge, "build", lambda self: 1 / 0)
    assert preview(out, ["gate.keep.low=match >= 0.1"])["kept"]["then"] == 9


def test_a_changed_model_stage_is_refused_with_its_rows_and_the_command_that_computes_it(out):
    with pytest.raises(RequestError) as caught:
        preview(out, ["judge.says.x={match: 1}", "gate.keep.low=match > 0"])
    text = str(caught.value)
    assert "stage 'judge' would have to run: 10 rows. `potstill decide` runs no model" in text
    command = (
        f"potstill run {out}/plan.yaml --out {out} 'stages.judge.says.x={{match: 1}}' 'stages.gate.keep.low=match > 0'"
    )
    assert command in text


def test_rows_that_are_let_through_to_a_stage_that_has_not_seen_them_are_told_apart(tmp_path, monkeypatch):
    stages = [
        {"kind": "filter", "name": "early", "keep": {"late": "source < '0005.png'"}},
        {"kind": "judge", "says": SAYS},
        {"kind": "filter", "name": "gate", "keep": {"low": "match >= 0.2"}},
    ]
    tree = {"source": {"kind": "folder", "path": str(pictures(tmp_path / "in", 10))}, "stages": stages}
    out = runs.make_run(runs.JudgePlan.model_validate(tree), tmp_path / "out")
    found = preview(out, ["early.keep.late=source > '0003.png'"])
    assert found["would_run"] == {"judge": 5}
    assert found["kept"] == {"now": 3, "then": 1, "leave": 2, "come": 0}
    assert stage(found, "judge")["then"]["pending"] == 5


def test_another_plan_brings_its_stages_and_not_its_source(out, tmp_path):
    tree = yaml.safe_load(Path(out, "plan.yaml").read_text())
    stages = [tree["stages"][0], {"kind": "filter", "name": "other", "keep": {"high": "match < 0.3"}}]
    other = tmp_path / "other.yaml"
    other.write_text(yaml.safe_dump({"source": {"kind": "folder", "path": "elsewhere"}, "stages": stages}))
    found = preview(out, [str(other), "other.keep.high=match < 0.2"])
    assert found["kept"] == {"now": 5, "then": 2, "leave": 5, "come": 2}
    assert stage(found, "gate")["then"] is None and stage(found, "other")["now"] is None
    assert found["come"][0]["reason"] == "low"


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        (["gate.keep.low=macht >= 0.1"], "reads 'macht', which nothing before it writes"),
        (["gate.keep.low=match >="], "is not a condition"),
        (["gate.keep.low=top(match, 3)"], "make the stage `kind: set_filter`"),
        (["gata.keep.low=match > 0"], "no single item 'gata' in the list; items: judge, gate"),
        (["source.path=/elsewhere"], "source differs from the run's: other input means other rows"),
        (["intake.min_side=99"], "intake differs from the run's"),
        (["one-plan", "other-plan"], "one plan at most"),
        (["no-such-plan"], "no plan 'no-such-plan'"),
    ],
)
def test_a_change_that_cannot_be_is_refused_with_its_reason(out, changes, error):
    with pytest.raises(RequestError, match=error):
        preview(out, changes)


def test_rows_without_a_score_and_rows_in_quarantine_stay_what_they_are(tmp_path, monkeypatch):
    says = SAYS | {"0001.png": {"fail": "no"}, "0007.png": {"solvability": 5}, "0008.png": {"judge_reason": "odd"}}
    found = preview(finished(tmp_path, monkeypatch, says=says), ["gate.keep.low=match >= 0.2"])
    assert stage(found, "judge")["then"]["quarantined"] == 1
    assert stage(found, "judge")["then"]["dropped"] == {"odd": 1}
    assert stage(found, "gate")["then"]["dropped"] == {"low": 1, "low_unknown": 1}


def test_an_interrupted_run_is_decided_as_far_as_it_came(tmp_path, monkeypatch):
    out = finished(tmp_path, monkeypatch, more=[TOP])
    set_state(out, "running")
    Path(out, "samples/chunk-00001.parquet").unlink()
    found = preview(out, ["gate.keep.low=match >= 0.2"])
    assert found["state"] == "interrupted"
    assert stage(found, "judge")["now"]["pending"] == stage(found, "judge")["then"]["pending"] == 4
    assert found["would_run"] == {}
    assert found["kept"]["then"] == 3


def test_all_files_together_give_the_same_table_as_chunk_by_chunk(tmp_path, monkeypatch):
    says = SAYS | {"0001.png": {"fail": "no"}}
    out = finished(tmp_path, monkeypatch, says=says, intake={"samples_per_image": 2})
    source = tmp_path / "in"
    (source / "zcopy.png").write_bytes((source / "0003.png").read_bytes())
    (source / "zempty.png").write_bytes(b"")
    out = finished(tmp_path, monkeypatch, says=says, intake={"samples_per_image": 2})
    standing = scores.Standing(out)
    columns = ["_input_caption", "judge_reason", "match"]
    scanned = scores._scanned(standing, columns)
    assert scanned is not None and scanned.num_rows == 20
    loaded = scores._loaded(standing, columns)
    order = sorted(scanned.column_names)
    assert order == sorted(set(loaded.column_names) - {"image_id", "row"})
    assert {"_aside", "_done_judge", "_input_caption", "_input_source", "match"} < set(order)
    assert scores.stored(standing, columns).select(order).to_pylist() == (
        loaded.select(order).sort_by("sample_id").to_pylist()
    )


def test_columns_of_other_settings_do_not_count(tmp_path, monkeypatch):
    out = finished(tmp_path, monkeypatch)
    file = Path(out, "samples/chunk-00000.parquet")
    table = pq.read_table(file)
    stale = {b"potstill.fingerprints": json.dumps({"judge": "0" * 32}).encode()}
    pq.write_table(table.replace_schema_metadata(stale), file)
    found = preview(out, ["gate.keep.low=match >= 0.2"])
    assert stage(found, "judge")["then"]["pending"] == 4


def test_a_damaged_file_is_named_with_the_way_out(tmp_path, monkeypatch):
    out = finished(tmp_path, monkeypatch)
    file = Path(out, "samples/chunk-00000.parquet")
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(OSError, match=r"chunk-00000\.parquet is damaged"):
        preview(out)


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(RequestError, match=r"no run\.json"):
        preview(str(tmp_path))


def test_a_run_that_keeps_no_row_at_all_can_be_decided_anew(tmp_path, monkeypatch):
    found = preview(finished(tmp_path, monkeypatch, {"low": "match > 9"}), ["gate.keep.low=match > 8"])
    assert found["kept"] == {"now": 0, "then": 0, "leave": 0, "come": 0}
    assert found["borders"][0]["holds"] == []
