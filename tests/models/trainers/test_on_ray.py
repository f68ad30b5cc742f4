"""Two workers of Ray Train, one of which is killed in the middle."""

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

pytestmark = pytest.mark.ray


def kill_a_worker_after(folder, step, killed):
    """Kill one of the processes that train as soon as a checkpoint is there."""
    while folder.last(10**9) < step:
        time.sleep(0.05)
    workers = [p for p in psutil.process_iter(["cmdline"]) if "RayTrainWorker" in " ".join(p.info["cmdline"] or [])]
    os.kill(workers[-1].pid, signal.SIGKILL)
    killed.append(workers[-1].pid)


def test_two_workers_train_what_two_workers_train_though_one_is_killed(tmp_path, ray_session):
    run = write_vectors(tmp_path / "run", rows=600)
    plan = {"steps": 400, "compute": {"workers": 2, "threads": 1}, "optimizer": {"kind": "sgd", "lr": 0.02}}
    plan["saving"] = {"checkpoint_every": 50, "best": "accuracy", "evaluate_every": 100}
    made = validate_recipe(recipe(run, **plan), "recipe")
    whole = train(made, str(tmp_path / "whole"))
    assert whole["metrics"]["accuracy"] > 0.7
    killed = []
    watch = threading.Thread(target=kill_a_worker_after, args=(Folder(tmp_path / "hurt"), 100, killed), daemon=True)
    watch.start()
    hurt = train(made, str(tmp_path / "hurt"))
    watch.join(timeout=1)
    assert killed
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
