"""VICReg: each term by hand, what it does not see, few rows."""

import pytest
import torch

from potstill.models.losses.vicreg import Vicreg, covariance, invariance, variance
from tests.models.losses import batches

FIRST = torch.tensor([[0.0, 0.0], [2.0, 2.0]], dtype=torch.float64)
SECOND = torch.tensor([[0.0, 2.0], [2.0, 0.0]], dtype=torch.float64)


def test_by_hand():
    # Differences 0, -2, 0, 2. Variances (over N - 1) 2, so no standard deviation lacks anything; covariances 2 and -2,
    # each at two places: 8 over 2 dimensions.
    assert invariance(FIRST, SECOND).item() == 2
    assert variance(FIRST).item() == 0 and covariance(FIRST).item() == covariance(SECOND).item() == 4
    # A quarter as wide: variance 1/8. No spread at all: the standard deviation is the root of eps, 0.01.
    assert variance(FIRST / 4).item() == pytest.approx(1 - (1 / 8 + 1e-4) ** 0.5)
    assert variance(torch.ones(3, 2)).item() == pytest.approx(0.99)


def test_spread_does_not_see_a_move_and_invariance_one_of_both():
    g = torch.Generator().manual_seed(0)
    first, second = (torch.randn(6, 3, dtype=torch.float64, generator=g) for _ in range(2))
    move = torch.tensor([1.0, -20.0, 3.0])
    assert variance(first + move).item() == pytest.approx(variance(first).item())
    assert covariance(first + move).item() == pytest.approx(covariance(first).item())
    assert invariance(first + move, second + move).item() == pytest.approx(invariance(first, second).item())


@pytest.mark.parametrize("rows", [0, 1])
def test_fewer_than_two_rows_have_no_spread(rows):
    x = torch.ones(rows, 3, requires_grad=True)
    value = variance(x) + covariance(x) + invariance(x, x.detach())
    value.backward()
    assert value == 0 and not x.grad.any()


def test_constant_and_huge_dimensions_have_finite_gradients():
    x = torch.tensor([[1.0, 1e4], [1.0, -1e4], [1.0, 1e4]], requires_grad=True)
    (variance(x) + covariance(x)).backward()
    assert x.grad.isfinite().all()


def test_both_views_have_their_spread():
    batch, loss = batches.pairs(teachers=0), Vicreg()
    image, text = batch.student.image, batch.student.text
    terms = loss.terms(batch)
    assert terms["variance"].item() == pytest.approx((variance(image) + variance(text)).item())
    assert terms["covariance"].item() == pytest.approx((covariance(image) + covariance(text)).item())
    assert loss.weights() == {"vicreg.invariance": 25.0, "vicreg.variance": 25.0, "vicreg.covariance": 1.0}


def test_views_of_two_widths_are_refused():
    batch = batches.activations(teachers=0)
    narrow = batches.with_leaves(batch, batch.student.features | {"other": batch.student.features["other"][:, :3]})
    with pytest.raises(ValueError, match=r"one width: pooled is \(6, 4\) and other \(6, 3\)"):
        Vicreg(views=("pooled", "other")).terms(narrow)
