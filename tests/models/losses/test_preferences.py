"""Pairs of answers: whose words are summed, which pairs count, where the reference comes from."""

from dataclasses import replace

import pytest
import torch

from potstill.models.losses.dpo import Dpo
from potstill.models.losses.logits import Hidden
from potstill.models.losses.loss import Output
from potstill.models.losses.preferences import answer_log_probs
from tests.models.losses import batches


def test_an_answer_is_the_sum_of_its_words():
    batch = batches.tokens()
    logits, target = batch.student.logits, batch.labels.target
    valid = batch.labels.masks["response"].clone()
    valid[2] = False
    found = answer_log_probs(logits, target, valid)
    logs = logits.log_softmax(-1)
    for row in range(batches.ROWS):
        words = [logs[row, i, target[row, i]] for i in range(batches.LENGTH) if valid[row, i]]
        assert found[row].item() == pytest.approx(sum(x.item() for x in words))


def test_a_head_gives_the_same_and_the_same_gradients():
    batch = batches.tokens()
    h, weight = (torch.randn(*s, dtype=torch.float64, requires_grad=True) for s in ((6, batches.LENGTH, 3), (11, 3)))
    hidden, loss = Hidden(h, weight), Dpo()
    lazy, there = (loss.terms(replace(batch, student=Output(logits=x)))[""] for x in (hidden, hidden.dense()))
    torch.testing.assert_close(lazy, there)
    for one, other in zip(*(torch.autograd.grad(x, (h, weight)) for x in (lazy, there)), strict=True):
        torch.testing.assert_close(one, other)


def test_pairs_count_where_both_have_words():
    labels = batches.tokens().labels
    labels.target[1] = -100
    labels.target[5] = -100
    assert Dpo().pairs(labels).tolist() == [True, False, False] and Dpo().count(labels) == 1
    weighted = replace(labels, weight=torch.tensor([0.5, 9, 9, 7, 7, 7]))
    assert Dpo().count(weighted) == 0.5


def test_a_stored_reference_is_that_of_the_teacher():
    batch = batches.tokens()
    labels = batch.labels
    stored = answer_log_probs(batch.teacher.logits, labels.target, labels.masks["response"]).detach()
    cached = replace(batch, teachers=(Output(features={"log_probs": stored}),))
    loss = Dpo(reference="stored")
    assert "teacher.features.log_probs" in loss.needs()
    torch.testing.assert_close(loss.terms(cached)[""], Dpo().terms(batch)[""])


def test_an_odd_number_of_rows_is_refused():
    with pytest.raises(ValueError, match="dpo: 5 rows are no pairs"):
        Dpo().count(batches.tokens(rows=5).labels)
