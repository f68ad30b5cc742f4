import math
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from potstill.models.losses import diagnostics
from potstill.models.losses.diagnostics import diagnosis
from potstill.models.losses.logits import Hidden, TopK
from potstill.models.losses.loss import Batch, Labels, Output
from tests.models.losses import batches


def of(student, teacher, target=None):
    return Batch(Output(logits=student), Labels(2, target), (Output(logits=teacher),))


def near(x):
    return pytest.approx(x, abs=1e-6)


def means(batch):
    return {name: (x[0] / x[1]).item() for name, x in diagnosis(batch).items()}


def test_numbers_by_hand():
    student = torch.tensor([[0.0, 0.0], [math.log(3.0), 0.0]])
    teacher = torch.tensor([[math.log(3.0), 0.0], [0.0, math.log(3.0)]])
    found = means(of(student, teacher, torch.tensor([0, -100])))  # a row without a label is taught all the same
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    first = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    second = 0.25 * math.log(0.25 / 0.75) + 0.75 * math.log(0.75 / 0.25)
    assert found == {
        "teacher_entropy": near(entropy),
        "student_entropy": near((math.log(2) + entropy) / 2),
        "agree@1": 0.5,
        "kl_T1": near((first + second) / 2),
    }


def test_of_tokens_those_with_a_target_count_and_chunks_change_nothing(monkeypatch):
    batch = batches.tokens(dtype=torch.float32)
    found = diagnosis(batch)
    valid = batch.labels.target != -100
    assert found["kl_T1"][1] == valid.sum()
    picked = of(batch.student.logits[valid], batch.teacher.logits[valid])
    for name, x in diagnosis(picked).items():
        assert_close(found[name], x)
    monkeypatch.setattr(diagnostics, "NUMBERS", batches.WORDS * 3)
    for name, x in diagnosis(batch).items():
        assert_close(found[name], x)
        assert not x.requires_grad


def test_a_head_gives_what_its_logits_give():
    g = torch.Generator().manual_seed(0)
    hidden, weight, teacher = (torch.randn(*shape, generator=g) for shape in ((2, 3, 4), (5, 4), (2, 3, 5)))
    target = torch.tensor([[-100, 1, 2], [0, -100, 3]])
    head, plain = of(Hidden(hidden, weight), teacher, target), of(hidden @ weight.T, teacher, target)
    for name, x in diagnosis(plain).items():
        assert_close(diagnosis(head)[name], x)


def test_of_stored_classes_the_mass_and_the_best_one():
    student = torch.tensor([[0.0, 2.0, 1.0], [5.0, 0.0, 0.0]])
    idx, logp = torch.tensor([[2, 1], [1, 2]]), torch.tensor([[0.2, 0.7], [0.6, 0.3]]).log()
    assert means(of(student, TopK(idx, logp, 1.0, 3))) == {"agree@1": 0.5, "topk_mass": near(0.9)}


def test_nothing_is_said_without_one_teacher_over_the_same_classes():
    batch = batches.classes(teachers=2)
    assert diagnosis(batch) == {}
    assert diagnosis(replace(batch, teachers=())) == {}
    assert diagnosis(of(torch.zeros(2, 3), torch.zeros(2, 4))) == {}
    assert diagnosis(batches.pairs()) == {}


def test_no_target_at_all_counts_nothing():
    batch = of(torch.zeros(1, 2, 3), torch.zeros(1, 2, 3), torch.full((1, 2), -100))
    assert diagnosis(batch)["kl_T1"].tolist() == [0, 0]
