"""What a reply says, in the form that was asked for. Each function raises :class:`UnparsableReply` for any other."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Annotated, Any, Literal

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from potstill.pipelines.synthesizers.synthesizer import UnparsableReply

_Text = Annotated[str, Field(min_length=1)]
_KINDS: Mapping[str, tuple[Any, pa.DataType]] = {
    "text": (_Text, pa.string()),
    "int": (Annotated[int, Field(ge=-(2**63), lt=2**63)], pa.int64()),
    "float": (Annotated[float, Field(allow_inf_nan=False)], pa.float64()),
    "bool": (bool, pa.bool_()),
    "list": (list[_Text], pa.list_(pa.string())),
}
FieldType = (
    Literal["text", "int", "float", "bool", "list", "text?", "int?", "float?", "bool?", "list?"]
    | Annotated[tuple[str, ...], Field(min_length=2)]
)
"""Type of a field of a JSON reply: a word, with ``?`` where the field may be missing or null; or the values allowed."""

_BULLET = re.compile(r"^\s*(?:[-*•]+|\(?\d{1,3}[.):]|\(?[a-zA-Z][.)])\s+")
_ANSWER = re.compile(r"\b(?:answer|verdict|choice)\b\W*", re.IGNORECASE)
_decoder = json.JSONDecoder()


def choice(reply: str, choices: Sequence[str]) -> str:
    """Which of the ``choices`` a reply names, in any case.

    The reply as a whole, else the one right behind the last "answer", "verdict" or "choice", else the only one that it
    names as words of their own; where one choice is part of another ("match", "no match") the longer one is read.
    """
    longest = sorted(choices, key=len, reverse=True)
    pattern = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest))})(?!\w)", re.IGNORECASE)
    by_words = {each.casefold(): each for each in choices}
    *_, ending = _ANSWER.split(reply)
    whole = by_words.get(reply.strip(" \t\r\n.!*_`'\"“”()[]").casefold())
    behind = pattern.match(ending) if ending != reply else None
    named = {found.casefold() for found in pattern.findall(reply)}
    if whole is not None:
        return whole
    if behind is not None:
        return by_words[behind[0].casefold()]
    if len(named) == 1:
        return by_words[named.pop()]
    raise UnparsableReply(f"{len(named)} of the choices {', '.join(choices)} in {reply!r}")


def lines(reply: str, *, complete: bool = True) -> list[str]:
    """The lines of a reply without their bullets or numbers; blank lines and code fences are left out.

    The last line of a reply that the token limit cut off (``complete`` false) is not whole and is left out too.
    """
    found = reply.splitlines()
    if not complete and not reply.endswith("\n"):
        found = found[:-1]
    bare = (_BULLET.sub("", line).strip() for line in found if not line.strip().startswith("```"))
    return [line for line in bare if any(map(str.isalnum, line))]


def fields(reply: str, types: Mapping[str, FieldType]) -> dict[str, Any]:
    """The fields of the last JSON object in a reply that fits ``types``; other fields are left out."""
    model = _model(tuple(types.items()))
    found, failure = None, "no JSON object"
    for tree in _objects(reply):
        try:
            found = model.model_validate(tree)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False)[0]
            failure = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    if found is None:
        raise UnparsableReply(f"{failure} in the reply {reply!r}")
    return found.model_dump(by_alias=True)


def columns(types: Mapping[str, FieldType]) -> dict[str, pa.DataType]:
    """Arrow type for each field."""
    return {
        name: pa.string() if isinstance(kind, tuple) else _KINDS[kind.rstrip("?")][1] for name, kind in types.items()
    }


def _objects(reply: str) -> Iterator[dict[str, Any]]:
    """The JSON objects that stand in a text, outermost ones only."""
    at = reply.find("{")
    while at >= 0:
        try:
            tree, at = _decoder.raw_decode(reply, at)
            yield tree
        except (ValueError, RecursionError):
            at += 1
        at = reply.find("{", at)


@cache
def _model(types: tuple[tuple[str, FieldType], ...]) -> type[BaseModel]:
    """The pydantic model of a reply. Fields go by alias, so that any name may be asked for."""
    made: dict[str, Any] = {}
    for position, (name, kind) in enumerate(types):
        hint: Any = Literal[kind] if isinstance(kind, tuple) else _KINDS[kind.rstrip("?")][0]
        if isinstance(kind, str) and kind.endswith("?"):
            made[f"field_{position}"] = (hint | None, Field(default=None, alias=name))
        else:
            made[f"field_{position}"] = (hint, Field(alias=name))
    return create_model("Reply", __config__=ConfigDict(extra="ignore", str_strip_whitespace=True), **made)
