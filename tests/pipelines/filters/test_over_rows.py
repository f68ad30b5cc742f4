"""The language of functions over all rows: what becomes of a call, and what is refused."""

import ast

import pytest

from potstill.pipelines.filters import expression, over_rows


def parsed(text):
    tree, measures = over_rows.parse(text)
    return ast.unparse(tree), list(measures)


def test_a_call_is_named_as_it_is_written_and_measured_once():
    text = "s>=quantile( s ,.7) and s < quantile(s, 0.7)"
    assert parsed(text) == ("s >= quantile(s, 0.7) and s < quantile(s, 0.7)", ["quantile(s, 0.7)"])


def test_the_top_is_a_rank_and_its_limit():
    assert parsed("top(s, 3)") == ("rank(s) <= 3", ["rank(s)"])
    assert parsed("not top_fraction(s, 0.3, by=g)") == (
        "not rank(s, by=g) <= top_fraction(s, 0.3, by=g)",
        ["rank(s, by=g)", "top_fraction(s, 0.3, by=g)"],
    )


def test_inner_calls_are_worked_out_before_outer_ones():
    assert parsed("rank(s / mean(s, by=g)) <= 3")[1] == ["mean(s, by=g)", "rank(s / mean(s, by=g))"]


def test_a_condition_about_one_row_stays_what_it_is():
    for text in ("a > 1 and b", "length(t) > 2", "a in (1, 2) or b is None", "folder(t) == 'x'"):
        assert parsed(text) == (ast.unparse(expression.parse(text)), [])


@pytest.mark.parametrize(
    ("text", "way_out"),
    [
        ("quantile(s) > 1", r"write quantile\(column, q\) with q from 0 to 1, or the same with by=column"),
        ("quantile(s, 2) > 1", "q from 0 to 1"),
        ("quantile(s, -0.1) > 1", "q from 0 to 1"),
        ("quantile(s, q) > 1", "q from 0 to 1"),
        ("quantile(s, True) > 1", "q from 0 to 1"),
        ("quantile(s, 1e999) > 1", "q from 0 to 1"),
        ("top(s, 0.3)", "k a whole number of at least 1"),
        ("top(s, 0)", "k a whole number"),
        ("top(s, '3')", "k a whole number"),
        ("top_fraction(s, 30)", "f from 0 to 1"),
        ("rank(3) > 1", r"write rank\(column\)"),
        ("rank() > 1", r"write rank\(column\)"),
        ("rank(s, by=3) > 1", r"write rank\(column\)"),
        ("rank(s, g) > 1", r"write rank\(column\)"),
        ("rank(s, within=g) > 1", r"write rank\(column\)"),
        ("rank(s, **g) > 1", r"write rank\(column\)"),
        ("count(s) > 1", r"write count\(\)"),
    ],
)
def test_a_call_of_another_form_is_refused_with_the_form_it_should_have(text, way_out):
    with pytest.raises(ValueError, match=f"is not allowed; .*{way_out}"):
        over_rows.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "rank(*s) > 1",
        "rank(s ** 2) > 1",
        "rank(s.real) > 1",
        "rank(lambda: s) > 1",
        "mean([x for x in s]) > 1",
        "count(by=open(s)) > 1",
        "__import__('os').system('true')",
        "rank.__class__ > 1",
        "mean(s)(t) > 1",
        "median(s) > 1",
        "rank(s := 1) > 1",
        "eval(mean(s)) > 1",
        "",
        "rank(s",
        "rank(s, by=g, by=h) > 1",
    ],
)
def test_everything_else_is_refused_before_it_is_run(text):
    with pytest.raises(ValueError):
        over_rows.parse(text)


@pytest.mark.parametrize("text", ["not " * 500 + "a", "-" * 5000 + "a > 1", "(" * 300 + "a" + ")" * 300, "rank(" * 150])
def test_what_is_nested_without_end_is_refused_and_not_followed(text):
    for parse in (expression.parse, over_rows.parse):
        with pytest.raises(ValueError, match="is not a condition"):
            parse(text)


@pytest.mark.parametrize(
    "call", ["quantile(a, 0.5)", "rank(a)", "top(a, 3)", "top_fraction(a, 0.1)", "count()", "mean(a)", "std(a)"]
)
def test_a_condition_about_one_row_points_to_the_stage_that_sees_all(call):
    with pytest.raises(ValueError, match="a filter sees one row at a time; make the stage `kind: set_filter`"):
        expression.parse(f"b and {call} > 1")
