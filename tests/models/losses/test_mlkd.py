"""Three levels of distillation."""

import math

import pytest
import torch

from potstill.models.losses.kd import kd
from potstill.models.losses.mlkd import Mlkd, gram_of_classes, gram_of_rows
from potstill.models.losses.stack import LossStack
from tests.models.losses import batches


def test_matrices_by_hand():
    # Probabilities: student (1/2, 1/2) twice; teacher (3/4, 1/4) and (1/4, 3/4).
    student, teacher = torch.zeros(2, 2), torch.tensor([[math.log(3), 0.0], [0.0, math.log(3)]])
    # Rows: student 1/2 everywhere; teacher 5/8 on the diagonal and 3/8 beside it: 4 (1/8)^2 / 2.
    assert gram_of_rows(student, teacher).item() == pytest.approx(1 / 32)
    # Classes: student 1/2 everywhere; teacher 5/8 and 3/8, the same here.
    assert gram_of_classes(student, teacher).item() == pytest.approx(1 / 32)
    # Three equal rows: the matrix of classes is 3 times, its square 9 times that of one; of rows 9 times over 3.
    student, teacher = torch.zeros(3, 2), torch.tensor([[math.log(3), 0.0]] * 3)
    assert gram_of_rows(student, teacher).item() == pytest.approx(9 * (5 / 8 - 1 / 2) ** 2 / 3, rel=1e-5)
    assert gram_of_classes(student, teacher).item() / 9 == pytest.approx(
        ((9 / 16 - 1 / 4) ** 2 + 2 * (3 / 16 - 1 / 4) ** 2 + (1 / 16 - 1 / 4) ** 2) / 2
    )


def test_equal_logits_give_0_and_a_constant_changes_nothing():
    batch = batches.classes()
    z, t = batch.student.logits, batch.teacher.logits
    for level in (gram_of_rows, gram_of_classes):
        assert level(z, z) == 0
        torch.testing.assert_close(level(z + 2, t - 3), level(z, t))


def test_rows_forget_the_names_of_classes_and_classes_the_order_of_rows():
    batch = batches.classes()
    z, t = batch.student.logits, batch.teacher.logits
    rows, classes = torch.tensor([3, 1, 5, 0, 2, 4]), torch.tensor([4, 2, 0, 1, 3])
    assert gram_of_rows(z[:, classes], z) < 1e-20 < gram_of_classes(z[:, classes], z)
    assert gram_of_classes(z[rows], z) < 1e-20 < gram_of_rows(z[rows], z)
    torch.testing.assert_close(gram_of_rows(z[rows], t[rows]), gram_of_rows(z, t))


def test_extreme_logits_are_finite():
    student = torch.tensor([[1e4, -1e4, 0.0], [0.0, 0.0, 0.0]], requires_grad=True)
    teacher = torch.tensor([[-1e4, 1e4, 0.0], [1.0, 0.0, float("-inf")]])
    value = gram_of_rows(student, teacher) + gram_of_classes(student, teacher)
    value.backward()
    assert value.isfinite() and student.grad.isfinite().all()


def test_terms_are_means_over_temperatures_and_each_has_its_count():
    batch = batches.classes()
    z, t = batch.student.logits, batch.teacher.logits
    loss = Mlkd(temperatures=(2.0, 4.0), weight={"instance": 1.0, "batch": 2.0, "class": 3.0})
    stack = LossStack([loss], batch)
    counts = stack.counts(batch.labels)
    assert counts == {"mlkd.instance": 6.0, "mlkd.batch": 1.0, "mlkd.class": 1.0}
    instance = (kd(z, t, temperature=2) + kd(z, t, temperature=4)).mean() / 2
    rows = (gram_of_rows(z, t, temperature=2) + gram_of_rows(z, t, temperature=4)) / 2
    classes = (gram_of_classes(z, t, temperature=2) + gram_of_classes(z, t, temperature=4)) / 2
    expected = instance + 2 * rows + 3 * classes
    assert stack(batch, counts).value.item() == pytest.approx(expected.item())


def test_no_rows_give_0():
    batch = batches.classes()
    batch.labels.masks["none"] = torch.zeros(batches.ROWS, dtype=torch.bool)
    total = sum(Mlkd(mask="none").terms(batch).values())
    total.backward()
    assert total == 0 and not batch.student.logits.grad.any()


def test_temperatures_have_bounds():
    with pytest.raises(ValueError, match="at least 1"):
        Mlkd(temperatures=())
    with pytest.raises(ValueError, match="greater than 0"):
        Mlkd(temperatures=(4.0, 0.0))
