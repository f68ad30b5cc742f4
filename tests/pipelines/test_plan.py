"""Plans: what fits together, what changes a fingerprint, which column a stage sees."""

import pytest
from pydantic import Field

from potstill.config import RequestError, validate
from potstill.pipelines.plan import Plan, find_plan, load_plan, shipped_plans
from potstill.pipelines.stage import RowStage
from tests.toys import ToyPlan

SOURCE = {"kind": "folder", "path": "/somewhere"}


def made(*stages, **settings):
    return ToyPlan.model_validate({"source": SOURCE, "stages": list(stages)} | settings)


def mistakes(*stages, **settings):
    with pytest.raises(RequestError) as caught:
        validate(ToyPlan, {"source": SOURCE, "stages": list(stages)} | settings, "plan.yaml")
    return str(caught.value)


def test_a_column_that_nothing_before_writes_is_refused_and_those_that_are_there_are_named():
    text = mistakes({"kind": "gate", "size": "toy"}, {"kind": "toy"})
    assert "stages.0: stage 'gate' reads 'toy', which nothing before it writes; columns there: caption, " in text
    made({"kind": "toy"}, {"kind": "gate", "size": "toy"})


def test_two_stages_cannot_have_one_name_or_write_one_column():
    assert "several stages are called 'toy'" in mistakes({"kind": "toy"}, {"kind": "toy"})
    text = mistakes({"kind": "toy", "name": "a_reason"}, {"kind": "gate", "name": "a", "size": "a_reason"})
    assert "stages 'a_reason' and 'a' both write 'a_reason'" in text


@pytest.mark.parametrize("name", ["intake", "final", "sinks"])
def test_names_of_the_runners_own_steps_are_refused(name):
    assert f"{name!r} names a step of the runner" in mistakes({"kind": "toy", "name": name})


@pytest.mark.parametrize("name", ["row", "error", "image", "image_id", "sample_id", "source", "width", "meta"])
def test_no_stage_may_write_a_column_by_which_rows_are_known(name):
    assert f"writes {name!r}, which belongs to the run" in mistakes({"kind": "toy", "name": name})


def test_a_text_of_the_source_may_be_written_anew_and_each_stage_sees_the_one_that_was_there_before_it():
    plan = made(
        {"kind": "toy", "name": "before"},
        {"kind": "toy", "name": "instruction"},
        {"kind": "gate", "size": "instruction"},
    )
    assert plan.storage(1, ["instruction", "caption"]) == {
        "instruction": "_input_instruction",
        "caption": "_input_caption",
    }
    assert plan.storage(2, ["instruction", "before"]) == {"instruction": "instruction", "before": "before"}


def test_a_filter_that_cannot_work_on_its_columns_is_refused_before_any_model_runs():
    text = mistakes({"kind": "toy"}, {"kind": "filter", "keep": {"x": "toy > 'a'", "y": "caption"}})
    assert "stages.1: stage 'filter': \"toy > 'a'\" does not fit its columns" in text
    assert "length(toy)" in mistakes({"kind": "toy"}, {"kind": "filter", "keep": "length(toy) > 2"})
    made({"kind": "clip_score"}, {"kind": "filter", "keep": "clip_score > 0.2 and clip_score_image is not None"})


def test_a_filter_over_all_rows_is_tried_on_its_columns_too():
    tree = {"source": SOURCE, "stages": [{"kind": "set_filter", "keep": {"x": "top(caption, 3)"}}]}
    with pytest.raises(
        RequestError, match="stage 'set_filter': 'caption' does not fit its columns: string is no number"
    ):
        validate(Plan, tree, "plan.yaml")


def test_all_mistakes_between_stages_come_in_one_answer_each_with_its_place():
    text = mistakes(
        {"kind": "toy", "name": "row"},
        {"kind": "filter", "keep": "captoin is None"},
        {"kind": "toy", "name": "final"},
    )
    assert text.startswith("plan.yaml: 3 mistakes\n  stages.0: ")
    assert "\n  stages.1: stage 'filter' reads 'captoin'" in text
    assert "\n  stages.2: 'final'" in text


def test_resources_of_a_stage_that_computes_nothing_are_refused():
    text = mistakes({"kind": "toy"}, {"kind": "filter", "keep": "toy > 1"}, resources={"filter": {"actors": 2}})
    assert "resources.filter: no stage of that name computes rows; stages: toy" in text


class Draw(RowStage):
    """Wants a seed."""

    kind: str = "draw"
    seed: int = Field(default=0, ge=0)

    def reads(self):
        return ()

    def writes(self):
        return {}

    def build(self):
        return lambda rows: {}


class DrawPlan(Plan):
    """Knows only that stage."""

    stages: tuple[Draw, ...] = ()


