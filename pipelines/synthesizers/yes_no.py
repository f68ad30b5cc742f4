"""Whether a text is true of a picture: one question with two possible replies, and how sure the model is."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from pydantic import Field, model_validator

from potstill.config import Settings
from potstill.models.engines.protocol import Completion, Request, Sampling
from potstill.pipelines.synthesizers import prompts, replies
from potstill.pipelines.synthesizers.prompt_text import PromptText
from potstill.pipelines.synthesizers.prompts import Prompt
from potstill.pipelines.synthesizers.synthesizer import user_turn
from potstill.pipelines.synthesizers.verdict import shares

CHECKED = [("holds", pa.bool_()), ("probability", pa.float32())]
"""Fields of a verdict: whether the text holds, and how likely it does (null where the engine gives none)."""


class YesNo(Settings):
    """How a text is checked: the engine may reply nothing but one of two texts."""

    prompt: PromptText | None = None
    """The question, instead of the shipped one; ``{text}`` is the place of what is checked."""
    accepts: str = Field(default="yes", min_length=1)
    """Reply by which the text holds."""
    denies: str = Field(default="no", min_length=1)
    """Reply by which it does not."""

    @model_validator(mode="after")
    def _fits(self) -> YesNo:
        if self.prompt is not None and Prompt("judge", 1, self.prompt).places != ("text",):
            raise ValueError("the judge's prompt must have the place {text}, and no other")
        if self.accepts.casefold() == self.denies.casefold():
            raise ValueError(f"accepts and denies are the same reply, {self.accepts!r}; give two")
        return self

    def request(self, shipped: str, text: str, image: Any) -> Request:
        """The question about ``text``, by the prompt called ``shipped`` unless the settings give another."""
        prompt = prompts.load(shipped) if self.prompt is None else Prompt("judge", 1, self.prompt)
        turn, sampling = user_turn(prompt.fill(text=text), image=True), Sampling(max_tokens=16)
        return Request([turn], images=(image,), sampling=sampling, choices=(self.accepts, self.denies))

    def read(self, reply: Completion) -> dict[str, Any]:
        """``holds`` and ``probability``. Raises :class:`~.synthesizer.UnparsableReply` for any other reply."""
        holds = replies.choice(reply.text, (self.accepts, self.denies)) == self.accepts
        return {"holds": holds, "probability": shares(reply)[self.accepts] if reply.choice_logprobs else None}
