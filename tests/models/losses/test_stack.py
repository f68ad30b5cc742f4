"""The weighted sum: weights and schedules, counts of several micro-batches, names."""

import pytest
import torch
from pydantic import ValidationError

from potstill.models.losses.cross_entropy import CrossEntropy, cross_entropy
from potstill.models.losses.kd import Kd, kd
from potstill.models.losses.schedule import Progress, Schedule
from potstill.models.losses.stack import LossStack
from tests.models.losses import batches


def test_the_total_is_the_weighted_sum_of_means():
    batch = batches.classes()
    stack = LossStack([CrossEntropy(weight=0.1), Kd(weight=0.9)], batch)
    total = stack(batch, stack.counts(batch.labels))
    z, t, y = batch.student.logits, batch.teacher.logits, batch.labels.target
    expected = 0.1 * cross_entropy(z[:-1], y[:-1]).mean() + 0.9 * kd(z, t).mean()
    assert total.value.item() == pytest.approx(expected.item())
    assert total.weights == {"cross_entropy": 0.1, "kd": 0.9}


def test_two_ragged_micro_batches_give_the_mean_over_both():
    one, two = batches.classes(seed=1), batches.classes(seed=2, rows=3)
    stack = LossStack([CrossEntropy()], one)
    counts = {"cross_entropy": sum(stack.counts(b.labels)["cross_entropy"] for b in (one, two))}
    assert counts == {"cross_entropy": 7.0}
    total = sum(stack(b, counts).value.item() for b in (one, two))
    rows = torch.cat([cross_entropy(b.student.logits[:-1], b.labels.target[:-1]) for b in (one, two)])
    assert total == pytest.approx(rows.mean().item())


def test_a_weight_of_zero_is_not_computed_and_log_only_trains_nothing():
    batch = batches.classes(teachers=0)
    with_teacher = batches.classes()
    stack = LossStack([CrossEntropy(), Kd(weight=Schedule(kind="piecewise", value=0, end=1, length=3))], with_teacher)
    total = stack(batch, stack.counts(batch.labels))
    assert set(total.sums) == {"cross_entropy"}
    stack = LossStack([CrossEntropy(weight=0.5, log_only=True)], batch)
    total = stack(batch, stack.counts(batch.labels))
    assert total.value == 0 and total.sums["cross_entropy"] > 0 and not total.value.requires_grad


def test_a_row_without_a_label_counts_nowhere_that_labels_are_needed():
    batch = batches.classes()
    batch.labels.masks["all"] = torch.ones(batches.ROWS, dtype=torch.bool)
    stack = LossStack([CrossEntropy(mask="all"), Kd(mask="all")], batch)
    assert stack.counts(batch.labels) == {"cross_entropy": 5.0, "kd": 6.0}
    assert stack(batch, stack.counts(batch.labels)).value.isfinite()


def test_words_without_a_target_count_nowhere_and_a_mask_of_rows_is_one_of_their_words():
    labels = batches.tokens().labels
    answers, loss = labels.masks["response"], CrossEntropy()
    assert torch.equal(loss.valid(labels), answers) and loss.count(labels) == answers.sum()
    labels.masks["odd"] = torch.arange(batches.ROWS) % 2 == 1
    some = CrossEntropy(mask="odd").valid(labels)
    assert torch.equal(some[1::2], answers[1::2]) and not some[::2].any()


def test_a_loss_of_weight_zero_wants_nothing():
    batch = batches.classes(teachers=0)
    stack = LossStack([CrossEntropy(), Kd(weight=0)], batch)
    assert set(stack(batch, stack.counts(batch.labels)).sums) == {"cross_entropy"}


def test_weights_of_rows_are_counted():
    batch = batches.classes()
    object.__setattr__(batch.labels, "weight", torch.tensor([1.0, 0, 0, 0, 3.0, 9.0]))
    stack = LossStack([CrossEntropy()], batch)
    assert stack.counts(batch.labels) == {"cross_entropy": 4.0}
    rows = cross_entropy(batch.student.logits[:-1], batch.labels.target[:-1])
    assert stack(batch, {"cross_entropy": 4.0}).value.item() == pytest.approx(((rows[0] + 3 * rows[4]) / 4).item())


def test_schedules_by_hand():
    warm = Schedule(kind="linear_warmup", value=8, unit="epoch", length=20)
    assert [warm.at(Progress(epoch=epoch)) for epoch in (1, 10, 20, 30)] == [0.4, 4.0, 8.0, 8.0]
    cosine = Schedule(kind="cosine", value=1, end=0.5, length=4)
    assert [cosine.at(Progress(step=step)) for step in (2, 4)] == pytest.approx([0.75, 0.5])
    assert [(cosine * 3).at(Progress(step=step)) for step in (2, 4)] == pytest.approx([2.25, 1.5])
    steps = Schedule(kind="piecewise", value=1, end=0, unit="sample", length=100)
    assert [steps.at(Progress(samples=samples)) for samples in (100, 101)] == [1, 0]


def test_names_are_clear_and_unknown_parts_refused():
    batch = batches.classes()
    with pytest.raises(ValueError, match="two losses are called kd"):
        LossStack([Kd(), Kd()], batch)
    LossStack([Kd(), Kd(name="kd.warm", temperature=8)], batch)
    with pytest.raises(ValidationError, match="has no parts"):
        Kd(weight={"tckd": 1.0})
    with pytest.raises(ValueError, match="no mask 'answer'"):
        LossStack([Kd(mask="answer")], batch).counts(batch.labels)
