"""The score in a judge's reply: read from its words, or from how likely each score is."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Literal

from potstill.models.engines.protocol import Completion
from potstill.pipelines.synthesizers.synthesizer import UnparsableReply

Mode = Literal["text", "expected"]
"""``text``: the model writes freely and the score is looked for in its words. ``expected``: it may only reply one of
:data:`SCORES`, and the mean score under their probabilities stands beside the likeliest one."""
SCORES = tuple(f"Score: {score}" for score in range(1, 6))
"""The replies of the mode ``expected``: in the form that the prompts ask for, so that only the digit is open."""

_OUT_OF = re.compile(r"(?<=\d)\s*(?:/|out of)\s*5\b")
_NUMBER = r"([-+]?\d+(?:\.\d+)?)"
_PATTERNS = (
    re.compile(rf"[\[(]\s*{_NUMBER}\s*[\])]"),
    re.compile(rf"score\W{{0,6}}?{_NUMBER}", re.IGNORECASE),
    re.compile(_NUMBER),
)


def verdict(reply: str, *, complete: bool = True) -> int:
    """The score 1..5 that a judge's ``reply`` gives. Raises :class:`UnparsableReply` for any other.

    The last number in brackets counts, else the last one after the word "score", else the last number: the rule of the
    official Oasis code (Zhang et al. 2025, arXiv 2503.08741), with the middle case added for the form that our prompts
    ask for. ``4/5`` and ``4 out of 5`` read as 4. A reply cut off by the token limit (``complete`` false) may end
    before its verdict, so that its last bare number is not taken for one.
    """
    text = _OUT_OF.sub("", reply)
    numbers = next((found for pattern in _PATTERNS[: 3 if complete else 2] if (found := pattern.findall(text))), ())
    if not numbers or not re.fullmatch(r"\+?[1-5]", numbers[-1]):
        raise UnparsableReply(f"no score from 1 to 5 in the {'' if complete else 'cut-off '}reply {reply!r}")
    return int(numbers[-1])


def score(reply: Completion, mode: Mode) -> tuple[int, float | None]:
    """The score 1..5, and in the mode ``expected`` its mean. Raises as :func:`verdict` and :func:`shares` do."""
    if mode == "text":
        return verdict(reply.text, complete=reply.finish_reason == "stop"), None
    odds = [shares(reply)[choice] for choice in SCORES]
    return 1 + odds.index(max(odds)), sum(place * odd for place, odd in enumerate(odds, 1))


def shares(reply: Completion) -> dict[str, float]:
    """Probability of each choice that was allowed, given that one of them was replied; they sum to 1.

    From the log-probabilities (nats) of the whole choices. Raises ``ValueError`` where the engine gave none.
    """
    logprobs: Mapping[str, float] = reply.choice_logprobs or {}
    most = max(logprobs.values(), default=-math.inf)
    if most == -math.inf or any(map(math.isnan, logprobs.values())):
        raise ValueError("this engine gives no probabilities of choices; set `mode: text`, or take another engine")
    weights = {choice: math.exp(logprob - most) for choice, logprob in logprobs.items()}
    return {choice: weight / sum(weights.values()) for choice, weight in weights.items()}
