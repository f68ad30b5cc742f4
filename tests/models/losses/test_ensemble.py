"""Several teachers at once."""

import math

import pytest
import torch

from potstill.models.losses.ensemble import Ensemble, ensemble
from potstill.models.losses.kd import kd
from tests.models.losses import batches

SURE = torch.tensor([[math.log(3), 0.0]])
"""3/4 and 1/4."""


def test_probabilities_are_averaged_and_not_logits():
    # 3/4 and 1/4 against each other average to halves, as the student says; with shares 3 : 1 to 5/8, 3/8.
    student = torch.zeros(1, 2)
    assert ensemble(student, [SURE, -SURE]).item() == pytest.approx(0, abs=1e-7)
    expected = 5 / 8 * math.log(5 / 4) + 3 / 8 * math.log(3 / 4)
    assert ensemble(student, [SURE, -SURE], shares=[3, 1]).item() == pytest.approx(expected, rel=1e-5)
    # Averaged logits of 3/4, 1/4 and a sure 0, 1 would leave class 0 almost nothing; here it keeps 3/8.
    sure = torch.tensor([[-50.0, 50.0]])
    assert ensemble(torch.tensor([[math.log(3 / 5), 0.0]]), [SURE, sure]).item() == pytest.approx(0, abs=1e-7)


def test_one_teacher_and_equal_teachers_are_plain_distillation():
    batch = batches.classes()
    z, t = batch.student.logits, batch.teacher.logits
    for teachers in ([t], [t, t, t]):
        torch.testing.assert_close(ensemble(z, teachers, temperature=4), kd(z, t, temperature=4))
    torch.testing.assert_close(ensemble(z, [t], temperature=4, t_squared=False), kd(z, t, t_squared=False))


def test_the_order_of_teachers_and_constants_do_not_matter():
    batch = batches.classes(teachers=3)
    z, (a, b, c) = batch.student.logits, [teacher.logits for teacher in batch.teachers]
    expected = ensemble(z, [a, b, c], shares=[1, 2, 3])
    torch.testing.assert_close(ensemble(z, [c, a, b], shares=[3, 1, 2]), expected)
    torch.testing.assert_close(ensemble(z + 1, [a - 2, b + 3, c], shares=[2, 4, 6]), expected)


def test_its_gradient_is_that_of_soft_cross_entropy():
    batch = batches.classes(teachers=2)
    z, teachers = batch.student.logits, [teacher.logits.detach() for teacher in batch.teachers]
    mean = sum(teacher.softmax(-1) for teacher in teachers) / 2
    soft = -(mean * z.log_softmax(-1)).sum()
    torch.testing.assert_close(*(torch.autograd.grad(x, z)[0] for x in (ensemble(z, teachers).sum(), soft)))


def test_extreme_logits_and_a_class_that_every_teacher_rules_out():
    student = torch.tensor([[1e4, -1e4, 0.0]], requires_grad=True)
    teachers = [torch.tensor([[-1e4, 1e4, float("-inf")]]), torch.tensor([[0.0, 1.0, float("-inf")]])]
    value = ensemble(student, teachers)
    value.sum().backward()
    assert value.isfinite() and student.grad.isfinite().all()


def test_shares_must_fit():
    with pytest.raises(ValueError, match="2 shares for 3 teachers"):
        Ensemble(shares=(1.0, 2.0)).terms(batches.classes(teachers=3))
    with pytest.raises(ValueError, match="greater than 0"):
        Ensemble(shares=(1.0, 0.0))
