"""Divergences of log-probabilities: worked by hand, where they agree, and classes that are ruled out."""

from functools import partial
from math import log

import pytest
import torch

from potstill.models.losses import divergences as d
from potstill.models.losses.numerics import log_probs

EACH = {
    "forward": d.forward_kl,
    "reverse": d.reverse_kl,
    "jsd": partial(d.jsd, teacher_mix=0.3),
    "skewed_forward": d.skewed_forward,
    "skewed_reverse": d.skewed_reverse,
    "adaptive": d.adaptive_kl,
    "tvd": d.tvd,
}
HALF, QUARTER = torch.tensor([[0.5, 0.5]]).double().log(), torch.tensor([[0.25, 0.75]]).double().log()
every = pytest.mark.parametrize("kind", EACH)


def drawn(seed, *shape, scale=3.0):
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_two_words_by_hand():
    def kl(p, q):
        return sum(a * log(a / b) for a, b in zip(p, q, strict=True))

    s, t = (0.5, 0.5), (0.25, 0.75)
    mean = [0.3 * b + 0.7 * a for a, b in zip(s, t, strict=True)]
    near_t, near_s = [[0.1 * a + 0.9 * b for a, b in zip(x, y, strict=True)] for x, y in ((t, s), (s, t))]
    expected = {
        "forward": 0.25 * log(1 / 2) + 0.75 * log(3 / 2),
        "reverse": 0.5 * log(2) + 0.5 * log(2 / 3),
        "jsd": 0.3 * kl(t, mean) + 0.7 * kl(s, mean),
        "skewed_forward": kl(t, near_t),
        "skewed_reverse": kl(s, near_s),
        "tvd": 0.25,
    }
    found = {kind: EACH[kind](HALF, QUARTER).item() for kind in expected}
    assert found == pytest.approx(expected)


def test_adaptive_by_hand():
    s, t = (torch.tensor([x]).double().log() for x in ([0.4, 0.3, 0.3], [0.7, 0.1, 0.2]))
    # The two least likely hold 0.3, at most mu: the tail, 0.2 + 0.1 apart. The head is 0.3 apart: half each.
    expected = (d.forward_kl(s, t) + d.reverse_kl(s, t)) / 2
    assert d.adaptive_kl(s, t, mu=0.5).item() == pytest.approx(expected.item())
    # With mu = 0.2 only 0.1 is tail: 0.2 of 0.6 apart.
    expected = (4 * d.forward_kl(s, t) + 2 * d.reverse_kl(s, t)) / 6
    assert d.adaptive_kl(s, t, mu=0.2).item() == pytest.approx(expected.item())


@every
def test_equal_distributions_are_at_0_and_others_above(kind):
    z, other = drawn(1, 200, 7), drawn(2, 200, 7)
    assert EACH[kind](log_probs(z), log_probs(z)).abs().max() < 1e-12
    assert EACH[kind](log_probs(z), log_probs(other)).min() > 0
    shifted = EACH[kind](log_probs(z + 3), log_probs(other - 5))
    torch.testing.assert_close(shifted, EACH[kind](log_probs(z), log_probs(other)))


@pytest.mark.parametrize("kind", [kind for kind in EACH if kind != "adaptive"])
def test_the_gradient_is_that_of_the_value(kind):
    z, other = drawn(3, 4, 5).requires_grad_(), log_probs(drawn(4, 4, 5))
    assert torch.autograd.gradcheck(lambda z: EACH[kind](log_probs(z), other), (z,))


def test_the_share_of_adaptive_has_no_gradient():
    z, other = drawn(3, 1, 5).requires_grad_(), log_probs(drawn(4, 1, 5))
    f, r = d.forward_kl(log_probs(z), other), d.reverse_kl(log_probs(z), other)
    share = ((d.adaptive_kl(log_probs(z), other) - r) / (f - r)).item()
    (expected,) = torch.autograd.grad(share * f + (1 - share) * r, z)
    (found,) = torch.autograd.grad(d.adaptive_kl(log_probs(z), other), z)
    torch.testing.assert_close(found, expected)


def test_jsd_is_mirrored_and_goes_to_0_at_its_ends_unlike_the_two_divergences():
    s, t = log_probs(drawn(5, 9, 6)), log_probs(drawn(6, 9, 6))
    torch.testing.assert_close(d.jsd(s, t, teacher_mix=0.2), d.jsd(t, s, teacher_mix=0.8))
    assert d.jsd(s, t, teacher_mix=1e-9).max() < 1e-6
    # Divided by the small share, the ends are the divergences that TRL puts there.
    torch.testing.assert_close(d.jsd(s, t, teacher_mix=1e-9) / 1e-9, d.forward_kl(s, t), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(d.skewed_forward(s, t, skew=1e-12), d.forward_kl(s, t), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(d.skewed_reverse(s, t), d.skewed_forward(t, s))
    assert d.skewed_forward(s, t, skew=0.1).max() < log(10) and d.jsd(s, t).max() < log(2)


@every
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extreme_logits_are_finite_in_value_and_gradient(kind, dtype):
    z = torch.tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, 5.0]], dtype=dtype).requires_grad_()
    other = torch.tensor([[-1e4, 1e4, 0.0], [-1e4, 1e4, 5.0]], dtype=dtype)
    values = EACH[kind](log_probs(z), log_probs(other))
    values.sum().backward()
    assert values.isfinite().all() and z.grad.isfinite().all()
    assert values[1].abs() < 1e-6 and values[0] > 0.6


@every
@pytest.mark.parametrize("student_too", [False, True])
def test_a_class_that_the_teacher_rules_out_gives_no_nan(kind, student_too):
    other = drawn(7, 3, 6)
    other[:, 4:] = float("-inf")
    z = drawn(8, 3, 6)
    if student_too:
        z[:, 4:] = float("-inf")
    z.requires_grad_()
    values = EACH[kind](log_probs(z), log_probs(other))
    values.sum().backward()
    assert values.isfinite().all() and (values > 0).all() and z.grad.isfinite().all()
    if student_too:
        torch.testing.assert_close(values, EACH[kind](log_probs(z[:, :4]), log_probs(other[:, :4])))
    else:
        assert (z.grad[:, 4:] > 0).all(), "a step makes them less likely"


def test_the_reverse_divergence_grows_with_what_the_student_gives_to_ruled_out_classes():
    other = torch.tensor([[0.0, 0.0, float("-inf")]]).double().log_softmax(-1)
    give = [torch.tensor([[(1 - x) / 2, (1 - x) / 2, x]]).double().log() for x in (0.01, 0.3, 0.63, 0.9, 0.99)]
    values = torch.cat([d.reverse_kl(s, other) for s in give])
    assert (values.diff() > 0).all() and values[0] > 0
