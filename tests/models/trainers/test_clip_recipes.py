"""The shipped tiny recipes of CLIPs, one after the other as their headers say, on a few scenes."""

import pytest
import torch

from benchmarks.scene_rows import scene_rows, with_teacher, write
from potstill.models.trainers.clip_network import blueprint
from potstill.models.trainers.clip_rows import student_of
from potstill.models.trainers.inherit import inherit
from potstill.models.trainers.launch import find_recipe, load_recipe, train


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    return write(with_teacher(scene_rows(60, 20), "tiny", views=2), tmp_path_factory.mktemp("scenes"), group=20)


@pytest.fixture(scope="module")
def trained(scenes, tmp_path_factory):
    """Recipe -> what its training said."""
    root, done = tmp_path_factory.mktemp("trainings"), {}
    for name in ("clip-tiny", "tinyclip-tiny", "clip-kd-tiny", "mobileclip-tiny"):
        changes = [f"data.path={scenes}", f"validation.path={scenes}", "data.window=40", "batch_size=20", "epochs=2"]
        if name == "tinyclip-tiny":
            larger = done["clip-tiny"]["model"]
            changes += [f"teacher={larger}", f"network.pretrained.inherit={larger}"]
        done[name] = train(load_recipe(find_recipe(name), changes), str(root / name))
    return done


@pytest.mark.parametrize("name", ["clip-tiny", "tinyclip-tiny", "clip-kd-tiny", "mobileclip-tiny"])
def test_a_tiny_recipe_runs_on_scenes(trained, name):
    assert trained[name]["state"] == "done" and trained[name]["steps"] == 4
    assert 0 <= trained[name]["metrics"]["recall_1"] <= trained[name]["metrics"]["recall_5"] <= 1


def test_the_stages_of_the_full_recipe_have_the_published_sizes_and_inherit_from_each_other():
    with torch.device("meta"):
        larger, weights, sizes = blueprint("ViT-B-32"), blueprint("ViT-B-32").build().state_dict(), []
        for name in ("tinyclip", "tinyclip-half"):
            stage = student_of(load_recipe(find_recipe(name), []))
            student = stage.build()
            weights = inherit(weights, larger.model, student.state_dict(), stage.model)
            student.load_state_dict(weights, assign=True)
            sizes.append(round(sum(x.numel() for x in student.visual.parameters()) / 1e6))
            larger = stage
    assert sizes == [61, 40]