def test_a_stage_without_a_seed_of_its_own_gets_the_plans():
    tree = {"seed": 7, "source": SOURCE, "stages": [{"name": "a"}, {"name": "b", "seed": 0}, {"name": "c", "seed": 3}]}
    assert [stage.seed for stage in DrawPlan.model_validate(tree).stages] == [7, 0, 3]


def test_a_resolved_plan_read_again_is_the_same_plan():
    plan = DrawPlan.model_validate({"seed": 7, "source": SOURCE, "stages": [{"name": "a"}]})
    assert DrawPlan.model_validate(plan.model_dump(mode="json")) == plan
    other = made({"kind": "toy"}, {"kind": "filter", "keep": "toy > 1"}, resources={"toy": {"actors": 2}})
    assert ToyPlan.model_validate(other.model_dump(mode="json")) == other
    assert ToyPlan.model_validate(other.model_dump(mode="json")).fingerprints() == other.fingerprints()


TOY = {"kind": "toy"}
GATE = {"kind": "gate"}
LOOSE = {"kind": "filter", "keep": "toy > 1"}
TIGHT = {"kind": "filter", "keep": "toy > 100"}


def changed(before, after, **settings):
    old, new = made(*before).fingerprints(), made(*after, **settings).fingerprints()
    return {name for name in old if old[name] != new[name]}


def test_settings_of_a_stage_change_it_and_what_reads_its_columns_and_nothing_else():
    other = {"kind": "toy", "name": "other"}
    assert changed([TOY, other, GATE], [{**TOY, "offset": 1}, other, GATE]) == {"toy", "gate"}
    assert changed([TOY, other, GATE], [TOY, {**other, "offset": 1}, GATE]) == {"other"}
    assert changed([TOY, other, GATE], [TOY, other, {**GATE, "size": "other"}]) == {"gate"}


def test_thresholds_resources_limits_and_the_source_change_no_fingerprint():
    assert changed([TOY, LOOSE, GATE], [TOY, TIGHT, GATE]) == set()
    assert changed([TOY, LOOSE, GATE], [TOY, {"kind": "random_subset", "budget": 1}, GATE]) == set()
    elsewhere = {"kind": "folder", "path": "/elsewhere"}
    assert changed([TOY, GATE], [TOY, GATE], source=elsewhere, run={"chunk_rows": 3, "max_error_fraction": 1}) == set()
    assert changed([TOY, GATE], [TOY, GATE], resources={"toy": {"actors": 3, "batch_rows": 2}}) == set()


def test_a_new_version_of_a_stage_changes_it_and_what_reads_its_columns(monkeypatch):
    plan = made(TOY, GATE)
    before = plan.fingerprints()
    monkeypatch.setattr(type(plan.stages[0]), "version", 2)
    after = plan.fingerprints()
    assert before["toy"] != after["toy"]
    assert before["gate"] != after["gate"]


def test_a_text_written_anew_upstream_changes_the_stages_that_see_it_and_not_those_before():
    first = {"kind": "toy", "name": "first"}
    rewrite = {"kind": "toy", "name": "caption", "offset": 0}
    last = {"kind": "toy", "name": "last"}
    stages = [first, rewrite, last]
    assert changed(stages, [first, {**rewrite, "offset": 5}, last]) == {"caption", "last"}


def test_a_segment_ends_at_a_selector_and_before_a_barrier():
    select = {"kind": "random_subset", "budget": 1}
    after = {"kind": "toy", "name": "after"}
    assert list(made().segments()) == [(0, 0)]
    assert list(made(TOY, LOOSE, GATE).segments()) == [(0, 3)]
    assert list(made(TOY, select, after).segments()) == [(0, 1), (2, 3)]
    assert list(made(select).segments()) == [(0, 0), (1, 1)]
    assert list(made(TOY, GATE, resources={"gate": {"barrier": True}}).segments()) == [(0, 1), (1, 2)]
    assert list(made(TOY, GATE, resources={"toy": {"barrier": True}}).segments()) == [(0, 2)]


@pytest.mark.parametrize("name", sorted(shipped_plans()))
def test_every_shipped_plan_is_valid_and_opens_with_its_contract(name):
    path = find_plan(name)
    assert load_plan(path).name == name
    head = path.read_text().split("\nname:")[0]
    for word in ("Paper:", "Command:", "Cost:", "Expect:"):
        assert f"# {word}" in head, word


def test_a_plan_that_is_neither_file_nor_shipped_is_refused_with_the_names_of_those_that_are():
    with pytest.raises(RequestError, match=r"no plan 'oasis': give a YAML file or one of .*oasis-tiny"):
        find_plan("oasis")
    with pytest.raises(RequestError, match="no plan"):
        find_plan("/")
