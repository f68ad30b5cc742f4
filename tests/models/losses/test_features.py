"""What all losses on relations between rows keep to: few rows give nothing, rows of any length a finite gradient."""

import pytest
import torch

from potstill.models.losses.pkt import pkt
from potstill.models.losses.rkd import angle, distance
from potstill.models.losses.similarity_preserving import similarity_preserving

relation = pytest.mark.parametrize("loss", [pkt, similarity_preserving, distance, angle])


@relation
@pytest.mark.parametrize("rows", [0, 1])
def test_fewer_than_two_rows_give_nothing(loss, rows):
    x = torch.ones(rows, 3, requires_grad=True)
    value = loss(x, torch.ones(rows, 2))
    value.backward()
    assert value == 0 and not x.grad.any()


@relation
@pytest.mark.parametrize("third", [[1e4, 1e4], [-1e4, 1e4]])
def test_a_dead_row_and_huge_ones_have_small_finite_gradients(loss, third):
    x = torch.tensor([[0.0, 0.0], [1e4, -1e4], third], requires_grad=True)
    value = loss(x, torch.randn(3, 4, generator=torch.Generator().manual_seed(0)))
    value.backward()
    assert value.isfinite() and x.grad.isfinite().all() and x.grad.abs().max() < 1
