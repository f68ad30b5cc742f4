"""How the tokens of one request are drawn: exact sampling whose noise belongs to the request, not to the batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch

from potstill.models.engines.protocol import Sampling

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

Decode = Callable[[Sequence[int]], str]


class Draw:
    """One request while its tokens are drawn.

    The draw is the Gumbel-max form of the softmax (Gumbel 1954; Maddison et al. 2014, arXiv 1411.0030): the best of
    logit / temperature + noise. The noise of step t and token v comes from a generator of the request's own seed, on
    the CPU, so that neither the other rows of the batch nor the device change it.
    """

    def __init__(self, sampling: Sampling, room: int, eos: Sequence[int], decode: Decode) -> None:
        """``room`` is the most tokens that still fit in the context; ``eos`` are the tokens that end a reply."""
        self.sampling = sampling
        self.limit = min(sampling.max_tokens, room)
        self.eos = list(eos)
        self.decode = decode
        self.generator = torch.Generator().manual_seed(sampling.seed % 2**63)
        self.tokens: list[int] = []
        self.finish_reason: str | None = None
        self.token_logprobs: list[float] = []
        self.top_logprobs: list[dict[str, float]] = []

    def scores(self, logits: Float[Tensor, " vocab"]) -> Float[Tensor, " vocab"]:
        """Scores whose argmax is the next token: penalties, end token, temperature, top-k, top-p, noise, in turn."""
        sampling = self.sampling
        logits = logits.clone()
        if self.tokens and (sampling.frequency_penalty or sampling.presence_penalty):
            drawn = torch.tensor(self.tokens, device=logits.device)
            counts = torch.bincount(drawn, minlength=logits.numel()).to(logits.dtype)
            logits -= sampling.frequency_penalty * counts + sampling.presence_penalty * (counts > 0)
        if len(self.tokens) < sampling.min_tokens:
            logits[self.eos] = -torch.inf
        if sampling.temperature == 0:
            return logits
        logits /= sampling.temperature
        if 0 < sampling.top_k < logits.numel():
            logits[logits < logits.topk(sampling.top_k).values[-1]] = -torch.inf
        if sampling.top_p < 1:
            ordered, order = logits.softmax(-1).sort(descending=True)
            logits[order[ordered.cumsum(-1) - ordered >= sampling.top_p]] = -torch.inf
        noise = torch.empty(logits.numel()).exponential_(generator=self.generator).log().neg()
        return logits + noise.to(logits.device)

    def take(self, token: int, logits: Float[Tensor, " vocab"]) -> None:
        """Record the drawn ``token`` and see whether the reply ends with it."""
        self.tokens.append(token)
        if self.sampling.logprobs is not None:
            logprobs = logits.log_softmax(-1)
            self.token_logprobs.append(float(logprobs[token]))
            best = logprobs.topk(min(self.sampling.logprobs, logits.numel()))
            pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
            self.top_logprobs.append({self.decode([index]): value for index, value in pairs})
        if token in self.eos or (self.sampling.stop and self._stop_at(self.decode(self.tokens)) is not None):
            self.finish_reason = "stop"
        elif len(self.tokens) >= self.limit:
            self.finish_reason = "length"

    def text(self) -> str:
        """The reply, without end token and stop string."""
        text = self.decode([token for token in self.tokens if token not in self.eos])
        return text[: self._stop_at(text)]

    def _stop_at(self, text: str) -> int | None:
        return min((text.index(stop) for stop in self.sampling.stop if stop in text), default=None)
