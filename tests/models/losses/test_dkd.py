"""Decoupled distillation: by hand, its identity with plain distillation, and its limits."""

import math
from dataclasses import replace

import pytest
import torch

from potstill.models.losses.dkd import Dkd, dkd
from potstill.models.losses.kd import kd
from potstill.models.losses.schedule import Progress
from potstill.models.losses.stack import LossStack
from tests.models.losses import batches


def some():
    batch = batches.classes()
    return batch.student.logits, batch.teacher.logits, batch.labels.target.clamp(min=0)


def test_three_classes_by_hand():
    # The teacher says 1/2, 3/8, 1/8 and the student thirds; class 0 is true. Binary: (1/2, 1/2) against (1/3, 2/3);
    # among the others: (3/4, 1/4) against (1/2, 1/2).
    teacher = torch.tensor([[0.5, 0.375, 0.125]]).log()
    tckd, nckd = dkd(torch.zeros(1, 3), teacher, torch.tensor([0]), temperature=1)
    assert tckd.item() == pytest.approx(0.5 * math.log(3 / 2) + 0.5 * math.log(3 / 4))
    assert nckd.item() == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5), rel=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
@pytest.mark.parametrize("standardise", [False, True])
def test_plain_distillation_is_tckd_plus_nckd_times_the_teachers_doubt(temperature, standardise):
    z, t, y = some()
    how = {"temperature": temperature, "standardise": standardise}
    tckd, nckd = dkd(z, t, y, **how)
    if standardise:
        t = (t - t.mean(-1, keepdim=True)) / (t.std(-1, keepdim=True) + 1e-7)
    doubt = 1 - (t / temperature).softmax(-1).gather(-1, y[:, None])[:, 0]
    torch.testing.assert_close(tckd + doubt * nckd, kd(z, batches.classes().teacher.logits, **how))


def test_t_squared_is_a_factor():
    z, t, y = some()
    with_it, without = dkd(z, t, y, temperature=3), dkd(z, t, y, temperature=3, t_squared=False)
    torch.testing.assert_close(torch.stack(with_it), 9 * torch.stack(without))


def test_equal_logits_give_0_a_constant_changes_nothing_nor_does_the_order_of_classes():
    z, t, y = some()
    assert max(part.abs().max() for part in dkd(z, z, y)) < 1e-12
    order = torch.tensor([3, 0, 4, 1, 2])
    for other in (dkd(z + 3, t - 4, y), dkd(z[:, order], t[:, order], order.argsort()[y])):
        torch.testing.assert_close(torch.stack(other), torch.stack(dkd(z, t, y)))


def test_tckd_sees_only_the_true_class_and_nckd_only_the_others():
    z, t, y = some()
    moved = z.detach() + 2 * torch.nn.functional.one_hot(y, batches.CLASSES)
    tckd, nckd = dkd(z, t, y)
    other_tckd, other_nckd = dkd(moved, t, y)
    torch.testing.assert_close(nckd, other_nckd)
    assert (tckd - other_tckd).abs().max() > 0.1


@pytest.mark.parametrize("true", [0, 1])
def test_extreme_logits_are_finite_in_value_and_gradient(true):
    # A probability of exactly 1 for the true class, whose complement has no logarithm outside of log space.
    student = torch.tensor([[1e4, -1e4, 0.0, 3.0]], requires_grad=True)
    teacher = torch.tensor([[-1e4, 1e4, 0.0, float("-inf")]])
    tckd, nckd = dkd(student, teacher, torch.tensor([true]))
    (tckd + nckd).sum().backward()
    assert tckd.isfinite() and nckd.isfinite() and student.grad.isfinite().all()
    assert tckd > 100


def test_rows_without_a_label_are_left_out():
    batch = batches.classes()
    z, t, y = some()
    tckd, nckd = dkd(z[:-1], t[:-1], y[:-1])
    found = Dkd().terms(batch)
    assert found["tckd"].item() == pytest.approx(tckd.sum().item())
    assert found["nckd"].item() == pytest.approx(nckd.sum().item())


def test_the_published_weights_and_warm_up():
    batch = batches.classes()
    stack = LossStack([Dkd()], batch)
    first = stack(batch, stack.counts(batch.labels))
    last = stack(replace(batch, progress=Progress(epoch=20)), stack.counts(batch.labels))
    assert first.weights == {"dkd.tckd": 1.0, "dkd.nckd": 0.4} and last.weights == {"dkd.tckd": 1.0, "dkd.nckd": 8.0}
    expected = (first.sums["dkd.tckd"] + 8 * first.sums["dkd.nckd"]) / 5
    assert last.value.item() == pytest.approx(expected.item())


def test_two_classes_and_soft_labels_are_refused():
    with pytest.raises(ValueError, match="2 classes and needs 3"):
        dkd(torch.zeros(1, 2), torch.zeros(1, 2), torch.tensor([0]))
    with pytest.raises(ValueError, match="with mixed labels use kd"):
        dkd(torch.zeros(1, 3), torch.zeros(1, 3), torch.full((1, 3), 1 / 3))
