"""What every chat engine takes and gives back.

An engine serves many requests at once: callers await :meth:`Engine.generate` from as many coroutines as they like, and
the engine forms the batches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from PIL.Image import Image

Message = Mapping[str, Any]
"""``{"role": ..., "content": [{"type": "image"} | {"type": "text", "text": ...}, ...]}``, as in transformers."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn.

    ``temperature`` 0 is greedy. ``top_k`` 0 and ``top_p`` 1 switch these cuts off. ``max_tokens`` and ``min_tokens``
    count new tokens. ``seed`` fixes the draw of this one request, whatever else is in the batch. ``logprobs`` asks for
    the log-probabilities (nats) of the drawn tokens and of that many best alternatives.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    max_tokens: int = 256
    min_tokens: int = 0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    stop: tuple[str, ...] = ()
    seed: int = 0
    logprobs: int | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """One generation: either ``messages`` or a raw ``prompt`` (exactly one), the images they refer to in order, and
    optionally the only replies allowed."""

    messages: Sequence[Message] | None = None
    prompt: str | None = None
    images: Sequence[Image] = ()
    sampling: Sampling = field(default_factory=Sampling)
    choices: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """What came back. ``finish_reason`` is ``stop`` (end token, stop string, or a whole choice) or ``length``.

    ``token_logprobs`` holds the log-probability of each drawn token, ``top_logprobs`` a token -> log-probability map
    per position, ``choice_logprobs`` the log-probability of each allowed choice as a whole; each only when asked for.
    """

    text: str
    prompt_tokens: int
    completion_tokens: int
    finish_reason: str
    token_logprobs: tuple[float, ...] | None = None
    top_logprobs: tuple[Mapping[str, float], ...] | None = None
    choice_logprobs: Mapping[str, float] | None = None


class EngineDied(Exception):
    """The engine cannot serve any request again: its process has ended, or its device is lost."""


class Engine(Protocol):
    """A loaded chat model."""

    def hook_prompt(self) -> str:
        """The chat template with a user turn that holds one image, cut exactly after the image (Oasis)."""
        ...

    async def generate(self, request: Request) -> Completion:
        """Serve one request.

        Raises ``ValueError`` for a request the model cannot take (too long, image refused) and :class:`EngineDied`.
        """
        ...
