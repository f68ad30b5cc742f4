"""Correlations within rows and over the batch."""

from dataclasses import replace

import pytest
import torch

from potstill.models.losses.dist import Dist, inter, intra
from potstill.models.losses.stack import LossStack
from tests.models.losses import batches


class TwoRanks:
    """The other rank's rows come before one's own, tensor by tensor in the order of asking."""

    world, rank = 2, 1

    def __init__(self, *others):
        self.others = list(others)

    def gather(self, x):
        return torch.cat([self.others.pop(0), x])


def logits(*rows):
    return torch.tensor(rows, dtype=torch.float64).log()


def test_a_correlation_by_hand():
    # Less the mean 1/3, times 60: student (10, -5, -5), teacher (-2, 4, -2): -30 / (sqrt 150 sqrt 24) = -1/2.
    one, other = logits([0.5, 0.25, 0.25]), logits([0.3, 0.4, 0.3])
    assert inter(one, other).item() == pytest.approx(1 + 0.5, abs=1e-5)
    # Classes over two rows: each rises or falls, so a correlation is 1 or -1. Here 1, -1 and 1.
    student, teacher = logits([0.2, 0.3, 0.5], [0.3, 0.5, 0.2]), logits([0.2, 0.5, 0.3], [0.7, 0.1, 0.2])
    assert intra(student, teacher).item() == pytest.approx(2 / 3, abs=1e-5)


def test_equal_logits_give_0_and_a_constant_changes_nothing():
    batch = batches.classes()
    z, t = batch.student.logits, batch.teacher.logits
    assert inter(z, z).max() < 1e-6 and intra(z, z) < 1e-6
    torch.testing.assert_close(inter(z + 2, t - 3), inter(z, t))
    torch.testing.assert_close(intra(z + 2, t - 3), intra(z, t))


def test_a_student_may_be_linearly_surer_or_less_sure():
    teacher = logits([0.5, 0.3, 0.2], [0.1, 0.2, 0.7])
    flatter = (teacher.exp() / 2 + 1 / 6).log()
    assert inter(flatter, teacher).max() < 1e-5 and intra(flatter, teacher) < 1e-5


def test_orders_of_rows_and_classes_do_not_matter():
    batch = batches.classes()
    z, t = batch.student.logits, batch.teacher.logits
    rows, classes = torch.tensor([3, 1, 5, 0, 2, 4]), torch.tensor([4, 2, 0, 1, 3])
    torch.testing.assert_close(intra(z[rows][:, classes], t[rows][:, classes]), intra(z, t))
    torch.testing.assert_close(inter(z[:, classes], t[:, classes]), inter(z, t))


def test_extreme_logits_are_finite_and_so_is_a_class_that_nobody_sees():
    student = torch.tensor([[1e4, -1e4, 0.0], [1e4, -1e4, 0.0], [0.0, -1e4, 0.0]], requires_grad=True)
    teacher = torch.tensor([[-1e4, 1e4, 0.0], [0.0, 0.0, 0.0], [1.0, 0.0, float("-inf")]])
    values = inter(student, teacher).sum() + intra(student, teacher)
    values.backward()
    assert values.isfinite() and student.grad.isfinite().all()


def test_two_classes_have_no_gradient_within_a_row_but_over_the_batch():
    z = batches.classes().student.logits.detach()[:, :2].requires_grad_()
    t = batches.classes().teacher.logits[:, :2].detach()
    inter(z, t).sum().backward()
    assert z.grad.abs().max() < 1e-5
    assert torch.autograd.grad(intra(z, t), z)[0].abs().max() > 1e-3


@pytest.mark.parametrize("rows", [0, 1])
def test_fewer_than_two_rows_have_no_relation(rows):
    batch = batches.classes()
    batch.labels.masks["few"] = torch.arange(batches.ROWS) < rows
    terms = Dist(mask="few").terms(batch)
    (terms["inter"] + terms["intra"]).backward()
    assert terms["intra"] == 0 and (terms["inter"] > 0) == (rows > 0)
    assert batch.student.logits.grad.isfinite().all() and not batch.student.logits.grad[rows:].any()


def test_inter_is_a_mean_over_rows_and_intra_over_micro_batches():
    one, two = batches.classes(seed=1), batches.classes(seed=2, rows=3)
    stack = LossStack([Dist(weight={"inter": 2.0, "intra": 1.0})], one)
    counts = {
        name: stack.counts(one.labels)[name] + stack.counts(two.labels)[name] for name in stack.counts(one.labels)
    }
    assert counts == {"dist.inter": 9.0, "dist.intra": 2.0}
    total = sum(stack(batch, counts).value for batch in (one, two))
    pairs = [(batch.student.logits, batch.teacher.logits) for batch in (one, two)]
    expected = 2 * torch.cat([inter(*pair) for pair in pairs]).mean() + sum(intra(*pair) for pair in pairs) / 2
    assert total.item() == pytest.approx(expected.item())


def test_the_relation_is_over_the_marked_rows_of_all_ranks():
    whole, own = batches.classes(rows=8), batches.classes(rows=8)
    marked = torch.tensor([True, False, True, True, False, True, True, True])
    z, t = whole.student.logits, whole.teacher.logits
    comm = TwoRanks(marked[:4], z[:4], t[:4])
    student, teacher = replace(own.student, logits=z[4:]), replace(own.teacher, logits=t[4:])
    labels = replace(own.labels, size=4, target=own.labels.target[4:], masks={"marked": marked[4:]})
    terms = Dist(mask="marked").terms(replace(own, student=student, teachers=(teacher,), labels=labels, comm=comm))
    assert terms["intra"].item() == pytest.approx(intra(z[marked], t[marked]).item())
    assert terms["inter"].item() == pytest.approx(inter(z[5:], t[5:]).sum().item())


def test_t_squared_multiplies_both():
    batch = batches.classes()
    plain, times = Dist(temperature=4).terms(batch), Dist(temperature=4, t_squared=True).terms(batch)
    assert all(times[part].item() == pytest.approx(16 * plain[part].item()) for part in plain)
