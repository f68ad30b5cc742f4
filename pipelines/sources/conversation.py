"""The first question and answer of a recorded conversation, in the two spellings that data sets use."""

from __future__ import annotations

from typing import Any

_ASKS = {"human", "user"}
_ANSWERS = {"gpt", "assistant", "model"}


def first_turns(record: dict[str, Any]) -> dict[str, str]:
    """``instruction`` and ``response`` of a record's ``conversations`` (LLaVA) or ``messages``, where there are any.

    The ``<image>`` mark, which says where the picture stands in the prompt, is taken out.
    """
    turns = next((record[name] for name in ("conversations", "messages") if isinstance(record.get(name), list)), [])
    texts: dict[str, str] = {}
    for turn in turns:
        if not isinstance(turn, dict):
            continue
        role, text = turn.get("from", turn.get("role")), _text(turn.get("value", turn.get("content")))
        if role in _ASKS and not texts:
            texts["instruction"] = text.replace("<image>", "").strip()
        elif role in _ANSWERS and "instruction" in texts:
            texts["response"] = text.strip()
            break
    return texts


def _text(content: Any) -> str:
    """A turn's text: a string, or the text parts of a list of parts."""
    if isinstance(content, list):
        return "\n".join(
            part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str)
        )
    return content if isinstance(content, str) else ""
