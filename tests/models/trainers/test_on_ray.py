"""Two workers of Ray Train, one of which is killed in the middle."""

import json
import os
import signal
import threading
import time
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file

from potstill.config import RequestError
from potstill.models.trainers.folder import Folder
from potstill.models.trainers.launch import train, validate_recipe
from tests.models.trainers.world import recipe, write_vectors
from tests.processes import command

pytestmark = pytest.mark.ray


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Ray Train looks after its workers five times a second, and starts no process that waits for machines to leave."""
    monkeypatch.setenv("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
    monkeypatch.setenv("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")


def kill_a_worker_after(folder, step, killed):
    """Kill one of the processes that train as soon as a checkpoint is there."""
    while folder.last(10**9) < step:
        time.sleep(0.05)
    ours = psutil.Process().children(recursive=True)
    workers = [process for process in ours if "RayTrainWorker" in " ".join(command(process))]
    os.kill(workers[-1].pid, signal.SIGKILL)
    killed.append(workers[-1].pid)


def plan_of(folder):
    plan = {"steps": 400, "compute": {"workers": 2, "threads": 1}, "optimizer": {"kind": "sgd", "lr": 0.02}}
    plan["saving"] = {"log_every": 5, "checkpoint_every": 50, "best": "accuracy", "evaluate_every": 100}
    return validate_recipe(recipe(write_vectors(folder, rows=600), **plan), "recipe")


def trained_though_one_is_killed(made, out):
    """A training of two workers, one of which is killed after step 100."""
    killed = []
    watch = threading.Thread(target=kill_a_worker_after, args=(Folder(out), 100, killed), daemon=True)
    watch.start()
    done = train(made, str(out))
    watch.join(timeout=1)
    assert killed
    return done


def test_two_workers_train_to_the_end_though_one_is_killed(tmp_path, ray_session):
    hurt = trained_though_one_is_killed(plan_of(tmp_path / "run"), tmp_path / "hurt")
    assert hurt["state"] == "done" and hurt["metrics"]["accuracy"] > 0.7
    lines = [json.loads(line) for line in (tmp_path / "hurt" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss/total" in line] == [1, *range(5, 401, 5)]


@pytest.mark.slow
def test_it_ends_with_the_weights_of_a_training_that_nobody_hurt(tmp_path, ray_session):
    made = plan_of(tmp_path / "run")
    whole, hurt = train(made, str(tmp_path / "whole")), trained_though_one_is_killed(made, tmp_path / "hurt")
    assert hurt["metrics"]["loss"] == pytest.approx(whole["metrics"]["loss"], abs=1e-5)
    one, two = (load_file(Path(done["model"]) / "model.safetensors") for done in (whole, hurt))
    assert all(torch.allclose(one[name], two[name], atol=1e-5) for name in one)


def test_more_workers_than_the_cluster_has_are_refused(tmp_path, ray_session):
    run = write_vectors(tmp_path / "run")
    for compute, message in (
        ({"workers": 8}, r"8 workers with 1 CPUs and one CPU for reading do not fit a cluster with 4"),
        ({"workers": 2, "gpu": True}, r"the cluster has 0; ask for fewer workers, or set compute\.gpu=false"),
    ):
        with pytest.raises(RequestError, match=message):
            train(validate_recipe(recipe(run, compute=compute), "recipe"), str(tmp_path / "out"))
