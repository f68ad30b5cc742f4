"""Distillation of similarities: by hand, against open_clip, several teachers, fixed factors."""

import math
from dataclasses import replace

import pytest
import torch
from open_clip.loss import DistillClipLoss
from pydantic import ValidationError

from potstill.models.losses.clip_affinity import ClipAffinity, clip_affinity
from potstill.models.losses.loss import Batch, Labels, Output
from potstill.models.losses.numerics import unit
from tests.models.losses import batches


def kl(p, q):
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def test_two_pairs_by_hand():
    eye = torch.eye(2)
    student = Output(image=eye, text=torch.tensor([[1.0, 0], [0.6, 0.8]]), scale=1.0)
    teacher = Output(image=eye, text=eye, scale=1.0)
    # Student's rows (1, 0.6), (0, 0.8) and columns (1, 0), (0.6, 0.8); the teacher's are (1, 0), (0, 1) both ways.
    sure = sigmoid(1)
    others = (sigmoid(0.4), sigmoid(0.8), sigmoid(1), sigmoid(0.2))
    expected = sum(kl((sure, 1 - sure), (p, 1 - p)) for p in others) / 4
    assert ClipAffinity().terms(Batch(student, Labels(2), (teacher,)))[""].item() == pytest.approx(expected, rel=1e-5)
    sure = sigmoid(50)
    fixed = ClipAffinity(scale=2, teacher_scale=50).terms(Batch(student, Labels(2), (teacher,)))[""]
    others = (sigmoid(0.8), sigmoid(1.6), sigmoid(2), sigmoid(0.4))
    assert fixed.item() == pytest.approx(-sum(math.log(p) for p in others) / 4, rel=1e-5)


def test_it_is_open_clips_distillation_less_the_teachers_entropy():
    batch = batches.pairs(rows=9)
    s, t = batch.student, batch.teacher
    wanted = (s.image, s.text, s.scale)
    mine = ClipAffinity().terms(batch)[""]
    given = (unit(t.image).detach(), unit(t.text).detach(), t.scale.detach())
    _, theirs = DistillClipLoss()(unit(s.image), unit(s.text), s.scale, *given)
    sims = given[2] * given[0] @ given[1].T
    entropy = sum(-(x.softmax(1) * x.log_softmax(1)).sum(1).mean() for x in (sims, sims.T)) / 2
    assert mine.item() == pytest.approx((theirs - entropy).item(), rel=1e-12)
    for ours, other in zip(torch.autograd.grad(mine, wanted), torch.autograd.grad(theirs, wanted), strict=True):
        torch.testing.assert_close(ours, other)


def test_a_student_like_its_teacher_is_at_rest_at_0():
    batch = batches.pairs()
    batch = replace(batch, teachers=(batch.student, batch.student))
    value = ClipAffinity().terms(batch)[""]
    gradient = torch.autograd.grad(value, batch.student.image)[0]
    assert abs(value.item()) < 1e-12 and gradient.abs().max() < 1e-12


def test_teachers_are_averaged_after_the_softmax():
    one, two = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 4.0]])
    p = (sigmoid(2) + sigmoid(-4)) / 2
    expected = kl((p, 1 - p), (0.5, 0.5))
    assert clip_affinity(torch.zeros(1, 2), [one, two]).item() == pytest.approx(expected, rel=1e-5)


def test_each_teacher_may_have_its_own_factor():
    batch = batches.pairs(teachers=2)
    own = (batch.teachers[0].scale.detach(), batch.teachers[1].scale.detach())
    fixed = ClipAffinity(teacher_scale=tuple(x.item() for x in own)).terms(batch)[""]
    assert fixed.item() == pytest.approx(ClipAffinity().terms(batch)[""].item())
    assert ClipAffinity(teacher_scale=(70, 60)).terms(batch)[""] != ClipAffinity(teacher_scale=60).terms(batch)[""]
    with pytest.raises(ValueError, match="3 values of teacher_scale for 2 teachers"):
        ClipAffinity(teacher_scale=(1, 2, 3)).terms(batch)
    with pytest.raises(ValidationError, match="greater than 0"):
        ClipAffinity(scale=0)


def test_the_order_of_rows_and_a_constant_do_not_matter():
    batch = batches.pairs()
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    turned = [replace(o, image=o.image[order], text=o.text[order]) for o in (batch.student, batch.teacher)]
    other = ClipAffinity().terms(Batch(turned[0], batch.labels, (turned[1],)))[""]
    assert other.item() == pytest.approx(ClipAffinity().terms(batch)[""].item())
    sims = torch.tensor([[1.0, 2, 4]]), torch.tensor([[0.0, 1, 5]])
    torch.testing.assert_close(clip_affinity(sims[0], [sims[1]]), clip_affinity(sims[0] + 9, [sims[1] - 9]))


def test_far_out_it_stays_finite():
    student = torch.tensor([[1e4, -1e4], [-1e4, 1e4]], requires_grad=True)
    values = clip_affinity(student, [torch.tensor([[1e4, -1e4], [1e4, -1e4]])])
    values.sum().backward()
    assert values.tolist() == [0.0, 2e4] and student.grad.tolist() == [[0.0, 0.0], [-1.0, 1.0]]
