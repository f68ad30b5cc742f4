"""Rows as conversations: a question and an answer in two columns, or whole conversations in one."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from PIL import Image

IMAGE_MARK = "<image>"
"""Where LLaVA's format puts a picture."""
ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system"}

Message = dict[str, Any]


def asked(instruction: str | None, answer: str | None, system: str | None, pictures: int) -> list[Message]:
    """One question, after its pictures, and its answer; without an answer there is no turn of the assistant.

    Without an instruction the pictures alone are the question, as the sink ``llava`` writes a caption.
    """
    parts = [{"type": "image"}] * pictures + ([_text(instruction)] if instruction else [])
    messages = [{"role": "user", "content": parts}]
    if answer:
        messages.append({"role": "assistant", "content": [_text(answer)]})
    return _with_system(messages, system)


def read(value: Any, system: str | None, pictures: int) -> list[Message]:
    """A conversation as a sink or a hub writes it: JSON or a list, of ``from`` and ``value`` (LLaVA) or of ``role`` and
    ``content`` (text, or a list of parts).

    A turn may hold a ``weight``, at least 0: how much each of its tokens counts (:func:`learnt`). Pictures that no turn
    marks stand before the first question. What follows the last turn to learn is left out. Raises ``ValueError`` for
    what is no conversation, and for marks that are not as many as the pictures.
    """
    turns = json.loads(value) if isinstance(value, str) else value
    if not turns:
        return asked(None, None, system, pictures)
    messages = [_message(turn) for turn in turns]
    marks = sum(part["type"] == "image" for message in messages for part in message["content"])
    first = next((message for message in messages if message["role"] == "user"), None)
    if not marks and pictures and first:
        first["content"] = [{"type": "image"}] * pictures + first["content"]
    elif marks != pictures:
        raise ValueError(f"the conversation marks {marks} pictures and the row has {pictures}")
    if any(map(learnt, messages)):
        while not learnt(messages[-1]):
            after = sum(part["type"] == "image" for part in messages.pop()["content"])
            if after:
                raise ValueError(f"{after} of {pictures} pictures come after the last answer")
    return _with_system(messages, system)


def several(value: Any, system: str | None, pictures: int) -> list[list[Message]]:
    """Conversations about the same pictures, each by itself: JSON or a list of what :func:`read` takes."""
    given = json.loads(value) if isinstance(value, str) else value
    return [read(each, system, pictures) for each in given or [None]]


def learnt(message: Message) -> float:
    """How much each token of a turn counts: its ``weight``; without one 1 for the assistant and 0 for others."""
    return message.get("weight", float(message["role"] == "assistant"))


def pictures(value: Any) -> list[Image.Image]:
    """Pictures of a row, RGB: encoded bytes, the Hugging Face ``Image`` feature, a list of these, or none."""
    values = value if isinstance(value, list) else [] if value is None else [value]
    return [_decoded(each["bytes"] if isinstance(each, Mapping) else each) for each in values]


def _decoded(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data)) as file:
        return file.convert("RGB")


def _text(text: str) -> Message:
    return {"type": "text", "text": text}


def _with_system(messages: list[Message], system: str | None) -> list[Message]:
    if system and messages and messages[0]["role"] != "system":
        return [{"role": "system", "content": [_text(system)]}, *messages]
    return messages


def _message(turn: Any) -> Message:
    """One turn with its content as parts."""
    if not isinstance(turn, Mapping):
        raise ValueError(f"a turn must hold from and value, or role and content; this one is {turn!r}")
    role = turn.get("from") or turn.get("role")
    if role not in ROLES:
        raise ValueError(f"a turn is from {role!r}, which is none of {', '.join(ROLES)}")
    content = turn["value"] if turn.get("value") is not None else turn.get("content")
    parts = content if isinstance(content, Sequence) and not isinstance(content, str) else _parts(content or "")
    known = [_text(part.get("text") or "") if part.get("type") == "text" else part for part in parts]
    strange = next((part for part in known if part.get("type") not in ("text", "image")), None)
    if strange is not None:
        raise ValueError(f"a part of a turn is of type {strange.get('type')!r}, which is neither text nor image")
    message = {"role": ROLES[role], "content": [{"type": "image"} if p["type"] == "image" else p for p in known]}
    weight = turn.get("weight")
    if weight is None:
        return message
    if not isinstance(weight, int | float) or not 0 <= weight < math.inf:
        raise ValueError(f"the weight of a turn is {weight!r}; give a number that is at least 0")
    return message | {"weight": float(weight)}


def _parts(text: str) -> list[Message]:
    """Text with marks as parts; the line break beside a mark belongs to the mark."""
    return list(_split(text))


def _split(text: str) -> Iterator[Message]:
    pieces = text.split(IMAGE_MARK)
    for number, piece in enumerate(pieces):
        if number:
            yield {"type": "image"}
        clean = piece.removeprefix("\n") if number else piece
        clean = clean.removesuffix("\n") if number < len(pieces) - 1 else clean
        if clean:
            yield _text(clean)
