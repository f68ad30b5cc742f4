"""Reading the texts of a row from a JSON object, under the names that data sets use."""

from __future__ import annotations

import json
from typing import Any, TypedDict, cast

NAMES = {
    "caption": ("caption", "text", "alt_text", "alt", "description"),
    "instruction": ("instruction", "question", "prompt", "query"),
    "response": ("response", "answer", "output", "completion"),
    "licence": ("licence", "license"),
}
"""For each column the keys it may have in a source, best first."""


class Texts(TypedDict, total=False):
    """What a record says besides its picture, as :class:`potstill.pipelines.sources.base.RawRow` takes it."""

    licence: str | None
    caption: str | None
    instruction: str | None
    response: str | None
    meta: str | None


class BadRecord(ValueError):
    """A record that is not what the format says."""


def texts_of(content: bytes, origin: str) -> Texts:
    """Columns from one JSON object: the known texts, and all else as ``meta``. Raises :class:`BadRecord`."""
    try:
        record = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BadRecord(f"{origin} is not valid JSON ({error}); correct it, or leave it out") from error
    if not isinstance(record, dict):
        raise BadRecord(f"{origin} holds a JSON {type(record).__name__}, not an object; correct it, or leave it out")
    return split_texts(record)


def split_texts(record: dict[str, Any]) -> Texts:
    """The known texts of a record by column, and what is left as JSON in ``meta`` (null when nothing is left)."""
    rest = dict(record)
    columns: dict[str, str | None] = {}
    for column, names in NAMES.items():
        name = next((name for name in names if isinstance(rest.get(name), str)), None)
        if name is not None:
            columns[column] = rest.pop(name)
    columns["meta"] = as_json(rest)
    return cast(Texts, columns)


def as_json(record: dict[str, Any]) -> str | None:
    """Compact JSON with the keys in order; None for an empty record. What JSON has no word for is written as text."""
    if not record:
        return None
    return json.dumps(record, ensure_ascii=False, separators=(",", ":"), default=str)
