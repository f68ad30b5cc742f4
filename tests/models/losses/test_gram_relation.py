"""Relations of places: by hand, from heads without logits, and which rows count."""

from dataclasses import replace

import pytest
import torch

from potstill.models.losses.gram_relation import GramRelation, gram, inner, relation
from potstill.models.losses.logits import Hidden, TopK
from potstill.models.losses.loss import Output
from tests.models.losses import batches


def test_two_places_by_hand():
    student, teacher = torch.eye(2).double(), torch.tensor([[1.0, 0.0], [1.0, 0.0]]).double()
    # [[1, 0], [0, 1]] and [[1, 1], [1, 1]]: 2 / (sqrt 2 * 2).
    assert relation(gram(student), gram(teacher)).item() == pytest.approx(1 - 1 / 2**0.5)
    assert relation(gram(3 * student), gram(student)).item() == pytest.approx(0)
    assert relation(gram(student), gram(torch.zeros(2, 5))).item() == 1


@pytest.mark.parametrize("bias", [False, True])
def test_a_head_gives_the_gram_matrix_of_its_logits_without_them(bias):
    h, weight, b = (torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in ((5, 3), (40, 3), (40,)))
    hidden = Hidden(h, weight, b if bias else None)
    found, wanted = gram(hidden, inner(hidden)), gram(hidden.dense())
    torch.testing.assert_close(found, wanted)
    factor, leaves = torch.randn(5, 5, dtype=torch.float64), [h, weight, b][: 2 + bias]
    gradients = (torch.autograd.grad((factor * x).sum(), leaves) for x in (found, wanted))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_turning_the_vocabulary_changes_nothing_and_rows_without_a_picture_do_not_count():
    batch = batches.tokens()
    turn = torch.linalg.qr(torch.randn(batches.WORDS, batches.WORDS, dtype=torch.float64))[0]
    turned = replace(batch, teachers=(Output(logits=2 * batch.student.logits @ turn),))
    assert GramRelation().terms(turned)[""].abs() < 1e-12
    batch.labels.masks["vision"][1:3] = False
    loss = GramRelation()
    assert loss.count(batch.labels) == 4
    rows = [relation(gram(batch.student.logits[i, :2]), gram(batch.teacher.logits[i, :2])).item() for i in (0, 3, 4, 5)]
    assert loss.terms(batch)[""].item() == pytest.approx(sum(rows))


def test_heads_of_both_models_agree_with_their_logits():
    batch = batches.tokens()
    shapes = ((batches.ROWS, batches.LENGTH, 3), (batches.WORDS, 3))
    own, other = (Hidden(*(torch.randn(*shape, dtype=torch.float64) for shape in shapes)) for _ in range(2))
    lazy = replace(batch, student=Output(logits=own), teachers=(Output(logits=other),))
    there = replace(batch, student=Output(logits=own.dense()), teachers=(Output(logits=other.dense()),))
    assert GramRelation().terms(lazy)[""].item() == pytest.approx(GramRelation().terms(there)[""].item())
    batch.labels.masks["vision"][:] = False
    own.h.requires_grad_()
    assert GramRelation().terms(lazy)[""] == 0 and GramRelation().terms(lazy)[""].requires_grad


def test_what_cannot_be_compared_is_refused():
    batch = batches.tokens()
    with pytest.raises(ValueError, match=r"no mask 'view' \(there are: response, vision\)"):
        GramRelation(places="view").terms(batch)
    logp, idx = batch.student.logits.log_softmax(-1).topk(3)
    with pytest.raises(ValueError, match="all logits of the teacher, not its best 3"):
        GramRelation().terms(replace(batch, teachers=(Output(logits=TopK(idx, logp, 1.0, batches.WORDS)),)))
