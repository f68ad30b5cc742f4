"""Two heads, features of modules, and what a pruned dataset does to the weights."""

import json

import pytest
import torch

from potstill.config import RequestError
from potstill.models.trainers.classifier import Network
from potstill.models.trainers.classifier_task import Classifier, load_classifier
from potstill.models.trainers.launch import train, validate_recipe
from potstill.models.trainers.taps import taps
from tests.models.trainers.world import recipe, write_vectors


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_vectors(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def teacher(run, tmp_path_factory):
    plan = recipe(run, steps=60, network={"architecture": "mlp", "hidden": [32]})
    return train(validate_recipe(plan, "r"), str(tmp_path_factory.mktemp("teacher")))["model"]


def trained(run, out, **changes):
    done = train(validate_recipe(recipe(run, **changes), "recipe"), str(out))
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return done, lines


def test_two_heads_learn_from_labels_and_from_the_teacher(run, teacher, tmp_path):
    network = {"architecture": "mlp", "hidden": [16], "dual_head": True}
    plan = {"losses": [{"kind": "dho"}], "teacher": teacher, "network": network, "saving": {"best": "accuracy_best"}}
    done, lines = trained(run, tmp_path / "out", **plan)
    metrics = done["metrics"]
    assert metrics["accuracy_best"] >= max(metrics["accuracy_first"], metrics["accuracy_second"], metrics["accuracy"])
    assert {"loss/dho.ce", "loss/dho.kd"} <= lines[0].keys()
    model, _ = load_classifier(tmp_path / "out" / "model")
    first, second = model(torch.zeros(2, 6))
    assert first.shape == second.shape == (2, 4) and not torch.equal(first, second)


def test_a_loss_on_inner_activations_finds_them_by_module_names(run, teacher, tmp_path):
    losses = [{"kind": "cross_entropy"}, {"kind": "rkd", "student": "body.0", "teacher": "body.0", "weight": 1.0}]
    _, lines = trained(run, tmp_path / "out", losses=losses, teacher=teacher)
    assert lines[0]["loss/rkd.distance"] > 0
    losses[1]["student"] = "body.7"
    with pytest.raises(ValueError, match=r"no module 'body.7': body has 0, 1, 2"):
        trained(run, tmp_path / "none", losses=losses, teacher=teacher)


def test_a_regressor_of_a_loss_is_trained_and_kept_in_checkpoints(run, teacher, tmp_path):
    losses = [{"kind": "fitnet", "student": "body.0", "teacher": "body.0", "weight": 1.0}]
    done, lines = trained(run, tmp_path / "out", losses=losses, teacher=teacher, optimizer={"lr": 0.02})
    assert lines[-2]["loss/fitnet"] < 0.7 * lines[0]["loss/fitnet"]
    state = torch.load(tmp_path / "out" / "checkpoints" / "step-00000040" / "state.pt", weights_only=True)
    assert any(name.startswith("losses.built.fitnet") for name in state["model"])
    assert not any("fitnet" in name for name in load_classifier(tmp_path / "out" / "model")[0].state_dict())
    assert done["state"] == "done"


def test_taps_are_taken_off_again():
    network = Classifier(Network(hidden=(5,)), 3, 4)
    with taps(network, ["body.0"]) as found:
        network(torch.ones(2, 4))
    assert found["body.0"].shape == (2, 5)
    assert not network.body[0]._forward_hooks


def test_alpha_follows_from_what_was_kept(run):
    losses = [{"kind": "cross_entropy", "weight": "1 - alpha"}, {"kind": "kd", "weight": "alpha"}]
    pruned = {"kept": 0.2, "alpha": {0.1: 0.9, 0.3: 0.7}}
    made = validate_recipe(recipe(run, losses=losses, pruned=pruned), "recipe")
    assert [loss.weight for loss in made.losses] == pytest.approx([0.2, 0.8])
    again = validate_recipe(made.model_dump(mode="json"), "recipe")
    assert again == made
    with pytest.raises(RequestError, match="no `pruned"):
        validate_recipe(recipe(run, losses=losses), "recipe")
    with pytest.raises(RequestError, match=r"alpha 1\.5 at 0\.1"):
        validate_recipe(recipe(run, losses=losses, pruned={"kept": 0.2, "alpha": {0.1: 1.5}}), "recipe")
