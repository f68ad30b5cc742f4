"""A condition over columns, written as in Python, evaluated on whole Arrow columns.

Allowed: column names, numbers, strings, ``True``/``False``, ``+ - * /``, comparisons (chained too), ``in (…)``,
``and or not``, ``is None`` / ``is not None``, ``length(column)`` (characters) and ``folder(column)`` (a path without
its last part: ``a/b`` of ``a/b/1.jpg``, ``a/x.tar`` of ``a/x.tar#7``). Null follows Kleene's logic: a comparison with
null is null. Nothing is ever handed to Python's ``eval``.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

_BINARY = {ast.Add: pc.add, ast.Sub: pc.subtract, ast.Mult: pc.multiply, ast.Div: pc.divide}
_COMPARE = {
    ast.Eq: pc.equal,
    ast.NotEq: pc.not_equal,
    ast.Lt: pc.less,
    ast.LtE: pc.less_equal,
    ast.Gt: pc.greater,
    ast.GtE: pc.greater_equal,
}
_FUNCTIONS = {
    "length": pc.utf8_length,
    "folder": lambda path: pc.replace_substring_regex(path, r"(^|[/#])[^/#]*$", ""),
}
ALLOWED = (
    "column names, numbers, strings, + - * /, comparisons, in (...), and, or, not, is None, length(column), "
    "folder(column)"
)
DEEPEST = 100
DEEP = f"it is nested more than {DEEPEST} levels deep"
OVER_ROWS = ("quantile", "rank", "top", "top_fraction", "count", "mean", "std")
"""Functions of the kind ``set_filter``."""


def parse(text: str) -> ast.expr:
    """The condition as a checked syntax tree. Raises ``ValueError`` that names what is not allowed."""
    tree = read(text)
    check(tree, text)
    return tree


def read(text: str) -> ast.expr:
    """The condition as a syntax tree, unchecked. Raises ``ValueError`` when it is none."""
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, RecursionError, MemoryError) as error:
        why = error.msg if isinstance(error, SyntaxError) else DEEP
        raise ValueError(f"{text!r:.200} is not a condition: {why}; allowed: {ALLOWED}") from None
    level, depth = [tree], 0
    while level:
        level, depth = [child for node in level for child in ast.iter_child_nodes(node)], depth + 1
        if depth > DEEPEST:
            raise ValueError(f"{text!r:.200} is not a condition: {DEEP}")
    return tree


def check(node: ast.expr, text: str, allowed: str = ALLOWED) -> None:
    """Raises ``ValueError`` that quotes the part of ``text`` that is not allowed, and says what is."""
    match node:
        case ast.Name() | ast.Constant(value=bool() | int() | float() | str()):
            return
        case ast.BoolOp(values=parts) | ast.Tuple(elts=parts) | ast.List(elts=parts):
            children = parts
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            children = [left, right]
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            children = [operand]
        case ast.Compare(left=left, ops=[ast.Is() | ast.IsNot()], comparators=[ast.Constant(value=None)]):
            children = [left]
        case ast.Compare(left=left, ops=[ast.In() | ast.NotIn()], comparators=[ast.Tuple() | ast.List() as items]):
            if not all(_is_constant(item) for item in items.elts):
                raise ValueError(f"{text!r}: only constants may stand behind 'in'")
            children = [left, items]
        case ast.Compare(left=left, ops=ops, comparators=others) if all(type(op) in _COMPARE for op in ops):
            children = [left, *others]
        case ast.Call(func=ast.Name(id=name), args=[ast.Name()], keywords=[]) if name in _FUNCTIONS:
            return
        case ast.Call(func=ast.Name(id=name)) if name in OVER_ROWS:
            raise ValueError(
                f"{text!r}: {ast.unparse(node)!r} looks at all rows, and a filter sees one row at a time; make the "
                "stage `kind: set_filter`, which takes the same conditions and these functions too"
            )
        case _:
            raise ValueError(f"{text!r}: {ast.unparse(node)!r} is not allowed; allowed: {allowed}")
    for child in children:
        check(child, text, allowed)


def _is_constant(node: ast.expr) -> bool:
    match node:
        case ast.Constant() | ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float())):
            return True
    return False


def names(tree: ast.expr) -> tuple[str, ...]:
    """Columns that the condition reads, sorted."""
    called = {node.func for node in ast.walk(tree) if isinstance(node, ast.Call)}
    return tuple(sorted({node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and node not in called}))


def evaluate(tree: ast.expr, columns: Mapping[str, Any], rows: int) -> pa.Array:
    """Truth of the condition per row: a boolean array of length ``rows`` with nulls where it cannot be told.

    Raises ``ValueError`` when the columns' types do not fit the condition.
    """
    result = value(tree, columns)
    if pa.types.is_null(result.type):
        return pa.nulls(rows, pa.bool_())
    if not pa.types.is_boolean(result.type):
        raise ValueError(f"{ast.unparse(tree)!r} gives {result.type}, not true or false; compare it with something")
    return pa.array([result.as_py()] * rows, pa.bool_()) if isinstance(result, pa.Scalar) else result


def value(tree: ast.expr, columns: Mapping[str, Any]) -> pa.Array | pa.Scalar:
    """What a part of a condition comes to: an array, or a scalar where it names no column. Raises as above."""
    try:
        result = _value(tree, columns)
    except (pa.ArrowException, OverflowError) as error:
        raise ValueError(f"{ast.unparse(tree)!r} does not fit its columns: {error}") from error
    return result.combine_chunks() if isinstance(result, pa.ChunkedArray) else result


def _value(node: ast.expr, columns: Mapping[str, Any]) -> Any:
    match node:
        case ast.Name(id=name):
            column = columns[name]
            return pc.cast(column, pa.float32()) if pa.types.is_float16(column.type) else column
        case ast.Constant(value=constant):
            return pa.scalar(constant)
        case ast.BoolOp(op=op, values=parts):
            join = pc.and_kleene if isinstance(op, ast.And) else pc.or_kleene
            result = _typed(_value(parts[0], columns), pa.bool_())
            for part in parts[1:]:
                result = join(result, _typed(_value(part, columns), pa.bool_()))
            return result
        case ast.BinOp(left=left, op=op, right=right):
            a, b = _value(left, columns), _value(right, columns)
            return _BINARY[type(op)](pc.cast(a, pa.float64()) if isinstance(op, ast.Div) else a, b)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return pc.invert(_typed(_value(operand, columns), pa.bool_()))
        case ast.UnaryOp(operand=operand):
            return pc.negate(_value(operand, columns))
        case ast.Compare(left=left, ops=[ast.Is()]):
            return pc.is_null(_value(left, columns))
        case ast.Compare(left=left, ops=[ast.IsNot()]):
            return pc.is_valid(_value(left, columns))
        case ast.Compare(
            left=left, ops=[ast.In() | ast.NotIn() as op], comparators=[ast.Tuple() | ast.List() as items]
        ):
            values = pa.array([ast.literal_eval(item) for item in items.elts])
            asked = _typed(_value(left, columns), values.type)
            found = pc.is_in(asked, value_set=values)
            found = pc.if_else(pc.is_valid(asked), found, pa.scalar(None, pa.bool_()))
            return found if isinstance(op, ast.In) else pc.invert(found)
        case ast.Compare(left=left, ops=ops, comparators=others):
            values = [_value(part, columns) for part in (left, *others)]
            links = [_COMPARE[type(op)](a, b) for op, a, b in zip(ops, values, values[1:], strict=False)]
            result = links[0]
            for link in links[1:]:
                result = pc.and_kleene(result, link)
            return result
        case ast.Call(func=ast.Name(id=function), args=[ast.Name(id=name)]):
            return _FUNCTIONS[function](_typed(columns[name], pa.string()))
    raise AssertionError(ast.dump(node))


def _typed(column: Any, kind: pa.DataType) -> Any:
    """A column without a type (null everywhere, or not computed yet) as one of ``kind``; any other as it is."""
    return pc.cast(column, kind) if pa.types.is_null(column.type) else column
