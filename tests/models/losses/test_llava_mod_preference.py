"""LLaVA-MoD's released preference loss by hand, and what does not count."""

from math import exp

import pytest
import torch

from potstill.models.losses.llava_mod_preference import LlavaModPreference, kto_pair
from tests.models.losses import batches


def sigmoid(x):
    return 1 / (1 + exp(-x))


def test_pairs_by_hand():
    chosen, rejected = torch.tensor([4.0, 2.0]).double(), torch.tensor([-3.0, 1.0]).double()
    # The mean of the chosen is 3; that of the rejected, -1, counts as 0.
    expected = [1 - (sigmoid(0.4) + sigmoid(0.6)) / 2, 1 - (sigmoid(0.2) + sigmoid(0.2)) / 2]
    assert kto_pair(chosen, rejected).tolist() == pytest.approx(expected)


def test_the_reference_itself_is_at_a_half_and_extremes_are_finite():
    nothing = torch.zeros(3)
    assert kto_pair(nothing, nothing).tolist() == [0.5] * 3
    far = torch.tensor([1e4, -1e4, 1e4], requires_grad=True)
    values = kto_pair(far, -far, beta=1.0)
    values.sum().backward()
    assert values.isfinite().all() and far.grad.isfinite().all()


def test_pairs_that_do_not_count_are_in_no_mean():
    batch = batches.tokens()
    batch.labels.target[4] = -100
    loss = LlavaModPreference()
    chosen, rejected = loss.ratios(batch)
    expected = kto_pair(chosen[[0, 2]], rejected[[0, 2]]).sum()
    assert loss.count(batch.labels) == 2
    assert loss.terms(batch)[""].item() == pytest.approx(expected.item())
    batch.labels.target[:] = -100
    nothing = loss.terms(batch)[""]
    assert nothing == 0 and nothing.requires_grad and loss.count(batch.labels) == 0


def test_a_row_counts_by_its_weight():
    batch = batches.tokens()
    object.__setattr__(batch.labels, "weight", torch.tensor([2.0, 0, 1, 5, 5, 5]))
    loss = LlavaModPreference()
    values = kto_pair(*loss.ratios(batch))
    assert loss.count(batch.labels) == 3
    assert loss.terms(batch)[""].item() == pytest.approx((2 * values[0] + values[2]).item())
