"""Yes or no per aspect."""

import math
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from potstill.models.losses.loss import Output
from potstill.models.losses.multi_aspect_bce import MultiAspectBce, multi_aspect_bce
from potstill.models.losses.stack import LossStack
from tests.models.losses import batches

NAN = float("nan")


def test_hard_targets_by_hand_are_binary_cross_entropy():
    student, target = torch.tensor([[math.log(3), 0.0]]), torch.tensor([[1.0, 0.0]])
    assert multi_aspect_bce(student, target).item() == pytest.approx((math.log(4 / 3) + math.log(2)) / 2)


def test_soft_targets_have_the_gradient_of_binary_cross_entropy_and_0_where_right():
    batch = batches.classes()
    z, target = batch.student.logits, batch.teacher.logits.detach().sigmoid()
    torch.testing.assert_close(
        torch.autograd.grad(multi_aspect_bce(z, target).mean(), z)[0],
        torch.autograd.grad(binary_cross_entropy_with_logits(z, target), z)[0],
    )
    assert multi_aspect_bce(z, z.sigmoid()).abs().max() < 1e-12
    assert torch.autograd.grad(multi_aspect_bce(z, z.sigmoid()).sum(), z)[0].abs().max() < 1e-12
    assert (multi_aspect_bce(z, target) > 0).all()


def test_yes_and_no_may_be_exchanged_and_aspects_permuted():
    batch = batches.classes()
    z, target = batch.student.logits, batch.teacher.logits.sigmoid()
    expected = multi_aspect_bce(z, target)
    torch.testing.assert_close(multi_aspect_bce(-z, 1 - target), expected)
    torch.testing.assert_close(multi_aspect_bce(z.flip(-1), target.flip(-1)), expected)


def test_unknown_aspects_do_not_count():
    student = torch.tensor([[1.0, 2.0, -1.0], [0.0, 1.0, 2.0]], requires_grad=True)
    target = torch.tensor([[1.0, NAN, 0.0], [NAN, NAN, NAN]])
    values = multi_aspect_bce(student, target)
    values.sum().backward()
    assert values.tolist() == [
        pytest.approx(multi_aspect_bce(student[:1, [0, 2]], target[:1, [0, 2]]).item()), 0.0,
    ]  # fmt: skip
    assert student.grad[0, 1] == 0 and not student.grad[1].any() and student.grad[0, 0] < 0


def test_a_head_that_starts_at_zero_and_extreme_logits():
    student = torch.tensor([[0.0, 1e4, -1e4, 1e4]], requires_grad=True)
    value = multi_aspect_bce(student, torch.tensor([[1.0, 0.0, 1.0, 1.0]]))
    value.backward()
    assert value.item() == pytest.approx((2e4 + math.log(2)) / 4)
    assert student.grad.tolist() == [[-0.125, 0.25, -0.25, 0.0]]


def test_aspects_beside_classes_and_targets_of_labels():
    batch = batches.dual()
    heads = Output(features={"kd_logits": batch.teacher.logits})
    by_teacher = MultiAspectBce(feature="kd_logits")
    found = by_teacher.terms(replace(batch, teachers=(heads,)))[""]
    answers = heads.features["kd_logits"].detach().sigmoid()
    labelled = replace(batch, labels=replace(batch.labels, target=answers), teachers=())
    by_target = MultiAspectBce(feature="kd_logits", against="target")
    assert by_target.terms(labelled)[""].item() == pytest.approx(found.item())
    assert found.item() == pytest.approx(multi_aspect_bce(batch.student.features["kd_logits"], answers).sum().item())
    with pytest.raises(ValueError, match=r"multi_aspect_bce.*needs student\.features\.colours"):
        LossStack([MultiAspectBce(feature="colours", against="target")], labelled)
    with pytest.raises(ValueError, match="wants probabilities"):
        MultiAspectBce(against="target").terms(batch)
