"""The command line, in process: exit codes, one message per mistake, nothing written for a wrong request."""

import json

import pytest
import yaml

from potstill import __version__
from potstill.pipelines.plan import Plan, shipped_plans
from potstill.pipelines.rundir import RunDir
from tests.pipelines.report.runs import make_run
from tests.toys import pictures


@pytest.fixture
def plan(tmp_path):
    """A plan file over two pictures."""
    tree = {"source": {"kind": "folder", "path": str(pictures(tmp_path / "in", 2))}, "stages": []}
    path = tmp_path / "plan.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


def test_a_valid_plan_is_called_valid_with_its_stages(call):
    code, out, err = call("validate", "score-tiny")
    assert (code, out, err) == (0, "score-tiny: valid, 1 stages: clip_score\n", "")


def test_a_bad_plan_ends_with_2_and_all_its_mistakes(call, plan):
    plan.write_text("nam: x\nseed: -1\nsource: {kind: folder, path: in, recursve: true}\nstages: [{kind: clip_scor}]\n")
    code, out, err = call("validate", plan)
    assert (code, out) == (2, "")
    assert err.startswith(f"potstill: {plan}: 4 mistakes\n")
    for part in ("nam: unknown key; did you mean 'name'?", "seed: ", "recursve: unknown key", "clip_scor"):
        assert part in err
    assert call("run", plan, "--out", plan.parent / "out")[0] == 2
    assert not (plan.parent / "out").exists()


@pytest.mark.parametrize("text", ["", "a: [", "a: 1\na: 2", "- 1"])
def test_a_file_that_is_no_plan_ends_with_2_and_its_name(call, plan, text):
    plan.write_text(text)
    code, _, err = call("validate", plan)
    assert code == 2
    assert str(plan) in err


def test_an_unknown_plan_ends_with_2_and_the_names_of_those_there_are(call):
    code, _, err = call("validate", "no-such-plan")
    assert code == 2
    assert all(name in err for name in shipped_plans())


def test_overrides_come_before_the_check(call, plan):
    assert call("validate", plan, "seed=-1")[0] == 2
    assert call("validate", plan, "seed=1", "run.chunk_rows=5")[0] == 0
    assert call("validate", plan, "seed")[0] == 2
    code, out, _ = call("show", plan, "seed=7")
    assert (code, yaml.safe_load(out)["seed"]) == (0, 7)


def test_what_show_prints_is_a_plan_that_shows_the_same(call, plan):
    for name in (plan, *shipped_plans()):
        first = call("show", name)[1]
        plan.with_name("shown.yaml").write_text(first)
        assert call("show", plan.with_name("shown.yaml")) == (0, first, "")


def test_the_schema_is_json_and_knows_every_field(call):
    code, out, _ = call("schema")
    properties = json.loads(out)["properties"]
    assert code == 0
    assert {"source", "stages", "sinks", "resources", "run", "seed"} <= set(properties)


def test_the_list_names_plans_and_units(call):
    code, out, _ = call("list")
    assert code == 0
    for word in ("oasis-tiny", "folder", "clip_score", "filter", "parquet"):
        assert word in out


def test_help_and_version(call):
    assert call("--version") == (0, f"{__version__}\n", "")
    code, out, _ = call("--help")
    assert code == 0
    for command in (
        "validate",
        "show",
        "run",
        "status",
        "explain",
        "decide",
        "requeue",
        "report",
        "calibrate",
        "list",
        "schema",
    ):
        assert command in out


def test_an_unknown_command_or_option_ends_with_2(call, plan):
    assert call("distil-all")[0] == 2
    assert call("run", plan, "--outt", "x")[0] == 2


def test_a_run_needs_a_directory(call, plan):
    code, _, err = call("run", plan)
    assert (code, err) == (2, "potstill: give a run directory: --out DIR\n")


def test_a_missing_or_empty_folder_ends_with_2_and_its_name(call, plan, tmp_path):
    code, _, err = call("run", plan, "--out", tmp_path / "out", f"source.path={tmp_path}/nowhere")
    assert code == 2
    assert f"{tmp_path}/nowhere' does not exist; give a folder" in err
    (tmp_path / "empty").mkdir()
    code, _, err = call("run", plan, "--out", tmp_path / "out", f"source.path={tmp_path}/empty")
    assert code == 2
    assert f"{tmp_path}/empty' has no " in err
    assert not list((tmp_path / "out").glob("[!.]*"))


def test_a_directory_that_cannot_be_written_ends_with_2(call, plan, tmp_path):
    (tmp_path / "file").write_text("mine")
    code, _, err = call("run", plan, "--out", tmp_path / "file")
    assert code == 2
    assert f"cannot write to {tmp_path}/file" in err
    assert "choose another --out" in err
    assert (tmp_path / "file").read_text() == "mine"
    assert call("run", plan, "--out", "/proc/potstill")[0] == 2
    assert call("run", plan, "--out", "nosuchprotocol://x/y")[0] == 2


def test_a_directory_in_use_ends_with_2(call, plan, tmp_path):
    run = RunDir(tmp_path / "out")
    run.check_writable()
    with run.lock():
        code, _, err = call("run", plan, "--out", tmp_path / "out")
    assert code == 2
    assert "is in use by process" in err


@pytest.mark.parametrize("command", ["status", "report", "requeue", "decide"])
def test_a_directory_without_a_run_ends_with_2(call, tmp_path, command):
    code, _, err = call(command, tmp_path / "nothing")
    assert code == 2
    assert str(tmp_path / "nothing") in err
    assert not (tmp_path / "nothing").exists()


def test_a_judge_is_calibrated_only_where_there_is_a_run(call, tmp_path):
    code, _, err = call("calibrate", tmp_path / "nothing", "clarity", "meta_score")
    assert code == 2
    assert str(tmp_path / "nothing") in err


def test_a_preview_is_printed_as_text_or_as_json(call, tmp_path):
    stages = [{"kind": "filter", "keep": {"small": "width >= 30"}}]
    source = {"kind": "folder", "path": str(pictures(tmp_path / "in", 3))}
    out = make_run(Plan.model_validate({"source": source, "stages": stages}), tmp_path / "out")
    code, text, _ = call("decide", out, "filter.keep.small=width > 32", "--also", "height > 0", "--curve", "width")
    assert code == 0 and "kept: 3 now, 0 then; 3 leave, 0 come in" in text and "curve of width: 3 rows" in text
    code, text, _ = call("decide", out, "filter.keep.small=width > 32", "--json")
    assert (code, json.loads(text)["kept"]) == (0, {"now": 3, "then": 0, "leave": 3, "come": 0})
    code, text, err = call("decide", out, "filter.keep.small=wdth > 32")
    assert (code, text) == (2, "") and "reads 'wdth', which nothing before it writes" in err


def test_a_row_is_explained_only_where_there_is_a_run(call, tmp_path):
    assert call("explain", tmp_path / "nothing", "abc")[0] == 2
