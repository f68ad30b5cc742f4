"""Cached teachers: the three ways with what was not stored, by hand and against full distributions."""

from dataclasses import replace
from math import log

import pytest
import torch

from potstill.models.losses.logits import TopK
from potstill.models.losses.loss import Output
from potstill.models.losses.numerics import kl_rows, log_probs
from potstill.models.losses.stack import LossStack
from potstill.models.losses.topk_kl import TopkKl, topk_kl
from tests.models.losses import batches

TAILS = ("bucket", "renormalise", "smear")
each_tail = pytest.mark.parametrize("tail", TAILS)


def drawn(seed, *shape):
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def best(logits, k, temperature=1.0):
    logp, idx = log_probs(logits, temperature).topk(k)
    return TopK(idx, logp, temperature, logits.shape[-1])


def test_four_words_by_hand():
    student = torch.tensor([[0.4, 0.3, 0.2, 0.1]]).double().log()
    teacher = TopK(torch.tensor([[1, 0]]), torch.tensor([[0.5, 0.25]]).double().log(), 1.0, 4)
    head = 0.5 * log(0.5 / 0.3) + 0.25 * log(0.25 / 0.4)
    expected = {
        "bucket": head + 0.25 * log(0.25 / 0.3),
        "renormalise": 2 / 3 * log(2 / 3 / 0.3) + 1 / 3 * log(1 / 3 / 0.4),
        "smear": head + 0.125 * log(0.125 / 0.2) + 0.125 * log(0.125 / 0.1),
    }
    assert {tail: topk_kl(student, teacher, tail=tail).item() for tail in TAILS} == pytest.approx(expected)


def test_the_bucket_is_below_the_full_divergence_and_nears_it():
    student, teacher = drawn(1, 50, 9), drawn(2, 50, 9)
    values = torch.stack([topk_kl(student, best(teacher, k)) for k in range(1, 9)])
    full = kl_rows(student, teacher)
    assert (values >= -1e-12).all() and (values.diff(dim=0) >= -1e-12).all()
    # With all but one word the bucket holds one word: nothing is lost.
    torch.testing.assert_close(values[-1], full)
    assert (topk_kl(teacher, best(teacher, 3)).abs() < 1e-12).all()


@each_tail
def test_a_divergence_from_the_distribution_that_it_means(tail):
    student, teacher = drawn(3, 5, 9), drawn(4, 5, 9)
    cached = best(teacher, 4)
    meant = torch.zeros(5, 9, dtype=torch.float64).scatter(-1, cached.idx, cached.logp.exp())
    if tail == "renormalise":
        meant = meant / meant.sum(-1, keepdim=True)
    if tail == "smear":
        meant = torch.where(meant == 0, (1 - meant.sum(-1, keepdim=True)) / 5, meant)
    if tail != "bucket":
        torch.testing.assert_close(topk_kl(student, cached, tail=tail), kl_rows(student, meant.log()))
    assert torch.autograd.gradcheck(lambda z: topk_kl(z, cached, tail=tail), (student.requires_grad_(),))


@each_tail
def test_places_not_used_change_nothing(tail):
    student, teacher = drawn(5, 4, 9), drawn(6, 4, 9)
    short = best(teacher, 3)
    padding = torch.full((4, 2), float("-inf"), dtype=torch.float64)
    for filler in (0, -1):
        long = TopK(
            torch.cat([short.idx, torch.full((4, 2), filler)], -1), torch.cat([short.logp, padding], -1), 1.0, 9
        )
        found = topk_kl(student.requires_grad_(), long, tail=tail)
        torch.testing.assert_close(found, topk_kl(student, short, tail=tail))
        (gradient,) = torch.autograd.grad(found.sum(), student)
        wanted = torch.autograd.grad(topk_kl(student, short, tail=tail).sum(), student)[0]
        torch.testing.assert_close(gradient, wanted)


@each_tail
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extreme_students_and_rounded_teachers_stay_finite(tail, dtype):
    student = torch.tensor([[1e4, -1e4, 0.0, 0.0], [-1e4, 1e4, 0.0, 0.0]], dtype=dtype).requires_grad_()
    # Half precision, and together a little more than 1: nothing is left for the tail.
    logp = torch.tensor([0.8, 0.2005]).log().half().expand(2, -1)
    values = topk_kl(student, TopK(torch.tensor([[0, 1], [0, 1]], dtype=torch.int32), logp, 1.0, 4), tail=tail)
    values.sum().backward()
    assert values.isfinite().all() and (values > 1e3).all() and student.grad.isfinite().all()


def test_a_student_that_is_sure_of_the_best_keeps_a_gradient_in_the_tail():
    student = torch.tensor([[30.0, 0.0, -1.0]]).requires_grad_()
    teacher = TopK(torch.tensor([[0]]), torch.tensor([[0.9]]).log(), 1.0, 3)
    topk_kl(student, teacher).sum().backward()
    # The tail's gradient is (its mass under the student, 0, minus 0.1) shared as the student shares it.
    share = torch.tensor([0.0, -1.0]).softmax(-1)
    torch.testing.assert_close(student.grad[0, 1:], -0.1 * share, rtol=1e-4, atol=1e-6)


def test_the_stored_temperature_is_the_one_used_and_the_mass_is_logged():
    batch = batches.topk(temperature=2.0)
    stack = LossStack([TopkKl(weight=0.5)], batch)
    assert stack.counts(batch.labels).keys() == {"topk_kl", "topk_kl.topk_mass"}
    total = stack(batch, stack.counts(batch.labels))
    where = batch.labels.masks["response"]
    expected = topk_kl(batch.student.logits[where], batch.teacher.logits[where])
    assert total.sums["topk_kl"].item() == pytest.approx(expected.sum().item())
    assert total.value.item() == pytest.approx(0.5 * expected.mean().item())
    held = batch.teacher.logits.logp[where].exp().sum().item()
    assert total.sums["topk_kl.topk_mass"].item() == pytest.approx(held)
    assert total.weights == {"topk_kl": 0.5, "topk_kl.topk_mass": 0.0}


def test_full_teachers_and_other_vocabularies_are_refused():
    with pytest.raises(ValueError, match="full logits, which are for token_kl"):
        TopkKl().terms(batches.tokens())
    batch = batches.topk()
    wrong = replace(batch.teacher.logits, classes=99)
    with pytest.raises(ValueError, match="student has 11 classes, the teacher 99"):
        TopkKl().terms(replace(batch, teachers=(Output(logits=wrong),)))
