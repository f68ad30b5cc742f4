"""A step of a CLIP with eight pairs is the same step, whether one process or two have them: negatives are gathered."""

import subprocess
import sys

import pytest
import torch

from tests.conftest import ROOT
from tests.models.trainers.clip_ranks import gradients


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory):
    """What two processes found, by strategy."""
    folder = tmp_path_factory.mktemp("ranks")
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "tests.models.trainers.clip_ranks",
        folder / "store",
        folder / "found",
    ]
    each = [subprocess.Popen([*map(str, command), str(rank), "2"], cwd=ROOT) for rank in range(2)]
    assert [process.wait(timeout=600) for process in each] == [0, 0]
    return torch.load(folder / "found", weights_only=True)


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_workers_make_the_same_step(two_ranks, strategy):
    (entry, grads), (alone, wanted) = two_ranks[strategy], gradients(None, 0, 1)
    for name, value in alone.items():
        if name.startswith(("loss/", "grad/")):
            assert entry[name] == pytest.approx(value, rel=1e-4), name
    assert grads.keys() == wanted.keys()
    for name, grad in grads.items():
        assert torch.allclose(grad, wanted[name], atol=1e-5), name
