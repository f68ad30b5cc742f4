"""The small recipes for models that see run offline, one on the export of another."""

import json

import pytest

from potstill.models.trainers.launch import find_recipe, load_recipe, train
from tests.models.trainers.scenes_world import scene_rows, write_scenes

SHORT = ["steps=3", "batch_size=6", "data.window=18", "saving.log_every=1", "answer_tokens=12"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    rows = [{**row, "chosen": row["response"]} for row in scene_rows(12, seed=8)]
    return write_scenes(tmp_path_factory.mktemp("scenes"), rows)


def trained(name, run, out, *changes):
    given = [f"data.path={run}", f"validation.path={run}", *SHORT, *changes]
    done = train(load_recipe(find_recipe(name), given), str(out))
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return done, [line for line in lines if "loss/total" in line]


def test_the_three_stages_of_llava_kd_begin_where_the_one_before_ended(run, tmp_path):
    first, begun = trained("llava-kd-dpt-tiny", run, tmp_path / "dpt")
    second, answered = trained("llava-kd-sft-tiny", run, tmp_path / "sft", f"pretrained={first['model']}")
    third, ended = trained("llava-kd-dft-tiny", run, tmp_path / "dft", f"pretrained={second['model']}")
    assert {"loss/llava_kd.response", "loss/llava_kd.visual", "loss/llava_kd.relation"} <= begun[0].keys()
    assert "loss/llava_kd.response" not in answered[0]
    assert ended[0]["loss/llava_kd.response"] < begun[0]["loss/llava_kd.response"]
    assert third["metrics"]["loss"] < first["metrics"]["loss"]


def test_the_projector_alone_learns_in_the_first_stage(run, tmp_path):
    from safetensors.torch import load_file

    from potstill.models.engines.settings import TINY_FOLDER

    done, _ = trained("llava-kd-dpt-tiny", run, tmp_path / "dpt")
    after, before = load_file(f"{done['model']}/model.safetensors"), load_file(TINY_FOLDER / "model.safetensors")
    changed = {name for name, x in after.items() if not x.equal(before[name].float())}
    assert changed == {"model.connector.modality_projection.proj.weight"}


def test_preferences_and_answers_are_learnt_from_the_shipped_recipes(run, tmp_path):
    done, log = trained("dpo-tiny", run, tmp_path / "dpo")
    assert log[-1]["loss/dpo"] < log[0]["loss/dpo"] == pytest.approx(0.6931, abs=1e-3) and "margin" in done["metrics"]
    done, log = trained("sft-tiny", run, tmp_path / "sft")
    assert log[-1]["loss/cross_entropy"] < log[0]["loss/cross_entropy"] and 0 <= done["metrics"]["exact"] <= 1
