"""Distillation on logits by hand."""

import math
from dataclasses import replace

import pytest
import torch

from potstill.models.losses.dist import Dist
from potstill.models.losses.dkd import Dkd
from potstill.models.losses.ensemble import Ensemble
from potstill.models.losses.kd import Kd, kd
from potstill.models.losses.logits import TopK
from potstill.models.losses.loss import Output
from potstill.models.losses.mlkd import Mlkd
from potstill.models.losses.multi_aspect_bce import MultiAspectBce
from tests.models.losses import batches


def test_two_classes_by_hand():
    # The teacher says 3/4, 1/4 and the student 1/2, 1/2: 3/4 ln 3/2 + 1/4 ln 1/2.
    student, teacher = torch.zeros(1, 2), torch.tensor([[math.log(3), 0.0]])
    expected = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert kd(student, teacher, temperature=1).item() == pytest.approx(expected)
    assert kd(student, 2 * teacher, temperature=2).item() == pytest.approx(4 * expected)
    assert kd(student, 2 * teacher, temperature=2, t_squared=False).item() == pytest.approx(expected)


@pytest.mark.parametrize("standardise", [False, True])
def test_equal_logits_give_0_and_a_constant_changes_nothing(standardise):
    batch = batches.classes()
    z, t = batch.student.logits, batch.teacher.logits
    assert kd(z, z, standardise=standardise).abs().max() < 1e-12
    shifted = kd(z + 5, t - 7, standardise=standardise)
    torch.testing.assert_close(shifted, kd(z, t, standardise=standardise))
    assert (shifted > 0).all()


@pytest.mark.parametrize("standardise", [False, True])
def test_extreme_logits_and_classes_ruled_out_stay_finite(standardise):
    student = torch.tensor([[1e4, -1e4, 0.0], [0.0, 0.0, 0.0]], requires_grad=True)
    teacher = torch.tensor([[-1e4, 1e4, 0.0], [2.0, 1.0, float("-inf")]])
    values = kd(student, teacher, standardise=standardise)
    values.sum().backward()
    assert values.isfinite().all() and student.grad.isfinite().all()


def test_standardised_logits_may_have_another_range():
    batch = batches.classes()
    z = batch.student.logits
    batch = batches.with_leaves(batch, {"logits": 3 * batch.teacher.logits.detach() + 1})
    assert Kd(standardise=True).terms(batch)[""] < 1e-10 < Kd().terms(batch)[""]
    assert Kd(standardise=True).terms(batches.with_leaves(batch, {"logits": z}))[""] > 1e-3


@pytest.mark.parametrize("loss", [Kd(), Kd(standardise=True), Dkd(), Dist(), Mlkd(), Ensemble(), MultiAspectBce()])
def test_a_teachers_cached_best_classes_are_not_all_logits(loss):
    batch = batches.classes()
    best = TopK(torch.zeros(batches.ROWS, 2, dtype=torch.long), torch.zeros(batches.ROWS, 2), 4.0, batches.CLASSES)
    with pytest.raises(ValueError, match="wants all logits, and these are TopK; topk_kl takes"):
        loss.terms(replace(batch, teachers=(Output(logits=best),)))
