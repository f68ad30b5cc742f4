"""How the tokens of one request are drawn: exact sampling whose noise belongs to the request, not to the batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from transformers import LogitsProcessor, StoppingCriteria

from potstill.models.engines.protocol import Sampling

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

Decode = Callable[[Sequence[int]], str]


class Draw:
    """One request while its tokens are drawn: its settings, its own generator, and what has been drawn so far."""

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


def next_scores(draws: Sequence[Draw], logits: Float[Tensor, "rows vocab"]) -> Float[Tensor, "rows vocab"]:
    """Scores whose argmax is each row's next token: penalties, end token, temperature, top-k, top-p and noise, in turn.

    The draw is the Gumbel-max form of the softmax (Gumbel 1954; Maddison et al. 2014, arXiv 1411.0030): the best of
    logit / temperature + noise. The noise of step t and token v comes from a generator of the request's own seed, on
    the CPU, so that neither the other rows of the batch nor the device change it.
    """
    scores = logits.clone()
    for row, draw in enumerate(draws):
        sampling = draw.sampling
        if draw.tokens and (sampling.frequency_penalty or sampling.presence_penalty):
            drawn = torch.tensor(draw.tokens, device=logits.device)
            counts = torch.bincount(drawn, minlength=logits.shape[1]).to(logits.dtype)
            scores[row] -= sampling.frequency_penalty * counts + sampling.presence_penalty * (counts > 0)
        if len(draw.tokens) < sampling.min_tokens:
            scores[row, draw.eos] = -torch.inf
    rows = [row for row, draw in enumerate(draws) if draw.sampling.temperature > 0]
    if rows:
        scores[rows] = _drawn([draws[row] for row in rows], scores[rows])
    return scores


def _drawn(draws: Sequence[Draw], scores: Float[Tensor, "rows vocab"]) -> Float[Tensor, "rows vocab"]:
    """The same for rows that are sampled, from their penalised logits."""
    device, vocabulary = scores.device, scores.shape[1]
    scores = scores / torch.tensor([draw.sampling.temperature for draw in draws], device=device)[:, None]
    most = [draw.sampling.top_k if 0 < draw.sampling.top_k < vocabulary else vocabulary for draw in draws]
    if min(most) < vocabulary:
        best = scores.topk(max(most)).values
        least = best.gather(1, torch.tensor(most, device=device)[:, None] - 1)
        scores = scores.masked_fill(scores < least, -torch.inf)
    if any(draw.sampling.top_p < 1 for draw in draws):
        share = torch.tensor([draw.sampling.top_p for draw in draws], device=device)[:, None]
        ordered, order = scores.softmax(-1).sort(descending=True)
        beyond = (ordered.cumsum(-1) - ordered >= share) & (share < 1)
        scores = scores.masked_fill(torch.zeros_like(beyond).scatter(1, order, beyond), -torch.inf)
    noise = torch.empty(len(draws), vocabulary)
    for row, draw in enumerate(draws):
        noise[row].exponential_(generator=draw.generator)
    return scores - noise.log_().to(device)


class Next(LogitsProcessor):
    """Draws for every unfinished row; the greedy loop of ``generate`` then takes these tokens."""

    def __init__(self, draws: Sequence[Draw]) -> None:
        self.draws = draws

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """Scores whose argmax, row by row, is the drawn token."""
        logits = scores.float()
        running = [row for row, draw in enumerate(self.draws) if draw.finish_reason is None]
        chosen = logits.clone()
        chosen[running] = next_scores([self.draws[row] for row in running], logits[running])
        tokens = chosen.argmax(-1).tolist()
        for row in running:
            self.draws[row].take(tokens[row], logits[row])
        return chosen


class Finished(StoppingCriteria):
    """Tells ``generate`` which rows have ended."""

    def __init__(self, draws: Sequence[Draw]) -> None:
        self.draws = draws

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
        """One truth value for each row."""
        done = [draw.finish_reason is not None for draw in self.draws]
        return torch.tensor(done, device=input_ids.device)
