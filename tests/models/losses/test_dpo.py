"""DPO by hand, its gradient, and labels that may be wrong."""

from math import exp, log

import pytest
import torch
from pydantic import ValidationError

from potstill.models.losses.dpo import Dpo, dpo
from potstill.models.losses.stack import LossStack
from tests.models.losses import batches


def test_pairs_by_hand():
    chosen, rejected = torch.tensor([2.0, 0.0]).double(), torch.tensor([-8.0, 5.0]).double()
    expected = [log(1 + exp(-1)), log(1 + exp(0.5))]
    assert dpo(chosen, rejected).tolist() == pytest.approx(expected)
    smooth = [0.9 * log(1 + exp(-1)) + 0.1 * log(1 + exp(1)), 0.9 * log(1 + exp(0.5)) + 0.1 * log(1 + exp(-0.5))]
    assert dpo(chosen, rejected, label_smoothing=0.1).tolist() == pytest.approx(smooth)


def test_the_reference_itself_is_at_log_2_and_extremes_are_finite():
    batch = batches.tokens()
    object.__setattr__(batch, "teachers", (batch.student,))
    stack = LossStack([Dpo()], batch)
    assert stack.counts(batch.labels) == {"dpo": 3.0}
    assert stack(batch, {"dpo": 3.0}).value.item() == pytest.approx(log(2))
    far = torch.tensor([1e4, -1e4], requires_grad=True)
    dpo(far, -far, beta=1.0).sum().backward()
    assert far.grad.tolist() == [0, -2]


def test_a_step_makes_the_chosen_likelier():
    batch = batches.tokens()
    Dpo().terms(batch)[""].backward()
    gradient, target, where = batch.student.logits.grad, batch.labels.target, batch.labels.masks["response"]
    of_words = gradient.gather(-1, target.clamp(min=0)[..., None])[..., 0]
    assert (of_words[:3][where[:3]] < 0).all() and (of_words[3:][where[3:]] > 0).all()
    assert not gradient[~where].any()


@pytest.mark.parametrize("settings", [{"beta": 0}, {"label_smoothing": 0.5}, {"reference": "none"}])
def test_settings_out_of_bounds(settings):
    with pytest.raises(ValidationError):
        Dpo(**settings)
