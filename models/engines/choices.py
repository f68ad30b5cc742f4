"""Replies out of a list: what is common to all engines, and how a server of vLLM is asked for their probabilities."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from potstill.models.engines.protocol import Sampling

Send = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
"""Sends a request's JSON to the chat completions of a server and gives back the JSON of the answer."""
BEST = 20
"""Most alternatives that a server tells log-probabilities of, unless it was started with more."""


def closed(choices: Sequence[str], end: str | None) -> list[str]:
    """The choices, each with the text of the end token if one of them is the beginning of another.

    Raises ``ValueError`` for choices that are none or not different, and for such a beginning where ``end`` is None.
    """
    if not choices or len(set(choices)) < len(choices):
        raise ValueError(f"choices must be one or more different texts, got {choices!r}")
    open_ended = any(longer.startswith(shorter) for shorter, longer in pairwise(sorted(choices)))
    if open_ended and end is None:
        raise ValueError(
            f"one of the choices {choices!r} begins another; a server does not say how a reply ends, so they cannot be "
            "told apart: reword them, or use an engine of kind vllm or transformers"
        )
    return [choice + (end or "") if open_ended else choice for choice in choices]


def shared(one: Sequence[int], other: Sequence[int]) -> int:
    """Length of the common beginning of two token sequences."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((index for index, (a, b) in pairs if a != b), min(len(one), len(other)))


def draw_choice(totals: Sequence[float], sampling: Sampling) -> int:
    """Which choice is replied, given the log-probability (nats) of each: as if they were the tokens of one step."""
    if sampling.temperature <= 0:
        return max(range(len(totals)), key=totals.__getitem__)
    import torch

    from potstill.models.engines.decoding import Draw, next_scores

    draw = Draw(sampling, 1, [], lambda tokens: "")
    return int(next_scores([draw], torch.tensor([list(totals)])).argmax())


class ServerChoices:
    """Scores choices behind a vLLM server, which tells token ids and log-probabilities of prompts."""

    def __init__(self, send: Send, model: str) -> None:
        self._send = send
        self._greedy = {"model": model, "max_tokens": 1, "temperature": 0}
        self._learned: dict[tuple[str, ...], list[list[int]]] = {}
        self._learning = asyncio.Lock()

    async def score(
        self, messages: Sequence[Mapping[str, Any]], choices: tuple[str, ...]
    ) -> tuple[list[float], int, list[int]]:
        """Log-probability (nats) of each choice, tokens of the prompt, and tokens of each choice.

        Where all choices are one token long and among the :data:`BEST`, one request tells all of them; otherwise there
        is one for each, whose last message is the choice. (vLLM's ``logprob_token_ids`` would tell any token, but in
        0.32 it spoils the log-probabilities of other requests in the same step.)
        """
        tails = await self._tails(choices)
        lengths = [len(tail) for tail in tails]
        if lengths == [1] * len(tails):
            wanted = {"logprobs": True, "top_logprobs": BEST, "return_tokens_as_token_ids": True}
            answer = await self._send({**self._greedy, **wanted, "messages": messages})
            step = answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
            known = {each["token"]: each["logprob"] for each in step}
            names = [f"token_id:{tail[0]}" for tail in tails]
            if all(name in known for name in names):
                return [known[name] for name in names], answer["usage"]["prompt_tokens"], lengths
        answers = await asyncio.gather(*(self._prompt(messages, choice) for choice in choices))
        totals = []
        for answer, tail in zip(answers, tails, strict=True):
            ids, steps = answer["prompt_token_ids"], answer["prompt_logprobs"]
            if ids[-len(tail) :] != tail:
                raise ValueError(f"the server reads a choice as the tokens {ids[-len(tail) :]} here, {tail} elsewhere")
            totals.append(sum(steps[place][str(ids[place])]["logprob"] for place in range(-len(tail), 0)))
        return totals, len(answers[0]["prompt_token_ids"]) - lengths[0], lengths

    async def _tails(self, choices: tuple[str, ...]) -> list[list[int]]:
        """Tokens of each choice at the beginning of a reply. Asked once: every prompt ends as the template ends it."""
        closed(choices, None)
        async with self._learning:
            if choices not in self._learned:
                self._learned[choices] = await self._learn(choices)
        return self._learned[choices]

    async def _learn(self, choices: tuple[str, ...]) -> list[list[int]]:
        question = [{"role": "user", "content": "?"}]
        bare, *answers = await asyncio.gather(*(self._prompt(question, choice) for choice in (None, *choices)))
        tails = []
        for choice, answer in zip(choices, answers, strict=True):
            ids, steps = answer["prompt_token_ids"], answer["prompt_logprobs"]
            start = shared(bare["prompt_token_ids"], ids)
            read = "".join(steps[place][str(ids[place])]["decoded_token"] for place in range(start, len(ids)))
            if read != choice and "\ufffd" not in read:  # a token may hold a part of a letter
                raise ValueError(f"the server's chat template writes the choice {choice!r} as {read!r}")
            tails.append(ids[start:])
        return tails

    async def _prompt(self, messages: Sequence[Mapping[str, Any]], choice: str | None) -> Mapping[str, Any]:
        """The answer about a conversation in which the reply, as far as it goes, is the choice."""
        reply = [] if choice is None else [{"role": "assistant", "content": choice}]
        ending = {"add_generation_prompt": choice is None, "continue_final_message": choice is not None}
        wanted = {"prompt_logprobs": 0, "return_token_ids": True}
        return await self._send({**self._greedy, **wanted, **ending, "messages": [*messages, *reply]})
