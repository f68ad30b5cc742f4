"""The text of a prompt in a plan, and how values stand in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from potstill.config import Settings


class PromptFile(Settings):
    """A prompt that stands in a file."""

    file: Path
    """Path of a UTF-8 text, from the folder in which potstill is called."""


def _text(value: Any) -> Any:
    """The text of a prompt file, so that the resolved plan holds it and workers need no file."""
    if not isinstance(value, Mapping | PromptFile):
        return value
    path = PromptFile.model_validate(value).file
    try:
        return path.read_text(encoding="utf-8").rstrip("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read the prompt file {path}: {error}; give a UTF-8 text") from None


PromptText = Annotated[str, BeforeValidator(_text, json_schema_input_type=str | PromptFile), Field(min_length=1)]
"""A prompt, written out or as ``{file: PATH}``."""


def words(name: str, value: Any) -> str:
    """A value as it stands in a prompt: lists line by line, objects as JSON. Raises ``ValueError`` for no text.

    What the members of a group have in a column (``group.column``) is numbered, from 1.
    """
    if "." in name:
        value = [f"{number}. {_plain(each)}" for number, each in enumerate(value, 1) if _plain(each).strip()]
    text = "\n".join(map(_plain, value)) if isinstance(value, list) else _plain(value)
    if not text.strip():
        raise ValueError(f"there is no text for {{{name}}}; drop such rows with a filter before this stage")
    return text


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return json.dumps(value, ensure_ascii=False)
    return "" if value is None else str(value)
