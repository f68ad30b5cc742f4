"""A step of a CLIP with eight pairs is the same step, whether one process or two have them: negatives are gathered."""

import pytest
import torch

from tests.models.trainers.clip_ranks import gradients, work
from tests.ranks import two_ranks


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What the first of two processes found, by strategy."""
    return two_ranks(work, tmp_path_factory.mktemp("ranks"))[0]


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_workers_make_the_same_step(found, strategy):
    (entry, grads), (alone, wanted) = found[strategy], gradients(None, 0, 1)
    for name, value in alone.items():
        if name.startswith(("loss/", "grad/")):
            assert entry[name] == pytest.approx(value, rel=1e-4), name
    assert grads.keys() == wanted.keys()
    for name, grad in grads.items():
        assert torch.allclose(grad, wanted[name], atol=1e-5), name
