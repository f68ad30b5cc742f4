"""Two heads, features of modules, and what a pruned dataset does to the weights."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from potstill.config import RequestError
from potstill.models.trainers.classifier import Network
from potstill.models.trainers.classifier_task import Classifier, load_classifier
from potstill.models.trainers.launch import train, validate_recipe
from potstill.models.trainers.taps import taps
from potstill.pipelines.coresets.dynamics import Dynamics
from potstill.pipelines.coresets.training_log import replay
from tests.models.trainers.world import CLASSES, recipe, write_vectors


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


def test_what_is_said_of_each_row_is_logged_for_difficulty(run, tmp_path):
    data = {"path": str(run), "window": 100}
    saving = {"row_log": True, "checkpoint_every": 10}
    trained(run, tmp_path / "out", data=data, saving=saving, steps=40, batch_size=20)
    files = sorted((tmp_path / "out" / "log").iterdir())
    assert [file.name for file in files] == ["epoch-00000.parquet", "epoch-00001.parquet", "epoch-00002.parquet"]
    rows = pq.read_table(run / "dataset").to_pylist()
    labelled = {row["sample_id"]: CLASSES.index(row["label"]) for row in rows if row["label"]}
    for epoch, file in enumerate(files):
        log = pq.read_table(file).to_pylist()
        assert {row["sample_id"]: row["label"] for row in log} == labelled and len(log) == len(labelled)
        assert {row["epoch"] for row in log} == {epoch} and {len(row["logits"]) for row in log} == {4}
    ids = sorted(labelled)
    dynamics = Dynamics(ids)
    assert replay(str(tmp_path / "out" / "log"), np.array(ids, "S32"), dynamics, early=2) == 0
    last = {row["sample_id"]: row["logits"] for row in pq.read_table(files[-1]).to_pylist()}
    right = [int(np.argmax(last[each]) == labelled[each]) for each in ids]
    assert sum(right) > 0.7 * len(ids) and np.isfinite(dynamics.forgetting()).all()


def test_only_a_classifier_logs_rows(run):
    projector = {"kind": "projector", "data": {"path": str(run)}, "losses": [{"kind": "info_nce"}], "steps": 1}
    with pytest.raises(RequestError, match=r"saving\.row_log is for classifiers; a projector has no outputs"):
        validate_recipe(projector | {"saving": {"row_log": True}}, "recipe")
