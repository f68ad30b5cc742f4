"""Z-scores over classes."""

import math

import pytest
import torch

from potstill.models.losses.logit_standardisation import LEAST, z_score


def test_three_classes_by_hand():
    # Mean 2, squared differences 1, 0, 1, divided by 2: a deviation of 1.
    assert z_score(torch.tensor([1.0, 2.0, 3.0])).tolist() == pytest.approx([-1, 0, 1], abs=1e-6)


def test_shift_and_positive_scale_change_nothing_and_a_negative_one_turns_it():
    logits = torch.randn(4, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(z_score(5 * logits - 3), z_score(logits), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(z_score(-logits), -z_score(logits))


def test_a_class_that_is_ruled_out_has_no_part():
    some = z_score(torch.tensor([[1.0, float("-inf"), 2.0, 3.0]]))
    assert some[0, 1] == -math.inf
    torch.testing.assert_close(some[0, [0, 2, 3]], z_score(torch.tensor([1.0, 2.0, 3.0])))


def test_equal_logits_give_zeros_and_a_bounded_gradient():
    logits = torch.zeros(1, 5, requires_grad=True)
    z_score(logits)[0, 0].backward()
    assert not z_score(logits).any()
    assert 0 < logits.grad.abs().max() <= 1 / LEAST


@pytest.mark.parametrize("size", [1e-2, 1e4])
def test_small_and_large_logits(size):
    logits = torch.tensor([[size, -size, 0.0, 0.0]], requires_grad=True)
    found = z_score(logits)
    found.square().sum().backward()
    assert found.square().sum().item() == pytest.approx(3, rel=1e-3)
    assert logits.grad.isfinite().all()


def test_bfloat16_is_made_wide_first():
    assert z_score(torch.ones(2, 3, dtype=torch.bfloat16)).dtype == torch.float32
