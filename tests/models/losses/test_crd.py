"""Contrast against a queue: the two terms by hand, the queue's order, groups, training and not."""

from dataclasses import replace
from math import log

import pytest
import torch
from torch.nn.functional import normalize

from potstill.models.losses.crd import Crd, relational
from tests.models.losses import batches


def built(batch, **how):
    torch.manual_seed(0)
    return Crd(student="pooled", teacher="pooled", **{"width": 8, "queue": 10} | how).build(batch).double()


def embedded(module, batch):
    student = module.student(batch.student.features["pooled"])
    return normalize(student), normalize(module.teacher(batch.teacher.features["pooled"]))


def test_distributions_by_hand():
    # The teacher has 3/4 and 1/4 at its temperature, the student 1/2 and 1/2.
    teacher, student = 0.1 * torch.tensor([[log(3.0), 0.0]]), torch.zeros(1, 2)
    how = {"student_temperature": 0.02, "teacher_temperature": 0.1}
    assert relational(student, teacher, **how).item() == pytest.approx(0.75 * log(1.5) + 0.25 * log(0.5))
    assert relational(teacher / 5, teacher, **how).item() == pytest.approx(0, abs=1e-7)


def test_both_terms_over_batch_and_queue_by_a_second_way():
    before, batch = batches.activations(seed=1), batches.activations(seed=2)
    module = built(before)
    module(before)
    columns = torch.cat([embedded(module, batch)[1], embedded(module, before)[1]])
    student, teacher = embedded(module, batch)
    target = (teacher @ columns.T / 0.1).softmax(1)
    divergence = (target * (target.log() - (student @ columns.T / 0.02).log_softmax(1))).sum(1).mean()
    told = torch.nn.functional.cross_entropy(student @ columns.T / 0.07, torch.arange(6))
    terms = module(batch)
    assert terms["relational"].item() == pytest.approx(divergence.item())
    assert terms["contrast"].item() == pytest.approx(told.item())


def test_the_queue_keeps_the_last_rows_in_training_alone():
    module, seen = built(batches.activations()), []
    for seed in range(3):
        batch = batches.activations(seed=seed, rows=4)
        seen.append(embedded(module, batch)[1])
        module(batch)
    rows = torch.cat(seen)
    torch.testing.assert_close(module.queue, torch.cat([rows[10:], rows[2:10]]))
    assert module.seen == 12 and not module.queue.requires_grad
    module.eval()
    module(batch)
    assert module.seen == 12
    large = built(batch, queue=3)
    large(batch)
    assert sorted(large.queue[:, 0].tolist()) == pytest.approx(sorted(embedded(large, batch)[1][1:, 0].tolist()))


def test_a_queue_that_is_saved_goes_on_where_it_was():
    first, second = batches.activations(seed=1), batches.activations(seed=2)
    module = built(first)
    module(first)
    other = built(first)
    other.load_state_dict(module.state_dict())
    assert {name: x.item() for name, x in module(second).items()} == {
        name: x.item() for name, x in other(second).items()
    }
    torch.testing.assert_close(module.queue, other.queue)


def test_rows_of_a_group_are_no_negatives_in_the_batch_and_in_the_queue():
    batch = batches.activations()
    one = replace(batch, labels=replace(batch.labels, group=torch.zeros(6, dtype=torch.int64)))
    module = built(batch)
    for _ in range(2):
        assert module(one)["contrast"].item() == 0
    assert module(batch)["contrast"] > 0


def test_both_projections_are_trained_and_the_teachers_not_without_contrast():
    batch = batches.activations()
    module = built(batch)
    sum(module(batch).values()).backward()
    assert all(weight.grad.any() for weight in module.parameters())
    frozen = built(batch, weight={"relational": 1.0, "contrast": 0.0})
    frozen(batch)["relational"].backward()
    assert [name for name, weight in frozen.named_parameters() if not weight.requires_grad] == [
        "teacher.weight",
        "teacher.bias",
    ]


def test_no_row_that_counts_gives_nothing_and_no_queue_works():
    batch = batches.activations()
    batch.labels.masks["none"] = torch.zeros(6, dtype=torch.bool)
    module = built(batch, mask="none", queue=0)
    terms = module(batch)
    sum(terms.values()).backward()
    assert [x.item() for x in terms.values()] == [0, 0] and module.seen == 0
    assert not any(weight.grad.any() for weight in module.parameters())
