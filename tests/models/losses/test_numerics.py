"""What losses compute with, where numbers are extreme."""

import pytest
import torch

from potstill.models.losses.numerics import unit


def test_rows_of_length_one_and_rows_of_zeros():
    x = torch.tensor([[3.0, -4.0], [0.0, 0.0], [3e-8, 4e-8]], requires_grad=True)
    rows = unit(x)
    assert rows.tolist() == [pytest.approx([0.6, -0.8]), [0.0, 0.0], pytest.approx([0.6, 0.8])]
    (gradient,) = torch.autograd.grad((rows * torch.tensor([2.0, 1.0])).sum(), x)
    # At (3, -4): (c - u (u . c)) / 5 with c = (2, 1), u = (0.6, -0.8), u . c = 0.4.
    assert gradient[0].tolist() == pytest.approx([1.76 / 5, 1.32 / 5])
    assert gradient[1].tolist() == [0.0, 0.0]
