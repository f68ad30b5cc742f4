"""Relational distillation: distances and angles by hand, what they do not see, chunks."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from potstill.models.losses.rkd import Rkd, angle, distance, distances
from tests.models.losses import batches

LINE = torch.tensor([[0.0], [1.0], [3.0]], dtype=torch.float64)
TRIANGLE = torch.tensor([[0.0, 0.0], [2.0, 0.0], [1.0, 3.0**0.5]], dtype=torch.float64)


def test_distances_by_hand():
    # On the line 1, 3 and 2, their mean 2; in the triangle all alike. Differences 1/2, 1/2, 0: smooth L1 1/8 each.
    assert distances(LINE)[0].tolist() == pytest.approx([0, 0.5, 1.5])
    assert distances(TRIANGLE).tolist() == [pytest.approx(row) for row in ([0, 1, 1], [1, 0, 1], [1, 1, 0])]
    assert distance(LINE, TRIANGLE).item() == pytest.approx(2 * (1 / 8 + 1 / 8) / 9)


def test_angles_by_hand():
    # On the line the cosines at the three vertices are 1, -1 and 1; in the triangle 1/2. Differences 1/2, 3/2, 1/2:
    # smooth L1 1/8, 1, 1/8, each for both orders of the two sides; a side with itself has 1 in both.
    assert angle(LINE, TRIANGLE).item() == pytest.approx(2 * (1 / 8 + 1 + 1 / 8) / 27)


def test_a_move_a_turn_and_a_factor_are_not_seen():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(7, 4, dtype=torch.float64, generator=g)
    turn = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64, generator=g)).Q
    other = 1e3 + 5 * x @ turn
    assert distance(x, other).item() == pytest.approx(0, abs=1e-15)
    assert angle(x, other).item() == pytest.approx(0, abs=1e-15)


class Largest(TorchDispatchMode):
    """Remembers the size of the largest tensor that was made."""

    size = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor):
            self.size = max(self.size, made.numel())
        return made


def test_a_few_vertices_at_a_time_give_the_same_in_bounded_memory():
    g = torch.Generator().manual_seed(0)
    x, y = (torch.randn(12, size, dtype=torch.float64, generator=g) for size in (5, 30))
    found = []
    for cells, bound in ((10**6, 12 * 12 * 30), (5 * 12 * 30, 5 * 12 * 30), (1, 12 * 30)):
        leaf = x.clone().requires_grad_()
        with Largest() as largest:
            value = angle(leaf, y, cells=cells)
            value.backward()
        assert largest.size == bound
        found.append((value.item(), leaf.grad))
    for value, gradient in found[1:]:
        assert value == pytest.approx(found[0][0], rel=1e-12)
        torch.testing.assert_close(gradient, found[0][1])


@pytest.mark.parametrize("x", [torch.ones(4, 3), torch.tensor([[0.0, 1], [0, 1], [1, 0], [5, 5]]), torch.eye(3) * 1e4])
def test_rows_that_coincide_or_are_far_apart_have_finite_gradients(x):
    leaf = x.clone().requires_grad_()
    teacher = torch.randn(len(x), 2, generator=torch.Generator().manual_seed(0))
    value = distance(leaf, teacher) + angle(leaf, teacher)
    value.backward()
    assert value.isfinite() and leaf.grad.abs().max() < 10


@pytest.mark.parametrize("rows", [0, 1])
def test_fewer_than_two_rows_give_nothing(rows):
    x = torch.ones(rows, 3, requires_grad=True)
    value = distance(x, torch.ones(rows, 2)) + angle(x, torch.ones(rows, 2))
    value.backward()
    assert value == 0 and not x.grad.any()


def test_only_rows_of_the_mask_are_related():
    batch, loss = batches.activations(), Rkd(student="pooled", teacher="pooled", mask="some")
    batch.labels.masks["some"] = torch.tensor([True, False, True, True, False, True])
    rows = [output.features["pooled"][[0, 2, 3, 5]] for output in (batch.student, batch.teacher)]
    terms = loss.terms(batch)
    assert terms["distance"].item() == pytest.approx(distance(*rows).item())
    assert terms["angle"].item() == pytest.approx(angle(*rows).item())
    assert loss.weights() == {"rkd.distance": 25.0, "rkd.angle": 50.0}
