"""The stage: what it writes, what it sets aside, what a draw depends on."""

import json

import pyarrow as pa
import pytest

from potstill.config import RequestError, validate
from potstill.pipelines.plan import load_plan, shipped_plans
from potstill.pipelines.synthesizers.programs.catalogue import PROGRAMS
from potstill.pipelines.synthesizers.scene_programs import ScenePrograms
from tests.conftest import ROOT
from tests.pipelines.synthesizers.programs.test_catalogue import RICH
from tests.pipelines.synthesizers.scripted import lists


def table(texts, column="meta"):
    ids = [f"{index:032x}" for index in range(len(texts))]
    return pa.table({"sample_id": ids, "image_id": ids, column: pa.array(texts, pa.string())})


def run(stage, texts, column="meta"):
    return lists(stage.build()(table(texts, column)))


def test_each_row_has_its_question_or_its_reason():
    dog = {"objects": [{"name": "dog"}]}
    stage = ScenePrograms(generators=("count_objects",), choice_share=0)
    result = run(stage, [json.dumps(dog), None, '{"objects": []}', "{", json.dumps({"graph": dog})])
    assert result["instruction"] == ["How many dogs are in the picture?"] + [None] * 4
    assert result["response"] == ["1"] + [None] * 4
    assert result["scene_programs_generator"] == ["count_objects"] + [None] * 4
    assert result["scene_programs_reason"] == [None, "no_graph", "no_generator", None, "no_graph"]
    assert [error is not None for error in result["error"]] == [False, False, False, True, False]
    assert result["error"][3].startswith("BadGraph: a scene graph must be JSON")
    assert stage.gate() == "scene_programs_reason"


def test_column_and_key_can_be_named_and_columns_carry_a_name_of_its_own():
    stage = ScenePrograms(name="ask", graph="caption", key="graph", generators=("object_present",))
    result = run(stage, [json.dumps({"graph": {"objects": [{"name": "dog"}]}})], "caption")
    assert stage.reads() == ("caption",)
    assert result["ask_instruction"] == ["Is there a dog in the picture?"]
    assert result["ask_response"] == ["yes"]
    assert set(result) == {*stage.writes(), "error"}


def test_all_questions_are_multiple_choice_when_asked_for():
    stage = ScenePrograms(choice_share=1, generators=("closest", "colour_of"))
    result = run(stage, [json.dumps(RICH)] * 20)
    for text, answer, choices in zip(
        result["instruction"], result["response"], result["scene_programs_options"], strict=True
    ):
        assert len(choices) == len(set(choices)) == len(text.splitlines()) - 1 <= 4
        assert answer in text.splitlines()
        assert answer[3:] in choices


def test_every_program_is_reached_and_samples_of_one_picture_get_different_questions():
    result = run(ScenePrograms(), [json.dumps(RICH)] * 1500)
    assert set(result["scene_programs_generator"]) == set(PROGRAMS)
    assert len(set(result["instruction"][:8])) > 5
    share = sum(options is not None for options in result["scene_programs_options"]) / 1500
    assert 0.1 < share < 0.3


def test_a_draw_depends_on_seed_stage_and_sample_alone():
    texts = [json.dumps(RICH)] * 30
    first = run(ScenePrograms(), texts)
    assert run(ScenePrograms(), texts) == first
    assert run(ScenePrograms(seed=1), texts)["instruction"] != first["instruction"]
    assert run(ScenePrograms(name="other"), texts)["other_instruction"] != first["instruction"]
    backwards = lists(ScenePrograms().build()(table(texts).take(list(range(30))[::-1])))
    assert backwards["instruction"][::-1] == first["instruction"]


def test_an_empty_batch_stays_empty_with_all_columns():
    stage = ScenePrograms()
    result = stage.build()(table([]))
    assert {name: result[name].type for name in stage.writes()} == stage.writes()
    assert result["error"] == []


def test_an_unknown_program_is_refused_with_the_names_of_those_that_are():
    with pytest.raises(RequestError, match="unknown or repeated: beauty; there are: object_present"):
        validate(ScenePrograms, {"generators": ["beauty", "half"]}, "stage")


def test_the_shipped_graphs_of_the_samples_all_have_a_question():
    plan = load_plan(shipped_plans()["scene-programs-tiny"])
    (stage,) = plan.stages
    records = [json.loads(line) for line in (ROOT / plan.source.path).read_text().splitlines()]
    assert all((ROOT / "samples" / record["image"]).is_file() for record in records)
    result = run(stage, [json.dumps(record) for record in records])
    assert result["error"] == result["scene_programs_reason"] == [None] * 48


def test_about_a_group_it_reads_every_members_graph_and_asks_across_them():
    graphs = [json.dumps({"objects": [{"name": name}]}) for name in ("dog", "cat", "lamp")]
    stage = ScenePrograms(group="album", generators=("which_has",), choice_share=0)
    assert stage.reads() == ("album.meta",)
    ids = [f"{index:032x}" for index in range(3)]
    column = pa.array([graphs, [graphs[0], None], [graphs[0], "{"]], pa.list_(pa.string()))
    result = lists(stage.build()(pa.table({"sample_id": ids, "image_id": ids, "album.meta": column})))
    question, answer = result["instruction"][0], result["response"][0]
    asked = question.removeprefix("In which picture is there a ").removesuffix("?")
    assert answer == f"picture {['dog', 'cat', 'lamp'].index(asked) + 1}"
    assert result["scene_programs_reason"] == [None, "no_graph", None]
    assert result["error"][2].startswith("BadGraph")


def test_programs_of_one_picture_and_of_several_are_not_mixed():
    with pytest.raises(RequestError, match="unknown or repeated: which_has"):
        validate(ScenePrograms, {"kind": "scene_programs", "generators": ["which_has"]}, "x")
    with pytest.raises(RequestError, match="unknown or repeated: count_objects"):
        validate(ScenePrograms, {"kind": "scene_programs", "group": "g", "generators": ["count_objects"]}, "x")
