"""An open_clip model that eats bytes and tokens, and says all that losses ask for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from potstill.models.losses.loss import Output
from potstill.models.trainers.clip_network import Blueprint
from potstill.models.trainers.taps import taps

LARGEST = math.log(100)
"""Of the logarithm of a scale, as CLIP's; models with a bias (SigLIP) are free."""


class Towers(nn.Module):
    """An open_clip model from bytes and tokens. The factor and bias have one dimension, which FSDP wants."""

    def __init__(self, clip: Any, plan: Blueprint) -> None:
        super().__init__()
        self.clip, self.plan = clip, plan
        clip.logit_scale = nn.Parameter(clip.logit_scale.detach().reshape(1))
        if clip.logit_bias is not None:
            clip.logit_bias = nn.Parameter(clip.logit_bias.detach().reshape(1))
        for name in ("mean", "std"):
            self.register_buffer(name, torch.tensor(plan.preprocess[name])[:, None, None], persistent=False)

    @property
    def padding(self) -> int | None:
        """The token whose columns may be cut off, for a text tower that masks it."""
        config = getattr(getattr(self.clip, "text", None), "config", None)
        return None if config is None else config.pad_token_id

    def forward(self, pixels: Tensor | None, tokens: Sequence[Tensor]) -> tuple[Tensor | None, Sequence[Tensor]]:
        """Embeddings (B, D) of length 1: of bytes (B, 3, H, W), and of each of several texts (B, L)."""
        if self.clip.logit_bias is None:
            with torch.no_grad():
                self.clip.logit_scale.clamp_(0, LARGEST)
        image = None
        if pixels is not None:
            image = self.clip.encode_image((pixels.float() / 255 - self.mean) / self.std, normalize=True)
        if not tokens:
            return image, ()
        return image, self.clip.encode_text(torch.cat(list(tokens)), normalize=True).split(len(tokens[0]))

    def output(self, pixels: Tensor, tokens: Mapping[str, Tensor], inner: Sequence[str]) -> Output:
        """Everything that losses may ask for; ``inner`` are modules whose output is wanted as a feature."""
        with taps(self.clip, inner) as found:
            image, texts = self(pixels, list(tokens.values()))
        named = dict(zip(tokens, texts, strict=True))
        features = {name: x[: len(pixels)] for name, x in found.items()}  # the first text's rows come first
        bias = self.clip.logit_bias
        return Output(
            image=image, text=named.pop("text"), scale=self.clip.logit_scale.exp()[0],
            bias=None if bias is None else bias[0], features=features | named,
        )  # fmt: skip
