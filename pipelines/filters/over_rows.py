"""Functions over all rows in a condition: each call becomes a column, and a condition about one row is left.

``quantile(x, q)``, ``mean(x)``, ``std(x)``, ``count()``, ``rank(x)`` (1 is the largest), ``top(x, k)`` (the k largest)
and ``top_fraction(x, f)``; x is a column or an expression; ``by=g`` at the end looks at each group by itself.
"""

from __future__ import annotations

import ast

from potstill.pipelines.filters import expression
from potstill.pipelines.filters.measures import Measure

FORMS = {name: f"{name}(column)" for name in ("rank", "mean", "std")} | {
    "count": "count()",
    "top": "top(column, k) with k a whole number of at least 1",
    "top_fraction": "top_fraction(column, f) with f from 0 to 1",
    "quantile": "quantile(column, q) with q from 0 to 1",
}
ALLOWED = (
    f"{expression.ALLOWED}; {', '.join(form.partition(' with')[0] for form in FORMS.values())}, each with by=column"
)


def parse(text: str) -> tuple[ast.expr, dict[str, Measure]]:
    """The condition with a name for each call, and the calls by name in the order to work them out.

    Raises ``ValueError`` that names what is not allowed.
    """
    calls = _Calls(text)
    tree = calls.visit(expression.read(text))
    expression.check(tree, text, ALLOWED)
    return tree, calls.measures


class _Calls(ast.NodeTransformer):
    """Replaces calls from the inside outwards; ``top`` and ``top_fraction`` become comparisons of a rank."""

    def __init__(self, text: str) -> None:
        self.measures: dict[str, Measure] = {}
        self._text = text

    def visit_Call(self, node: ast.Call) -> ast.expr:
        """A name for a call of these functions; any other as it is."""
        if not isinstance(node.func, ast.Name) or node.func.id not in FORMS:
            return node
        name = ast.unparse(self.generic_visit(node))
        measure = self._measure(node)
        if measure.function not in ("top", "top_fraction"):
            return self._column(name, measure)
        by = f", by={ast.unparse(measure.by)}" if measure.by else ""
        rank = self._column(f"rank({ast.unparse(node.args[0])}{by})", Measure("rank", measure.of, 0, measure.by))
        limit = node.args[1] if measure.function == "top" else self._column(name, measure)
        return ast.Compare(rank, [ast.LtE()], [limit])

    def _column(self, name: str, measure: Measure) -> ast.Name:
        self.measures[name] = measure
        return ast.Name(name)

    def _measure(self, node: ast.Call) -> Measure:
        """The call, checked."""
        function, number, fits = ast.unparse(node.func), 0.0, False
        match node.args:
            case []:
                fits = function == "count"
            case [_]:
                fits = function in ("rank", "mean", "std")
            case [_, ast.Constant(value=int() | float() as number)]:
                share = type(number) in (int, float) and 0 <= number <= 1
                fits = share if function in ("quantile", "top_fraction") else type(number) is int and number >= 1
        of, by = node.args[:1], [keyword.value for keyword in node.keywords]
        grouped = [keyword.arg for keyword in node.keywords] in ([], ["by"])
        if not (fits and grouped and all(expression.names(part) for part in (*of, *by))):
            way_out = f"write {FORMS[function]}, or the same with by=column at the end"
            raise ValueError(f"{self._text!r}: {ast.unparse(node)!r} is not allowed; {way_out}")
        for part in (*of, *by):
            expression.check(part, self._text, ALLOWED)
        return Measure(function, of[0] if of else None, number, by[0] if by else None)
