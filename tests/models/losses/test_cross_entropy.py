"""Cross-entropy of rows and of words."""

from dataclasses import replace
from math import log

import pytest
import torch
from torch.nn import functional

from potstill.models.losses.cross_entropy import CrossEntropy, cross_entropy
from tests.models.losses import batches


def test_two_classes_by_hand():
    logits = torch.tensor([[0.0, log(3)], [0.0, log(3)]]).double()
    assert cross_entropy(logits, torch.tensor([1, 0])).tolist() == pytest.approx([log(4 / 3), log(4)])
    soft = torch.tensor([[0.5, 0.5], [0.0, 1.0]])
    assert cross_entropy(logits, soft).tolist() == pytest.approx([(log(4 / 3) + log(4)) / 2, log(4 / 3)])
    smooth = cross_entropy(logits[:1], torch.tensor([1]), label_smoothing=0.2)
    assert smooth.item() == pytest.approx(0.9 * log(4 / 3) + 0.1 * log(4))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_words_count_where_they_have_a_target_and_masks_narrow_them(smoothing):
    batch = batches.tokens()
    logits, target = batch.student.logits, batch.labels.target
    loss = CrossEntropy(label_smoothing=smoothing)
    expected = functional.cross_entropy(
        logits.flatten(0, 1), target.flatten(), reduction="sum", label_smoothing=smoothing
    )
    assert loss.terms(batch)[""].item() == pytest.approx(expected.item())
    assert loss.count(batch.labels) == (target != -100).sum()
    last = torch.zeros_like(target, dtype=torch.bool)
    last[:, -1] = True
    some = replace(batch, labels=replace(batch.labels, masks={"last": last}))
    loss = CrossEntropy(mask="last", label_smoothing=smoothing)
    expected = functional.cross_entropy(logits[:, -1], target[:, -1], reduction="sum", label_smoothing=smoothing)
    assert loss.terms(some)[""].item() == pytest.approx(expected.item()) and loss.count(some.labels) == batches.ROWS


def test_extreme_logits_are_finite():
    logits = torch.tensor([[1e4, -1e4], [-1e4, 1e4]], requires_grad=True)
    values = cross_entropy(logits, torch.tensor([0, 0]))
    values.sum().backward()
    assert values.tolist() == [0, 2e4] and logits.grad.tolist() == [[0, 0], [-1, 1]]
