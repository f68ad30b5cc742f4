"""A training from recipe to model: it learns, goes on exactly where it was, and says what is wrong."""

import json
import math
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from potstill.config import RequestError
from potstill.models.trainers.classifier_task import load_classifier
from potstill.models.trainers.folder import Folder, TrainFailed
from potstill.models.trainers.launch import train, validate_recipe
from potstill.models.trainers.loop import Training
from potstill.models.trainers.place import alone
from tests.models.trainers.world import recipe, write_vectors


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_vectors(tmp_path_factory.mktemp("run"))


def made(run, **changes):
    return validate_recipe(recipe(run, **changes), "recipe")


def entries(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


class Stopped(Exception):
    """What the test ends a training with."""


def stop_after(monkeypatch, step):
    """The next trainings end right after they have written the checkpoint of a step."""
    save = Folder.save

    def stopping(self, at, state):
        save(self, at, state)
        if at == step:
            raise Stopped

    monkeypatch.setattr(Folder, "save", stopping)


def test_it_learns_and_what_comes_out_is_what_was_measured(run, tmp_path):
    done = train(made(run), str(tmp_path / "out"))
    assert done["state"] == "done" and done["rows"] == 180 and done["metrics"]["accuracy"] > 0.7
    model, classes = load_classifier(Path(done["model"]))
    assert classes == ["ant", "bee", "cat", "dog"]
    training = Training(made(run), Folder(tmp_path / "again"), alone(made(run)))
    training.task.student.load_state_dict(model.state_dict())
    best = max(entry["validation/accuracy"] for entry in entries(tmp_path / "out") if "validation/accuracy" in entry)
    assert training.evaluation.run(training.task.student)["accuracy"] == best
    assert list((tmp_path / "out" / "tensorboard").iterdir())
    losses = [entry["loss/cross_entropy"] for entry in entries(tmp_path / "out") if "loss/total" in entry]
    assert losses[-1] < losses[0] / 2


def test_two_steps_and_two_more_are_four(run, tmp_path, monkeypatch):
    plan = made(
        run, steps=4, network={"architecture": "mlp", "hidden": [16]}, saving={"checkpoint_every": 2}, validation=None
    )
    whole = train(plan, str(tmp_path / "whole"))
    with monkeypatch.context() as patch:
        stop_after(patch, 2)
        with pytest.raises(Stopped):
            train(plan, str(tmp_path / "parts"))
    assert Folder(tmp_path / "parts").steps() == [2]
    assert json.loads((tmp_path / "parts" / "train.json").read_text())["state"] == "failed"
    parts = train(plan, str(tmp_path / "parts"))
    one, two = (load_file(Path(done["model"]) / "model.safetensors") for done in (whole, parts))
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)
    states = [Folder(tmp_path / name).load(4) for name in ("whole", "parts")]
    assert states[0]["rng"] == states[1]["rng"]
    moments = [state["optimizer"]["state"] for state in states]
    for name, first in moments[0].items():
        assert all(torch.equal(torch.as_tensor(x), torch.as_tensor(moments[1][name][key])) for key, x in first.items())
    logs = [[(e["step"], e.get("loss/total")) for e in entries(tmp_path / name)] for name in ("whole", "parts")]
    assert logs[0] == logs[1]


def test_the_same_command_again_does_nothing_and_other_settings_are_refused(run, tmp_path):
    plan = made(run, steps=4, validation=None, saving={})
    first = train(plan, str(tmp_path / "out"))
    stamp = (tmp_path / "out" / "model" / "model.safetensors").stat().st_mtime_ns
    assert train(plan, str(tmp_path / "out")) == first
    assert (tmp_path / "out" / "model" / "model.safetensors").stat().st_mtime_ns == stamp
    with pytest.raises(RequestError, match=r"other settings \(optimizer, steps\); give another --out"):
        train(made(run, steps=5, validation=None, saving={}, optimizer={"lr": 0.02}), str(tmp_path / "out"))


def test_a_recipe_that_could_not_begin_leaves_the_folder_free(run, tmp_path):
    with pytest.raises(RequestError, match="no column"):
        train(made(run, label="colour", steps=4), str(tmp_path / "out"))
    assert train(made(run, steps=4), str(tmp_path / "out"))["state"] == "done"


def test_two_trainings_do_not_share_a_folder(run, tmp_path):
    folder = Folder(tmp_path / "out")
    folder.make()
    with folder.locked(), pytest.raises(RequestError, match="another training writes to"):
        train(made(run, steps=4), str(tmp_path / "out"))
    train(made(run, steps=4), str(tmp_path / "out"))


def test_micro_batches_change_nothing_but_rounding(run, tmp_path):
    plan = {"steps": 6, "validation": None, "saving": {}, "optimizer": {"kind": "sgd", "lr": 0.05}}
    one = train(made(run, **plan), str(tmp_path / "one"))
    four = train(made(run, accumulation=4, **plan), str(tmp_path / "four"))
    a, b = (load_file(Path(done["model"]) / "model.safetensors") for done in (one, four))
    assert all(torch.allclose(a[name], b[name], atol=1e-6) for name in a)


