"""What every chat engine takes and gives back.

An engine serves many requests at once: callers await :meth:`Engine.generate` from as many coroutines as they like, and
the engine forms the batches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
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
    the log-probabilities (nats) of the drawn tokens and of that many best alternatives. ``n`` asks for that many
    replies: the i-th, from 0, is the one that ``seed + i`` gives alone. Raises ``ValueError`` for an ``n`` below 1, and
    for more than one greedy reply: they would all be the same.
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
    n: int = 1

    def __post_init__(self) -> None:
        if self.n < 1 or (self.n > 1 and self.temperature <= 0):
            raise ValueError(
                f"n must be 1 or more, and 1 at temperature 0, where all replies are the same; got n={self.n} at "
                f"temperature {self.temperature}"
            )

    def each(self) -> tuple[Sampling, ...]:
        """The settings of the ``n`` replies, one by one."""
        return tuple(replace(self, n=1, seed=self.seed % 2**63 + place) for place in range(self.n))


@dataclass(frozen=True, slots=True)
class Request:
    """One generation: either ``messages`` or a raw ``prompt`` (exactly one), and the images they refer to in order.

    At most one of these bounds what may be replied: ``choices``, the only replies allowed; ``schema``, a JSON schema of
    the reply; ``pattern``, a regular expression of the whole reply. Raises ``ValueError`` for more than one.
    ``encoded`` may hold, for each image, the bytes of a file that decodes to exactly its pixels (or None), so that an
    engine that must send the image need not encode it again.
    """

    messages: Sequence[Message] | None = None
    prompt: str | None = None
    images: Sequence[Image] = ()
    sampling: Sampling = field(default_factory=Sampling)
    choices: tuple[str, ...] | None = None
    schema: Mapping[str, Any] | None = None
    pattern: str | None = None
    encoded: Sequence[bytes | None] = ()

    def __post_init__(self) -> None:
        bounds = {"choices": self.choices, "schema": self.schema, "pattern": self.pattern}
        given = [name for name, value in bounds.items() if value is not None]
        if len(given) > 1:
            raise ValueError(f"a request is bounded in one way, not by {' and '.join(given)}")
        if self.encoded and len(self.encoded) != len(self.images):
            raise ValueError(f"{len(self.encoded)} encoded images for {len(self.images)} images")


@dataclass(frozen=True, slots=True)
class Completion:
    """What came back. ``finish_reason`` is ``stop`` (end token, stop string, or a whole choice) or ``length``.

    ``token_logprobs`` holds the log-probability of each drawn token, ``top_logprobs`` a token -> log-probability map
    per position, ``choice_logprobs`` the log-probability of each allowed choice as a whole; each only when asked for.
    They are the model's own, before temperature and cuts. ``alternatives`` are the second and later replies, where
    ``n`` asked for them; their ``prompt_tokens`` are 0, since the prompt is counted once.
    """

    text: str
    prompt_tokens: int
    completion_tokens: int
    finish_reason: str
    token_logprobs: tuple[float, ...] | None = None
    top_logprobs: tuple[Mapping[str, float], ...] | None = None
    choice_logprobs: Mapping[str, float] | None = None
    alternatives: tuple[Completion, ...] = ()

    @classmethod
    def joined(cls, replies: Sequence[Completion]) -> Completion:
        """Replies to one request as one: the first, with the others as its alternatives."""
        first, *others = replies
        return replace(first, alternatives=tuple(replace(each, prompt_tokens=0) for each in others))


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
