"""Following a judge's scores: by hand, missing candidates, what it says of bad shapes."""

import math
from dataclasses import replace

import pytest
import torch

from potstill.models.losses.loss import Batch, Labels, Output
from potstill.models.losses.score_matching import ScoreMatching, score_matching
from tests.models.losses import batches


def test_two_candidates_by_hand():
    p, q = 1 / (1 + math.exp(-(1 - 0.6))), 1 / (1 + math.exp(-(0.9 - 0.2)))
    there = p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))
    back = q * math.log(q / p) + (1 - q) * math.log((1 - q) / (1 - p))
    query, candidates = torch.tensor([[2.0, 0]]), torch.tensor([[[1.0, 0], [3.0, 4.0]]])
    batch = Batch(Output(image=query, features={"candidates": candidates}), Labels(1),
                  (Output(logits=torch.tensor([[0.9, 0.2]])),))  # fmt: skip
    found = ScoreMatching(temperature=1).terms(batch)[""].item()
    assert found == pytest.approx((there + back) / 2, rel=1e-4)


def test_equal_distributions_are_at_rest_at_0_and_it_is_symmetric():
    g = torch.Generator().manual_seed(0)
    one, two = (torch.rand(3, 5, generator=g, dtype=torch.float64) for _ in range(2))
    torch.testing.assert_close(score_matching(one, two), score_matching(two, one))
    one.requires_grad_()
    same = score_matching(one, one.detach() + 0.3)
    same.sum().backward()
    assert same.abs().max() < 1e-12 and one.grad.abs().max() < 1e-12


def test_a_score_of_minus_infinity_is_no_candidate():
    g = torch.Generator().manual_seed(0)
    similarity = torch.rand(2, 5, generator=g, dtype=torch.float64, requires_grad=True)
    scores = torch.rand(2, 5, generator=g, dtype=torch.float64)
    scores[:, 3:] = float("-inf")
    value = score_matching(similarity, scores)
    torch.testing.assert_close(value, score_matching(similarity[:, :3], scores[:, :3]))
    value.sum().backward()
    assert similarity.grad.isfinite().all() and not similarity.grad[:, 3:].any()


def test_far_out_it_stays_finite():
    similarity = torch.tensor([[1.0, -1.0], [-1.0, 1.0]], requires_grad=True)
    values = score_matching(similarity, torch.tensor([[1e4, -1e4], [1e4, -1e4]]), temperature=1e-3)
    values.sum().backward()
    assert values.isfinite().all() and similarity.grad.isfinite().all()


def test_the_query_may_be_a_text_and_shapes_must_agree():
    batch = batches.candidates()
    text = replace(batch, student=replace(batch.student, image=None, text=batch.student.image))
    assert ScoreMatching(query="text").terms(text)[""] == ScoreMatching().terms(batch)[""]
    assert ScoreMatching(query="text").needs() == {"student.text", "student.features.candidates", "teacher.logits"}
    short = replace(batch, teachers=(Output(logits=batch.teacher.logits[:, :2]),))
    with pytest.raises(ValueError, match=r"candidates \(6, 4, 4\) and scores \(6, 2\) must agree"):
        ScoreMatching().terms(short)
