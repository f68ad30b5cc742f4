"""One step of eight ragged samples is the same step, however many workers and micro-batches share it."""

import pytest
import torch

from tests.models.trainers.ranks import Words, gradients, samples, work
from tests.ranks import two_ranks


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What the first of two processes with two micro-batches each found, by strategy."""
    return two_ranks(work, tmp_path_factory.mktemp("ranks"))[0]


def equal(found, wanted):
    entry, grads, _ = found
    assert entry["loss/cross_entropy"] == pytest.approx(wanted[0]["loss/cross_entropy"], abs=1e-6)
    assert entry["loss/token_kl"] == pytest.approx(wanted[0]["loss/token_kl"], abs=1e-6)
    assert entry["grad/norm"] == pytest.approx(wanted[0]["grad/norm"], abs=1e-6)
    assert grads.keys() == wanted[1].keys() and len(grads) == 3
    for name, grad in grads.items():
        assert torch.allclose(grad, wanted[1][name], atol=1e-6), name


def test_four_micro_batches_make_the_same_step():
    equal(gradients(None, 0, 1, 4), gradients(None, 0, 1, 1))


def test_the_mean_of_means_would_be_another_step():
    """The samples are ragged enough to tell: a mean of the four micro-batches' own means is something else."""
    whole = gradients(None, 0, 1, 1)[0]["loss/cross_entropy"]
    parts = [gradients(None, quarter, 4, 1)[0]["loss/cross_entropy"] for quarter in range(4)]
    assert abs(sum(parts) / 4 - whole) > 1e-2


def test_a_sharded_student_can_be_called_by_itself(found):
    """As an evaluation does, after a step so small that it changes nothing."""
    assert torch.allclose(found["fsdp"][2], Words().student(samples()["words"]).detach(), atol=1e-6)


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_workers_make_the_same_step(found, strategy):
    equal(found[strategy], gradients(None, 0, 1, 1))
