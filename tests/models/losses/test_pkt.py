"""Probabilistic knowledge transfer: by hand, what it does not see."""

from math import log

import pytest
import torch

from potstill.models.losses.pkt import neighbours, pkt


def test_by_hand():
    # Cosines 0 become 1/2: rows (2/3, 1/3). Equal rows: (1/2, 1/2). The divergence of a row is
    # log(3/4) / 2 + log(3/2) / 2 = log(9/8) / 2, twice, over 4 entries.
    apart, equal = torch.eye(2, dtype=torch.float64), torch.ones(2, 3, dtype=torch.float64)
    assert neighbours(apart).tolist() == [pytest.approx([2 / 3, 1 / 3]), pytest.approx([1 / 3, 2 / 3])]
    assert pkt(apart, equal).item() == pytest.approx(log(9 / 8) / 4, rel=1e-6)


def test_equal_directions_give_nothing_and_others_something():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(6, 4, dtype=torch.float64, generator=g)
    lengths = torch.rand(6, 1, dtype=torch.float64, generator=g) + 0.1
    assert pkt(lengths * x, x).item() == pytest.approx(0, abs=1e-15)
    assert all(pkt(torch.randn(6, 3, generator=g), x) > 0 for _ in range(100))
