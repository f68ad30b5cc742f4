"""Barlow Twins: by hand, what it does not see, few rows."""

import pytest
import torch

from potstill.models.losses.barlow_twins import BarlowTwins, barlow_twins
from tests.models.losses import batches

ONE = torch.tensor([1.0, -1.0, 1.0, -1.0], dtype=torch.float64)
OTHER = torch.tensor([1.0, 1.0, -1.0, -1.0], dtype=torch.float64)


def found(first, second):
    return [x.item() for x in barlow_twins(torch.stack(first, 1), torch.stack(second, 1))]


def test_by_hand():
    # ONE and OTHER have mean 0, variance 1 and correlation 0.
    assert found((ONE, OTHER), (ONE, OTHER)) == pytest.approx([0, 0], abs=1e-6)
    assert found((ONE, ONE), (ONE, ONE)) == pytest.approx([0, 2], abs=1e-4)
    assert found((ONE, OTHER), (ONE, -OTHER)) == pytest.approx([4, 0], abs=1e-4)
    assert found((ONE, OTHER), (OTHER, ONE)) == pytest.approx([2, 2], abs=1e-4)


def test_the_mean_and_the_scale_of_a_dimension_are_not_seen():
    g = torch.Generator().manual_seed(0)
    first, second = (10 * torch.randn(8, 3, dtype=torch.float64, generator=g) for _ in range(2))
    factor, offset = torch.tensor([3.0, 1.0, 20.0]), torch.tensor([-5.0, 100.0, 0.0])
    moved = barlow_twins(first * factor + offset, second)
    for one, other in zip(moved, barlow_twins(first, second), strict=True):
        assert one.item() == pytest.approx(other.item(), rel=1e-5)


@pytest.mark.parametrize("rows", [0, 1])
def test_fewer_than_two_rows_give_nothing(rows):
    x, y = (torch.ones(rows, 3, requires_grad=True) for _ in range(2))
    terms = barlow_twins(x, y)
    sum(terms).backward()
    assert terms[0] == terms[1] == 0 and not x.grad.any() and not y.grad.any()


def test_constant_and_huge_dimensions_have_finite_gradients():
    x = torch.tensor([[1.0, 1e4], [1.0, -1e4], [1.0, 1e4]], requires_grad=True)
    sum(barlow_twins(x, x.detach().flip(0))).backward()
    assert x.grad.isfinite().all()


def test_views_are_any_two_of_the_student():
    batch = batches.activations(teachers=0)
    loss = BarlowTwins(views=("pooled", "other"))
    assert loss.needs() == {"student.features.pooled", "student.features.other"}
    views = batch.student.features["pooled"], batch.student.features["other"]
    assert [x.item() for x in loss.terms(batch).values()] == [x.item() for x in barlow_twins(*views)]
    assert BarlowTwins().needs() == {"student.image", "student.text"}
    assert loss.weights() == {"barlow_twins.invariance": 1.0, "barlow_twins.redundancy": 0.0051}


def test_views_of_two_widths_are_refused():
    batch = batches.activations(teachers=0)
    narrow = batches.with_leaves(batch, batch.student.features | {"other": batch.student.features["other"][:, :3]})
    with pytest.raises(ValueError, match=r"one width: pooled is \(6, 4\) and other \(6, 3\)"):
        BarlowTwins(views=("pooled", "other")).terms(narrow)
