"""Momentum targets: by hand, their limits, the queue."""

import math
from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError

from potstill.models.losses.albef import Albef, albef
from potstill.models.losses.info_nce import info_nce
from potstill.models.losses.loss import Batch, Labels, Output
from potstill.models.losses.numerics import unit
from potstill.models.losses.schedule import Progress, Schedule
from tests.models.losses import batches


def pairs(**how):
    return batches.pairs(teacher_width=batches.WIDTH, **how)


def test_one_row_by_hand():
    student, momentum, hard = torch.tensor([[0.0, 0.0]]), torch.tensor([[math.log(3), 0.0]]), torch.tensor([[1.0, 0.0]])
    # The teacher says 3/4 and 1/4; with alpha 0.4 the target is 0.9 and 0.1, the student says 1/2.
    expected = 0.9 * math.log(0.9 / 0.5) + 0.1 * math.log(0.1 / 0.5)
    assert albef(student, momentum, hard, alpha=0.4).item() == pytest.approx(expected, rel=1e-6)


def test_it_has_the_gradient_of_the_papers_sum_of_divergences():
    g = torch.Generator().manual_seed(0)
    z, t = (torch.randn(4, 4, generator=g, dtype=torch.float64, requires_grad=True) for _ in range(2))
    mixed = albef(z, t, torch.eye(4), alpha=0.3).sum()
    soft = torch.nn.functional.kl_div(z.log_softmax(1), t.detach().softmax(1), reduction="sum")
    apart = 0.7 * torch.nn.functional.cross_entropy(z, torch.arange(4), reduction="sum") + 0.3 * soft
    torch.testing.assert_close(torch.autograd.grad(mixed, z)[0], torch.autograd.grad(apart, z)[0])


def test_without_the_teachers_opinion_it_is_contrast_against_its_embeddings():
    batch = pairs()
    s, t, place = batch.student, batch.teacher, torch.arange(batches.ROWS)
    there = s.scale * unit(s.image) @ unit(t.text).T
    back = s.scale * unit(s.text) @ unit(t.image).T
    expected = (info_nce(there, place) + info_nce(back, place)).mean() / 2
    assert Albef(alpha=0).terms(batch)[""].item() == pytest.approx(expected.item())


def test_a_student_that_is_its_teacher_is_at_rest_with_all_of_its_opinion():
    batch = pairs()
    batch = replace(batch, teachers=(batch.student,))
    value = Albef(alpha=1).terms(batch)[""]
    assert abs(value.item()) < 1e-12
    assert torch.autograd.grad(value, batch.student.image)[0].abs().max() < 1e-12


def test_a_group_shares_the_hard_target():
    eye = torch.eye(2, dtype=torch.float64)
    output = Output(image=eye, text=eye, scale=1.0)
    alone = Albef(alpha=0).terms(Batch(output, Labels(2), (output,)))[""]
    assert alone.item() == pytest.approx(math.log1p(math.exp(-1)))
    grouped = Albef(alpha=0).terms(Batch(output, Labels(2, group=torch.tensor([5, 5])), (output,)))[""]
    p = 1 / (1 + math.exp(-1))
    assert grouped.item() == pytest.approx(-math.log(2) - (math.log(p) + math.log(1 - p)) / 2)


def test_alpha_may_warm_up_and_is_a_share():
    batch, warm = pairs(), Schedule(kind="linear_warmup", value=0.4, length=10)
    half = replace(batch, progress=Progress(step=5))
    assert Albef(alpha=warm).terms(half)[""] == Albef(alpha=0.2).terms(batch)[""]
    with pytest.raises(ValidationError, match="less than or equal to 1"):
        Albef(alpha=1.5)
    with pytest.raises(ValidationError, match=r"alpha goes up to 2.0; it is a share, at most 1"):
        Albef(alpha=Schedule(kind="linear_warmup", value=2, length=10))


def test_the_queue_holds_the_last_rows_as_columns():
    one, two, three = (pairs(seed=seed, rows=4) for seed in (1, 2, 3))
    queued = Albef(queue=6, alpha=0.5).build(one)
    plain = Albef(alpha=0.5)
    assert queued(one)[""] == plain.terms(one)[""]
    queued(two)
    # Six places: rows 2 and 3 of the first batch and all of the second are left.
    before = [torch.cat([unit(x)[2:], unit(y)]) for x, y in
              ((one.teacher.image, two.teacher.image), (one.teacher.text, two.teacher.text))]  # fmt: skip
    s, t = three.student, three.teacher
    values = []
    for own, momentum, others, more in ((s.image, t.image, t.text, before[1]), (s.text, t.text, t.image, before[0])):
        columns = torch.cat([unit(others), more]).T
        hard = torch.eye(4, 10, dtype=torch.float64)
        values.append(albef(s.scale * unit(own) @ columns, t.scale * unit(momentum) @ columns, hard, alpha=0.5).mean())
    assert queued(three)[""].item() == pytest.approx((sum(values) / 2).item())


def test_the_queue_stands_still_in_evaluation_and_is_kept_with_the_weights():
    batch = pairs()
    queued = Albef(queue=8).build(batch)
    queued.eval()
    assert queued(batch)[""] == queued(batch)[""] and queued.seen == 0
    queued.train()
    queued(batch)
    copy = Albef(queue=8).build(batch)
    copy.load_state_dict(queued.state_dict())
    assert copy.seen == batches.ROWS and copy.eval()(batch)[""] == queued.eval()(batch)[""]


def test_a_row_that_comes_again_shares_the_target_with_its_group_in_the_queue():
    eye = torch.eye(2, dtype=torch.float64)
    output = Output(image=eye, text=eye, scale=1.0)
    batch = Batch(output, Labels(2, group=torch.tensor([5, 6])), (output,))
    queued = Albef(queue=2, alpha=0).build(batch)
    first, second = queued(batch)[""].item(), queued(batch)[""].item()
    # Every row now has its pair twice among four columns, half the target on each: logs and entropy grow by log 2.
    assert second == pytest.approx(first)


def test_far_out_it_stays_finite():
    student = torch.tensor([[1e4, -1e4], [-1e4, 1e4]], requires_grad=True)
    values = albef(student, torch.tensor([[1e4, -1e4], [1e4, -1e4]]), torch.eye(2), alpha=0.5)
    values.sum().backward()
    assert values.isfinite().all() and student.grad.isfinite().all()
