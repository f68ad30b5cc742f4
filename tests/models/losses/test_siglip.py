"""SigLIP's loss: by hand, against open_clip, and with a teacher's probabilities."""

import math
from dataclasses import replace

import pytest
import torch
from open_clip.loss import SigLipLoss

from potstill.models.losses.loss import Batch, Labels, Output
from potstill.models.losses.numerics import unit
from potstill.models.losses.siglip import SigLip, siglip
from tests.models.losses import batches


def softplus(x):
    return math.log1p(math.exp(x))


def two_pairs(scale=2.0, bias=-1.0):
    image, text = torch.tensor([[1.0, 0], [0, 1.0]]), torch.tensor([[1.0, 0], [0.6, 0.8]])
    return Output(image=image, text=text, scale=scale, bias=bias)


def test_two_pairs_by_hand():
    # Logits 2 cos - 1: pairs 1 and 0.6; the others 0.2 (picture 0, text 1) and -1 (picture 1, text 0).
    expected = (softplus(-1) + softplus(-0.6) + softplus(0.2) + softplus(-1)) / 2
    assert SigLip().terms(Batch(two_pairs(), Labels(2)))[""].item() == pytest.approx(expected)
    grouped = Labels(2, group=torch.tensor([4, 4]))
    expected = (softplus(-1) + softplus(-0.6)) / 2
    assert SigLip().terms(Batch(two_pairs(), grouped))[""].item() == pytest.approx(expected)


def test_it_is_open_clips():
    batch = batches.pairs(rows=7)
    s = batch.student
    found = torch.autograd.grad(SigLip().terms(batch)[""], (s.image, s.text, s.scale, s.bias))
    theirs = SigLipLoss()(unit(s.image), unit(s.text), s.scale, s.bias)
    assert SigLip().terms(batch)[""].item() == pytest.approx(theirs.item(), rel=1e-12)
    for mine, other in zip(found, torch.autograd.grad(theirs, (s.image, s.text, s.scale, s.bias)), strict=True):
        torch.testing.assert_close(mine, other)


def test_a_teacher_by_hand():
    teacher = two_pairs(scale=0.0, bias=0.0)
    # A teacher that says one half everywhere: KL = -(log s(z) + log s(-z)) / 2 - log 2 for each of the four logits.
    kl = [(softplus(-z) + softplus(z)) / 2 - math.log(2) for z in (1, 0.6, 0.2, -1)]
    batch = Batch(two_pairs(), Labels(2), (teacher,))
    assert SigLip(target="teacher").terms(batch)[""].item() == pytest.approx(sum(kl) / 2, rel=1e-5)


def test_a_student_like_its_teacher_is_at_rest():
    batch = batches.pairs()
    batch = replace(batch, teachers=(batch.student,))
    value = SigLip(target="teacher").terms(batch)[""]
    gradient = torch.autograd.grad(value, batch.student.image)[0]
    assert abs(value.item()) < 1e-12 and gradient.abs().max() < 1e-12


def test_what_a_teacher_does_is_the_gradient_of_soft_binary_cross_entropy():
    g = torch.Generator().manual_seed(0)
    z = torch.randn(3, 4, generator=g, dtype=torch.float64, requires_grad=True)
    p = torch.rand(3, 4, generator=g, dtype=torch.float64)
    plain = torch.nn.functional.binary_cross_entropy_with_logits(z, p, reduction="none")
    torch.testing.assert_close(*(torch.autograd.grad(x.sum(), z)[0] for x in (siglip(z, p), plain)))
    assert (siglip(z, p) >= 0).all() and (siglip(z, p) < plain).all()


def test_far_out_it_stays_finite():
    z = torch.tensor([[1e4, -1e4, 1e4, -1e4]], requires_grad=True)
    values = siglip(z, torch.tensor([[1.0, 0.0, 0.0, 1.0]]))
    values.sum().backward()
    assert values.tolist() == [[0, 0, 1e4, 1e4]] and z.grad.tolist() == [[0, 0, 1, -1]]
