"""Distillation of words: what the settings select, which words count, clear errors."""

import pytest
import torch
from pydantic import ValidationError

from potstill.models.losses import divergences
from potstill.models.losses.logits import Hidden, TopK
from potstill.models.losses.loss import Output
from potstill.models.losses.numerics import log_probs
from potstill.models.losses.stack import LossStack
from potstill.models.losses.token_kl import TokenKl
from tests.models.losses import batches


def both(batch, mask, temperature=1.0):
    return (log_probs(x.logits[batch.labels.masks[mask]], temperature) for x in (batch.student, batch.teacher))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, divergences.forward_kl),
        ({"divergence": "reverse"}, divergences.reverse_kl),
        ({"divergence": "jsd", "teacher_mix": 0.1}, lambda s, t: divergences.jsd(s, t, teacher_mix=0.1)),
        ({"divergence": "skewed_forward", "skew": 0.3}, lambda s, t: divergences.skewed_forward(s, t, skew=0.3)),
        ({"divergence": "skewed_reverse", "skew": 0.3}, lambda s, t: divergences.skewed_reverse(s, t, skew=0.3)),
        ({"divergence": "adaptive", "mu": 0.3}, lambda s, t: divergences.adaptive_kl(s, t, mu=0.3)),
        ({"divergence": "tvd"}, divergences.tvd),
    ],
)
@pytest.mark.parametrize("mask", ["response", "vision"])
def test_settings_reach_their_function_over_the_words_that_count(settings, expected, mask):
    batch = batches.tokens()
    loss = TokenKl(**settings, mask=None if mask == "response" else mask)
    assert loss.terms(batch)[""].item() == pytest.approx(expected(*both(batch, mask)).sum().item())
    assert loss.count(batch.labels) == batch.labels.masks[mask].sum()


def test_the_square_of_the_temperature_is_asked_for():
    batch = batches.tokens()
    plain, squared = (TokenKl(temperature=3, t_squared=x).terms(batch)[""].item() for x in (False, True))
    assert plain == pytest.approx(divergences.forward_kl(*both(batch, "response", 3.0)).sum().item())
    assert squared == pytest.approx(9 * plain)


def test_without_a_mask_words_are_needed():
    batch = batches.tokens()
    assert "target" in TokenKl().needs() and "target" not in TokenKl(mask="vision").needs()
    object.__setattr__(batch.labels, "target", None)
    LossStack([TokenKl(mask="vision")], batch)
    with pytest.raises(ValueError, match="'token_kl' needs target"):
        LossStack([TokenKl()], batch)


def test_a_stack_takes_heads_of_both_models():
    batch = batches.tokens()
    h, weight = (torch.randn(*shape, requires_grad=True) for shape in ((batches.ROWS, batches.LENGTH, 3), (11, 3)))
    hidden = Hidden(h, weight, None)
    object.__setattr__(batch, "student", Output(logits=hidden))
    object.__setattr__(batch, "teachers", (Output(logits=Hidden(h.tanh(), weight)),))
    stack = LossStack([TokenKl()], batch)
    total = stack(batch, stack.counts(batch.labels))
    total.value.backward()
    assert total.value > 0 and h.grad.any() and weight.grad.any()
    assert not h.grad[~batch.labels.masks["response"]].any()


def test_other_vocabularies_and_other_teachers_are_refused():
    batch = batches.tokens()
    object.__setattr__(batch, "teachers", (Output(logits=torch.zeros(batches.ROWS, batches.LENGTH, 12)),))
    with pytest.raises(ValueError, match="token_kl: the student has 11 classes, the teacher 12"):
        TokenKl().terms(batch)
    logp, idx = batch.student.logits.log_softmax(-1).topk(3)
    object.__setattr__(batch, "teachers", (Output(logits=TopK(idx, logp, 1.0, 11)),))
    with pytest.raises(ValueError, match="best 3 classes are for topk_kl"):
        TokenKl().terms(batch)


@pytest.mark.parametrize(
    "settings",
    [{"teacher_mix": 0}, {"teacher_mix": 1}, {"skew": 0}, {"mu": 1}, {"temperature": 0}, {"divergence": "x"}],
)
def test_settings_out_of_bounds(settings):
    with pytest.raises(ValidationError):
        TokenKl(**settings)
