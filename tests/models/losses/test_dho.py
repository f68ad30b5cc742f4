"""Two heads: who learns from what, and what they say together."""

from dataclasses import replace

import pytest
import torch

from potstill.models.losses.cross_entropy import cross_entropy
from potstill.models.losses.dho import Dho, blend
from potstill.models.losses.kd import kd
from potstill.models.losses.stack import LossStack
from tests.models.losses import batches


def test_labels_teach_one_head_and_the_teacher_the_other():
    batch = batches.dual()
    stack = LossStack([Dho()], batch)
    counts = stack.counts(batch.labels)
    assert counts == {"dho.ce": 5.0, "dho.kd": 6.0}
    found = stack(batch, counts).value
    z, heads, t = batch.student.logits, batch.student.features["kd_logits"], batch.teacher.logits
    hard = cross_entropy(z[:-1], batch.labels.target[:-1]).mean()
    expected = hard + 2 * kd(heads, t, temperature=2).mean()
    assert found.item() == pytest.approx(expected.item())
    found.backward()
    assert not z.grad[-1].any() and z.grad[:-1].all(dim=1).all() and heads.grad.any(dim=1).all()


def test_two_means_of_equally_many_labelled_and_unlabelled_rows_are_twice_the_mean():
    batch = batches.dual()
    target = torch.tensor([1, -100, 2, -100, 0, -100])
    batch = replace(batch, labels=replace(batch.labels, target=target))
    stack = LossStack([Dho()], batch)
    found = stack(batch, stack.counts(batch.labels)).value
    rows = kd(batch.student.features["kd_logits"], batch.teacher.logits, temperature=2)
    hard = cross_entropy(batch.student.logits[::2], target[::2]).mean()
    assert found.item() == pytest.approx((hard + rows[::2].mean() + rows[1::2].mean()).item())


def test_weights_of_rows_and_masks():
    batch = batches.dual()
    marked = torch.tensor([True, True, False, False, False, True])
    weight = torch.tensor([1.0, 2.0, 9.0, 9.0, 9.0, 4.0])
    batch = replace(batch, labels=replace(batch.labels, weight=weight, masks={"marked": marked}))
    loss = Dho(mask="marked")
    assert loss.counts(batch.labels) == {"dho.ce": 3.0, "dho.kd": 7.0}
    terms = loss.terms(batch)
    hard = cross_entropy(batch.student.logits[:2], batch.labels.target[:2])
    assert terms["ce"].item() == pytest.approx((hard[0] + 2 * hard[1]).item())
    soft = kd(batch.student.features["kd_logits"], batch.teacher.logits, temperature=2)
    assert terms["kd"].item() == pytest.approx((soft[0] + 2 * soft[1] + 4 * soft[5]).item())


def test_a_batch_without_any_label_still_distils():
    batch = batches.dual()
    batch = replace(batch, labels=replace(batch.labels, target=torch.full((batches.ROWS,), -100)))
    stack = LossStack([Dho()], batch)
    total = stack(batch, stack.counts(batch.labels))
    total.value.backward()
    assert total.sums["dho.ce"] == 0 < total.value
    assert not batch.student.logits.grad.any()


def test_the_blend_by_hand():
    one, other = torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.9, 0.1]]).log()
    assert blend(one, other).tolist() == [pytest.approx([0.7, 0.3])]
    assert blend(one, other, alpha=0.25).tolist() == [pytest.approx([0.8, 0.2])]
    # At 2 the odds of 9 : 1 are 3 : 1.
    assert blend(one, other, alpha=0, beta=2).tolist() == [pytest.approx([0.75, 0.25])]
    extreme = blend(torch.tensor([[1e4, -1e4]]), torch.tensor([[-1e4, 1e4]]))
    assert extreme.tolist() == [[0.5, 0.5]]
