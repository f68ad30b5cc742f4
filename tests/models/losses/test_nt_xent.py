"""SimCLR's loss: by hand, and beside DCL."""

import math

import pytest
import torch

from potstill.models.losses.dcl import dcl
from potstill.models.losses.loss import Batch, Labels, Output
from potstill.models.losses.nt_xent import NtXent, nt_xent
from tests.models.losses import batches


def lse(*x):
    return math.log(sum(map(math.exp, x)))


def test_two_pairs_by_hand():
    first, second = torch.tensor([[1.0, 0], [0, 1.0]]), torch.tensor([[1.0, 0], [0.6, 0.8]])
    batch = Batch(Output(image=first, text=second), Labels(2))
    # Each of the 4 views sees its pair, the other row's other view, the other row in its own view.
    expected = (lse(1, 0.6, 0) - 1) + (lse(0.8, 0, 0) - 0.8) + (lse(1, 0, 0.6) - 1) + (lse(0.8, 0.6, 0.6) - 0.8)
    assert NtXent(temperature=1).terms(batch)[""].item() == pytest.approx(expected / 4)


def test_it_is_the_cross_entropy_over_all_views():
    batch = batches.pairs()
    one, two = (torch.nn.functional.normalize(x) for x in (batch.student.image, batch.student.text))
    views = torch.cat([one, two])
    sims = (views @ views.T / 0.2).fill_diagonal_(float("-inf"))
    wanted = torch.arange(2 * batches.ROWS).roll(batches.ROWS)
    expected = torch.nn.functional.cross_entropy(sims, wanted)
    assert NtXent(temperature=0.2).terms(batch)[""].item() == pytest.approx(expected.item())


def test_the_views_may_be_exchanged():
    batch = batches.pairs()
    assert NtXent().terms(batch)[""].item() == pytest.approx(
        NtXent(first="text", second="image").terms(batch)[""].item()
    )


def test_it_is_dcl_with_the_positive_among_the_negatives_and_stays_finite():
    g = torch.Generator().manual_seed(0)
    positive, negatives = torch.randn(3, generator=g), torch.randn(3, 5, generator=g)
    torch.testing.assert_close(
        nt_xent(positive, negatives), dcl(positive, torch.cat([positive[:, None], negatives], 1))
    )
    far = torch.tensor([1e4, -1e4], requires_grad=True)
    values = nt_xent(far, torch.tensor([[-1e4, 0], [1e4, 0]]))
    values.sum().backward()
    assert values.tolist() == [0.0, 2e4] and far.grad.tolist() == [0.0, -1.0]
