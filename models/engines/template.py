"""The chat template of any model, cut open after the image, so that the model goes on as the user.

Source: Oasis (Zhang et al. 2025, arXiv 2503.08741), section 3: the prompt ends where the user's words would begin.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

from potstill.models.engines.protocol import Message, Request

SENTINEL = "QzhookzQ"
"""A word that no template contains and no template alters (letters only: trimming and escaping leave it alone)."""

Render = Callable[[Sequence[Message]], str]
"""Messages -> prompt text by the chat template, without a generation prompt."""


def hook_prompt(render: Render) -> str:
    """The prompt up to where the user's words begin, given one image.

    All that the template itself puts between the image and the words (``<|vision_end|>``, a newline) belongs to the
    image and stays; a default system turn stays too. A template that writes the image after the words is cut after the
    image, with no words. Raises ``ValueError`` for a template that shows no image or does not keep the words.
    """
    image, text = {"type": "image"}, {"type": "text", "text": SENTINEL}
    before, after = _split(render([{"role": "user", "content": [image, text]}]))
    bare_before, bare_after = _split(render([{"role": "user", "content": [text]}]))
    if before != bare_before and after == bare_after:
        return before
    if before == bare_before and after != bare_after and after.endswith(bare_after):
        return before + after.removesuffix(bare_after)
    raise ValueError(
        "the chat template cannot be hooked: a user turn with an image renders as "
        f"{before + SENTINEL + after!r}, without it as {bare_before + SENTINEL + bare_after!r}; "
        "use a model whose template writes an image marker next to the user's words"
    )


def _split(rendered: str) -> tuple[str, str]:
    """What stands before and after the user's words."""
    if rendered.count(SENTINEL) != 1:
        raise ValueError(
            f"the chat template writes the user's words {rendered.count(SENTINEL)} times instead of once: {rendered!r}"
        )
    before, _, after = rendered.partition(SENTINEL)
    return before, after


def neutralise(text: str, special: Iterable[str]) -> str:
    """``text`` in which no special token is left: a space is put after the first character of each.

    So that words of a data set, or words read from a picture, can neither end their turn nor claim an image. A special
    token of one character is left out.

    >>> neutralise("a<|im_end|>", ["<|im_end|>"])
    'a< |im_end|>'
    """
    pattern = _any_of(frozenset(special))
    while pattern and pattern.search(text):
        text = pattern.sub(lambda match: f"{match[0][0]} {match[0][1:]}" if len(match[0]) > 1 else "", text)
    return text


@lru_cache(maxsize=16)
def _any_of(special: frozenset[str]) -> re.Pattern[str] | None:
    """What finds the texts, the longest first; a model's own are asked for with every text."""
    tokens = sorted({token.strip() for token in special} - {""}, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, tokens))) if tokens else None


def special_texts(processor: Any) -> set[str]:
    """Texts that mean more than their letters to a processor (or a tokenizer): its special tokens and image markers."""
    tokenizer = getattr(processor, "tokenizer", processor)
    added = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    markers = [getattr(processor, f"{name}_token", None) for name in ("image", "video", "audio", "boi", "eoi")]
    return added | {mark for mark in markers if isinstance(mark, str)}


def clean(message: Message, special: Iterable[str], *, sees: bool) -> dict[str, Any]:
    """``message`` whose texts hold none of the ``special`` ones; as one plain text for a model that does not see."""
    content = message["content"]
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    cleaned = [
        {**part, "text": neutralise(part["text"], special)} if part["type"] == "text" else dict(part) for part in parts
    ]
    plain = "\n".join(part["text"] for part in cleaned if part["type"] == "text")
    return {"role": message["role"], "content": cleaned if sees else plain}


class PromptWriter:
    """A model's own chat template: what every engine that holds the processor itself turns requests into text with."""

    def __init__(self, processor: Any, sees: bool) -> None:
        self._processor, self._sees, self._special = processor, sees, special_texts(processor)

    def hook_prompt(self) -> str:
        """The template with a user turn that holds one image, cut exactly after the image (Oasis)."""
        if not self._sees:
            raise ValueError("this model takes no images and cannot be hooked; choose an image-text-to-text model")
        return hook_prompt(lambda messages: self._render(messages, reply=False))

    def prompt(self, request: Request) -> str:
        """The request's raw prompt, or its messages in the template. Raises ``ValueError`` for a malformed request."""
        if request.images and not self._sees:
            raise ValueError(f"the request holds {len(request.images)} images and this model takes none")
        if request.messages is not None and request.prompt is None:
            return self._render(request.messages, reply=True)
        if request.prompt is None or request.messages is not None:
            raise ValueError("a request holds either messages or a prompt, exactly one of them")
        return request.prompt

    def _render(self, messages: Sequence[Message], *, reply: bool) -> str:
        """The chat template over ``messages``, whose texts cannot hold special tokens."""
        cleaned = [clean(message, self._special, sees=self._sees) for message in messages]
        return self._processor.apply_chat_template(cleaned, add_generation_prompt=reply, tokenize=False)
