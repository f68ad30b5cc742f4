"""LLaVA-KD is its three losses, each divided by its own count."""

import pytest
import torch

from potstill.models.losses.gram_relation import GramRelation
from potstill.models.losses.llava_kd import LlavaKd
from potstill.models.losses.stack import LossStack
from potstill.models.losses.token_kl import TokenKl
from tests.models.losses import batches


@pytest.mark.parametrize("divergence", ["forward", "reverse"])
def test_the_total_is_that_of_three_losses_with_the_weights_of_the_paper(divergence):
    batch = batches.tokens()
    batch.labels.masks["vision"][0] = False
    one = LossStack([LlavaKd(divergence=divergence)], batch)
    three = LossStack(
        [
            TokenKl(name="words", divergence=divergence, mask="response"),
            TokenKl(name="places", divergence=divergence, mask="vision"),
            GramRelation(weight=0.5),
        ],
        batch,
    )
    total = one(batch, one.counts(batch.labels))
    assert total.value.item() == pytest.approx(three(batch, three.counts(batch.labels)).value.item())
    assert total.weights == {"llava_kd.response": 1.0, "llava_kd.visual": 1.0, "llava_kd.relation": 0.5}
    words = batch.labels.masks["response"].sum().item()
    assert one.counts(batch.labels) == {
        "llava_kd.response": words, "llava_kd.visual": 10.0, "llava_kd.relation": 5.0
    }  # fmt: skip


def test_a_mask_narrows_all_three_and_masks_have_other_names():
    batch = batches.tokens()
    masks = batch.labels.masks
    masks |= {"answer": masks["response"], "view": masks["vision"], "first": torch.zeros_like(masks["vision"])}
    masks["first"][0] = True
    loss = LlavaKd(response="answer", vision="view", mask="first")
    assert loss.counts(batch.labels) == {
        "llava_kd.response": masks["response"][0].sum().item(), "llava_kd.visual": 2.0, "llava_kd.relation": 1.0
    }  # fmt: skip
    with pytest.raises(ValueError, match="no mask 'picture'"):
        LlavaKd(vision="picture").counts(batch.labels)
