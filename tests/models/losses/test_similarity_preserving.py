"""Similarity-preserving distillation: by hand, what it does not see."""

import pytest
import torch

from potstill.models.losses.similarity_preserving import similarity_preserving


def test_by_hand():
    # Rows at right angles: the unit matrix. Equal rows: 1 / sqrt(2) everywhere.
    # The differences are 1 - 1 / sqrt(2) twice and 1 / sqrt(2) twice: 4 - 4 / sqrt(2) in all, over 4 entries.
    apart, equal = torch.eye(2, dtype=torch.float64), torch.ones(2, 3, dtype=torch.float64)
    assert similarity_preserving(apart, equal).item() == pytest.approx(1 - 0.5**0.5)


def test_a_rotation_and_a_factor_are_not_seen():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(5, 4, dtype=torch.float64, generator=g)
    turn = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64, generator=g)).Q
    assert similarity_preserving(x.reshape(5, 2, 2), 3 * x @ turn).item() == pytest.approx(0, abs=1e-20)


def test_the_order_of_rows_does_not_matter():
    g = torch.Generator().manual_seed(0)
    x, y = (torch.randn(5, size, dtype=torch.float64, generator=g) for size in (4, 6))
    order = torch.randperm(5, generator=g)
    assert similarity_preserving(x[order], y[order]).item() == pytest.approx(similarity_preserving(x, y).item())