def test_a_teacher_is_distilled_and_must_know_the_same_classes(run, tmp_path):
    teacher = train(made(run, steps=60, network={"architecture": "mlp", "hidden": [32]}), str(tmp_path / "teacher"))
    plan = {
        "losses": [{"kind": "kd", "temperature": 2}],
        "teacher": teacher["model"],
        "network": {"architecture": "mlp"},
    }
    done = train(made(run, **plan), str(tmp_path / "student"))
    assert done["metrics"]["accuracy"] > 0.6
    kd = [entry["loss/kd"] for entry in entries(tmp_path / "student") if "loss/kd" in entry]
    assert kd[-1] < kd[0]
    apart = [entry["kd/kl_T1"] for entry in entries(tmp_path / "student") if "kd/kl_T1" in entry]
    assert len(apart) == len(kd)
    assert apart[-1] < apart[0]
    with pytest.raises(RequestError, match="other classes, or another order"):
        train(made(run, classes=["bee", "ant", "cat", "dog"], **plan), str(tmp_path / "other"))
    with pytest.raises(RequestError, match=r"holds no config\.json"):
        train(made(run, **plan | {"teacher": str(tmp_path)}), str(tmp_path / "none"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": "colour"}, "no column 'colour'; it has sample_id, features, label, split"),
        ({"classes": ["ant", "bee", "cat"]}, "holds 'dog', which is not among the 3 classes"),
        ({"input": "label"}, "an mlp wants vectors, and column 'label' is string"),
        ({"compute": {"gpu": True}}, "finds no GPU here; set compute.gpu=false"),
        ({"saving": {"best": "recall"}}, "the evaluation gives accuracy, loss"),
        ({"data": {"path": "/nowhere"}}, "no Parquet file at /nowhere"),
    ],
)
def test_a_wrong_recipe_is_refused_with_a_way_out(run, tmp_path, changes, message):
    with pytest.raises((RequestError, TrainFailed, ValueError), match=message):
        train(made(run, **changes), str(tmp_path / "out"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": None}, "give one of steps and epochs"),
        ({"batch_size": 15, "accumulation": 2}, "make it a multiple of 2"),
        ({"validation": None}, "no validation rows to measure it on"),
        ({"losses": [{"kind": "kdd"}]}, "kd"),
        ({"losses": []}, "at least 1 item"),
        ({"compute": {"strategy": "fsdp"}}, "fsdp needs workers"),
        ({"kind": "clasifier"}, "'clasifier' is no trainer; there are classifier"),
        ({"optimizer": {"learning_rate": 1}}, "unknown key"),
    ],
)
def test_mistakes_are_found_before_anything_loads(run, changes, message):
    with pytest.raises(RequestError, match=message):
        made(run, **changes)


def test_a_loss_that_is_not_finite_is_skipped_and_then_ends_the_training(tmp_path):
    folder = write_vectors(tmp_path / "run")
    plan = made(folder, optimizer={"lr": 1e30}, validation=None, saving={"log_every": 1})
    with pytest.raises(TrainFailed, match=r"not finite in 5 steps in a row.*lower optimizer\.lr"):
        train(plan, str(tmp_path / "out"))
    log = entries(tmp_path / "out")
    assert [entry["nan/skipped"] for entry in log[-5:]] == [1] * 5
    assert any(entry["grad/norm"] is None for entry in log)
    assert not any(math.isnan(x) for entry in log for x in entry.values() if x is not None)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_keeps_the_last_checkpoint(run, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(disk)], check=True)
    try:
        wide = {"architecture": "mlp", "hidden": [9000]}
        plan = made(run, network=wide, steps=6, validation=None, saving={"checkpoint_every": 1, "keep": 5})
        with pytest.raises(TrainFailed, match=r"no space left .*\(last whole one: step [1-5]\).*make room"):
            train(plan, str(disk / "out"))
        folder = Folder(disk / "out")
        assert folder.load(folder.steps()[-1])["step"] == folder.steps()[-1]
        assert not list((disk / "out" / "checkpoints").glob(".step*"))
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_only_the_last_checkpoints_and_the_best_are_kept(run, tmp_path):
    saving = {"checkpoint_every": 4, "keep": 2, "best": "accuracy", "evaluate_every": 4}
    done = train(made(run, steps=32, saving=saving), str(tmp_path / "out"))
    steps = Folder(tmp_path / "out").steps()
    assert steps[-2:] == [28, 32] and len(steps) <= 3 and done["exported_step"] in steps
    assert np.isfinite(done["metrics"]["loss"])


def test_bfloat16_changes_the_models_arithmetic_and_not_the_weights_format(run, tmp_path):
    plan = {"validation": None, "saving": {"log_every": 1}, "steps": 20}
    rough = train(made(run, compute={"precision": "bf16"}, **plan), str(tmp_path / "rough"))
    train(made(run, **plan), str(tmp_path / "exact"))
    one, two = ([e["loss/cross_entropy"] for e in entries(tmp_path / name)] for name in ("rough", "exact"))
    assert one != two and np.allclose(one, two, rtol=0.05)
    assert all(x.dtype == torch.float32 for x in load_file(Path(rough["model"]) / "model.safetensors").values())


@pytest.mark.slow
def test_a_compiled_student_learns_the_same(run, tmp_path):
    plan = {"validation": None, "saving": {"log_every": 1}, "steps": 10}
    train(made(run, compute={"compile": True}, **plan), str(tmp_path / "compiled"))
    train(made(run, **plan), str(tmp_path / "plain"))
    one, two = ([e["loss/cross_entropy"] for e in entries(tmp_path / name)] for name in ("compiled", "plain"))
    assert np.allclose(one, two, rtol=1e-4)
