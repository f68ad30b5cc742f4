"""A JSON reply with fields of given types: its pydantic model, its JSON schema for engines, its Arrow columns."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from potstill.pipelines.synthesizers.synthesizer import UnparsableReply

_Text = Annotated[str, Field(min_length=1)]
_KINDS: Mapping[str, tuple[Any, pa.DataType, dict[str, Any]]] = {
    "text": (_Text, pa.string(), {"type": "string"}),
    "int": (Annotated[int, Field(ge=-(2**63), lt=2**63)], pa.int64(), {"type": "integer"}),
    "float": (Annotated[float, Field(allow_inf_nan=False)], pa.float64(), {"type": "number"}),
    "bool": (bool, pa.bool_(), {"type": "boolean"}),
    "list": (list[_Text], pa.list_(pa.string()), {"type": "array", "items": {"type": "string"}}),
}
"""Word -> how a value is checked, the type of its column, its JSON schema."""
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Flat = (
    Literal["text", "int", "float", "bool", "list", "text?", "int?", "float?", "bool?", "list?"]
    | Annotated[tuple[str, ...], Field(min_length=2)]
)
"""A word, with ``?`` where the field may be missing or null, or the values allowed."""
Object = Annotated[dict[Name, Flat], Field(min_length=1)]
FieldType = Flat | Object | tuple[Object]
"""Type of a field of a JSON reply: flat, an object of flat fields, or (one such in brackets) a list of objects."""
Fields = Mapping[str, FieldType]

_decoder = json.JSONDecoder()


def model(types: Fields) -> type[BaseModel]:
    """The pydantic model of a reply. Fields go by alias, so that any name may be asked for."""
    made: dict[str, Any] = {}
    for position, (name, kind) in enumerate(types.items()):
        hint, free = _hint(kind), isinstance(kind, str) and kind.endswith("?")
        made[f"field_{position}"] = (
            (hint | None, Field(default=None, alias=name)) if free else (hint, Field(alias=name))
        )
    return create_model("Reply", __config__=ConfigDict(extra="ignore", str_strip_whitespace=True), **made)


def read(reply: str, form: type[BaseModel]) -> dict[str, Any]:
    """The fields of the last JSON object in a reply that fits ``form``; other fields are left out.

    Raises :class:`UnparsableReply` where there is none, with the first mistake.
    """
    found, failure = None, "no JSON object"
    for tree in _objects(reply):
        try:
            found = form.model_validate(tree)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False)[0]
            failure = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    if found is None:
        raise UnparsableReply(f"{failure} in the reply {reply!r}")
    return found.model_dump(by_alias=True)


def arrow(kind: FieldType) -> pa.DataType:
    """Type of a field's column: an object becomes a struct, several a list of structs."""
    if isinstance(kind, str):
        return _KINDS[kind.rstrip("?")][1]
    if isinstance(kind, Mapping):
        return pa.struct([(name, arrow(inner)) for name, inner in kind.items()])
    return pa.list_(arrow(kind[0])) if isinstance(kind[0], Mapping) else pa.string()


def schema(kind: FieldType) -> dict[str, Any]:
    """JSON schema of a field, or of a whole reply: all its fields and no others; those with ``?`` may be null."""
    if isinstance(kind, str):
        flat = _KINDS[kind.rstrip("?")][2]
        return {"anyOf": [flat, {"type": "null"}]} if kind.endswith("?") else flat
    if isinstance(kind, Mapping):
        properties = {name: schema(inner) for name, inner in kind.items()}
        return {"type": "object", "properties": properties, "required": list(kind), "additionalProperties": False}
    if isinstance(kind[0], Mapping):
        return {"type": "array", "items": schema(kind[0])}
    return {"type": "string", "enum": list(kind)}


def _hint(kind: FieldType) -> Any:
    """What pydantic checks a value against."""
    if isinstance(kind, str):
        return _KINDS[kind.rstrip("?")][0]
    if isinstance(kind, Mapping):
        return model(kind)
    return list[model(kind[0])] if isinstance(kind[0], Mapping) else Literal[kind]  # type: ignore[misc]


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
