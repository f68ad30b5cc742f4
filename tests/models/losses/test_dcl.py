"""Decoupled contrast: by hand, its weights, no negative at all, far out."""

import math

import pytest
import torch

from potstill.models.losses.dcl import Dcl, dcl
from potstill.models.losses.loss import Batch, Labels, Output
from tests.models.losses import batches

FIRST, SECOND = [[1.0, 0], [0, 1.0]], [[1.0, 0], [0.6, 0.8]]


def lse(*x):
    return math.log(sum(map(math.exp, x)))


def two_pairs(**labels):
    return Batch(Output(image=torch.tensor(FIRST), text=torch.tensor(SECOND)), Labels(2, **labels))


def test_two_pairs_by_hand():
    there = lse(0.6, 0) - 1 + lse(0, 0) - 0.8
    back = lse(0, 0.6) - 1 + lse(0.6, 0.6) - 0.8
    assert Dcl(temperature=1).terms(two_pairs())[""].item() == pytest.approx((there + back) / 2)
    there = lse(6, 0) - 10 + lse(0, 0) - 8
    back = lse(0, 6) - 10 + lse(6, 6) - 8
    assert Dcl().terms(two_pairs())[""].item() == pytest.approx((there + back) / 2)


def test_weights_by_hand():
    easy = 1 / (1 + math.exp((0.8 - 1) / 0.5))
    one, two = 2 - 2 * easy, 2 - 2 * (1 - easy)
    assert one < 1 < two and one + two == pytest.approx(2)
    there = lse(0.6, 0) - one * 1 + lse(0, 0) - two * 0.8
    back = lse(0, 0.6) - one * 1 + lse(0.6, 0.6) - two * 0.8
    assert Dcl(temperature=1, sigma=0.5).terms(two_pairs())[""].item() == pytest.approx((there + back) / 2)


def test_where_all_pairs_are_as_near_the_weights_are_1():
    g = torch.Generator().manual_seed(0)
    image = torch.randn(5, 3, generator=g, dtype=torch.float64)
    batch = Batch(Output(image=image, text=2 * image), Labels(5))
    assert Dcl(sigma=0.5).terms(batch)[""].item() == pytest.approx(Dcl().terms(batch)[""].item())


def test_a_row_without_negatives_is_pulled_and_not_pushed():
    batch = two_pairs(group=torch.tensor([3, 3]))
    batch.student.image.requires_grad_()
    value = Dcl(temperature=1).terms(batch)[""]
    value.backward()
    assert value.item() == pytest.approx(-1 - 0.8) and batch.student.image.grad.isfinite().all()


def test_a_constant_on_all_logits_changes_nothing_and_far_out_it_stays_finite():
    g = torch.Generator().manual_seed(0)
    positive, negatives = torch.randn(3, generator=g, dtype=torch.float64), torch.randn(3, 5, generator=g).double()
    torch.testing.assert_close(dcl(positive + 7, negatives + 7), dcl(positive, negatives))
    far = torch.tensor([[1e4, -1e4]], requires_grad=True)
    value = dcl(torch.tensor([-1e4]), far)
    value.sum().backward()
    assert value.tolist() == [2e4] and far.grad.tolist() == [[1.0, 0.0]]


def test_the_views_may_be_exchanged():
    batch = batches.pairs()
    assert Dcl().terms(batch)[""].item() == pytest.approx(Dcl(first="text", second="image").terms(batch)[""].item())
