"""Settings: one frozen pydantic tree, read from YAML with dotted overrides, all mistakes reported at once."""

from __future__ import annotations

import ast
import difflib
import inspect
import itertools
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    GetJsonSchemaHandler,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)
from pydantic_core import CoreSchema, ErrorDetails, InitErrorDetails, PydanticCustomError


class Settings(BaseModel):
    """Base of every settings class: frozen, unknown keys refused with a hint, field docstrings become descriptions."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        # As pydantic's use_attribute_docstrings, which reads the source of every class whenever it is imported.
        told = handler(core_schema)
        properties = handler.resolve_ref_schema(told).get("properties", {})
        for name, text in _docstrings(cls).items():
            if name in properties:
                properties[name].setdefault("description", text)
        return told

    @model_validator(mode="wrap")
    @classmethod
    def _hint_at_unknown_keys(cls, data: Any, handler: ModelWrapValidatorHandler[Any]) -> Any:
        try:
            return handler(data)
        except ValidationError as error:
            details = [_with_hint(detail, cls) for detail in error.errors(include_url=False)]
            raise ValidationError.from_exception_data(error.title, details) from None


def _docstrings(cls: type) -> dict[str, str]:
    """Docstrings of the fields of a class and of those it inherits from, by name."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if issubclass(base, Settings):
            body = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0].body  # pyright: ignore
            for field, text in itertools.pairwise(body):
                if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
                    found[ast.unparse(field.target)] = inspect.cleandoc(ast.literal_eval(text.value))
    return found


def _with_hint(detail: ErrorDetails, cls: type[Settings]) -> InitErrorDetails:
    """The same mistake; an unknown key of ``cls`` itself also says which keys there are."""
    loc, kind, message = detail["loc"], detail["type"], detail["msg"]
    if kind == "extra_forbidden" and len(loc) == 1:
        names = sorted(cls.model_fields)
        close = difflib.get_close_matches(str(loc[0]), names, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        kind, message = "unknown_key", f"unknown key; {hint}allowed: {', '.join(names)}"
    same = PydanticCustomError(kind, "{message}", {"message": message})  # pyright: ignore[reportArgumentType]
    return InitErrorDetails(type=same, loc=loc, input=detail["input"])


T = TypeVar("T", bound=Settings)


class RequestError(Exception):
    """The request was wrong (bad plan, missing folder, busy directory): exit code 2, nothing was touched."""


class Interrupted(Exception):
    """The user ended a run; what it committed stands."""


class _Loader(yaml.SafeLoader):
    """Safe YAML that refuses a key written twice, which would lose the first value in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        for index, key in enumerate(keys):
            if key in keys[:index]:
                raise yaml.constructor.ConstructorError(
                    "while reading a mapping", node.start_mark, f"the key {key!r} is written twice", node.start_mark
                )
        return super().construct_mapping(node, deep=deep)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file. Raises :class:`RequestError` when it is missing, unreadable or no mapping."""
    try:
        tree = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"cannot read the plan {path}: {error}") from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date such as 2026-13-45
        raise RequestError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(tree, dict):
        raise RequestError(f"{path} must hold a mapping (keys and values), found {type(tree).__name__}")
    return tree


def override(tree: dict[str, Any], assignments: Iterable[str]) -> dict[str, Any]:
    """A copy of ``tree`` with ``a.b=value`` applied; values are YAML, list items are named by index or stage name.

    >>> override({"stages": [{"kind": "oasis", "seed": 1}]}, ["stages.oasis.seed=2"])
    {'stages': [{'kind': 'oasis', 'seed': 2}]}
    """
    copy = _unshared(tree)
    for assignment in assignments:
        path, sign, text = assignment.partition("=")
        if not sign or not path:
            raise RequestError(f"override {assignment!r} is not of the form key.key=value")
        try:
            value = yaml.load(text, Loader=_Loader)
        except (yaml.YAMLError, ValueError) as error:
            raise RequestError(f"override {assignment!r}: the value is not valid YAML: {error}") from error
        *parents, last = path.split(".")
        node: Any = copy
        for depth, key in enumerate(parents):
            node = _child(node, key, ".".join(parents[: depth + 1]), create=True)
        _assign(node, last, value, path)
    return copy


def _unshared(node: Any) -> Any:
    """A deep copy in which a part that YAML's ``*alias`` names twice is there twice, so that one can be changed."""
    if isinstance(node, dict):
        return {key: _unshared(value) for key, value in node.items()}
    return [_unshared(value) for value in node] if isinstance(node, list) else node


def _index(node: list[Any], key: str, path: str) -> int:
    """Position of the item that ``key`` names: an index, or the ``name`` (else ``kind``) of exactly one item."""
    if key.isdecimal() and int(key) < len(node):
        return int(key)
    names = [item.get("name") or item.get("kind") if isinstance(item, Mapping) else None for item in node]
    if names.count(key) == 1:
        return names.index(key)
    known = ", ".join(str(name) for name in names if name) or "none"
    raise RequestError(
        f"override {path}: no single item {key!r} in the list; items: {known}; or an index below {len(node)}"
    )


def _child(node: Any, key: str, path: str, *, create: bool) -> Any:
    if isinstance(node, list):
        return node[_index(node, key, path)]
    if isinstance(node, dict):
        if create and node.get(key) is None:
            node[key] = {}
        return node[key]
    raise RequestError(f"override {path}: {type(node).__name__} has no keys")


def _assign(node: Any, key: str, value: Any, path: str) -> None:
    if isinstance(node, list):
        node[_index(node, key, path)] = value
    elif isinstance(node, dict):
        node[key] = value
    else:
        raise RequestError(f"override {path}: {type(node).__name__} has no keys")


def validate(cls: type[T], tree: Mapping[str, Any], origin: str) -> T:
    """``tree`` as a ``cls``. Raises :class:`RequestError` that lists every mistake with its path and a way out."""
    try:
        return cls.model_validate(tree)
    except ValidationError as error:
        lines = [_line(detail) for detail in error.errors(include_url=False)]
        noun = "mistake" if len(lines) == 1 else "mistakes"
        raise RequestError("\n".join([f"{origin}: {len(lines)} {noun}", *(f"  {line}" for line in lines)])) from None


def _line(detail: ErrorDetails) -> str:
    """``path: what is wrong (got value)``; the value is left out where it is the enclosing mapping."""
    path = ".".join(str(part) for part in detail["loc"]) or "(top)"
    value = detail["input"]
    got = "" if isinstance(value, Mapping | list) or detail["type"] == "missing" else f" (got {value!r:.200})"
    return f"{path}: {detail['msg'].removeprefix('Value error, ')}{got}"
