"""Conditions over columns: values worked by hand, three-valued logic, and what is refused."""

import pyarrow as pa
import pytest

from potstill.pipelines.filters.expression import evaluate, names, parse

COLUMNS = {
    "i": pa.array([1, 2, None, 4], pa.int32()),
    "f": pa.array([0.5, float("nan"), 0.25, None], pa.float32()),
    "h": pa.array([0.5, 0.25, None, 1.0], pa.float16()),
    "t": pa.array(["", "äö", None, "abc"]),
    "b": pa.array([True, False, None, True]),
    "never": pa.nulls(4),
    "pieces": pa.chunked_array([pa.nulls(1), pa.nulls(3)]),
}
T, F, N = True, False, None


def truth(text):
    return evaluate(parse(text), COLUMNS, 4).to_pylist()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("i > 1", [F, T, N, T]),
        ("i * 2 + 1 >= 5", [F, T, N, T]),
        ("i - 2 == 0", [F, T, N, F]),
        ("-i < -1", [F, T, N, T]),
        ("1 < i <= 2", [F, T, N, F]),
        ("4 > i > 1", [F, T, N, F]),
        ("i != 2", [T, F, N, T]),
        ("i in (1, 4)", [T, F, N, T]),
        ("i in (-1, 2)", [F, T, N, F]),
        ("i in (1.5, 2.0)", [F, T, N, F]),
        ("i in ()", [F, F, N, F]),
        ("i not in [1, 4]", [F, T, N, F]),
        ("t in ('abc', 'x')", [F, F, N, T]),
        ("t == 'abc'", [F, F, N, T]),
        ("length(t) >= 2", [F, T, N, T]),
        ("f > 0.3", [T, F, F, N]),
        ("h > 0.3", [T, F, N, T]),
        ("h in (0.25,)", [F, T, N, F]),
        ("b", [T, F, N, T]),
        ("not b", [F, T, N, F]),
        ("i is None", [F, F, T, F]),
        ("i is not None", [T, T, F, T]),
        ("f is None", [F, F, F, T]),
        ("1 < 2", [T, T, T, T]),
        ("True", [T, T, T, T]),
    ],
)
def test_each_row_gets_the_truth_that_is_worked_out_by_hand(text, expected):
    assert truth(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("i > 1 and b", [F, F, N, T]),
        ("i > 1 and True", [F, T, N, T]),
        ("i > 1 and False", [F, F, F, F]),
        ("i > 1 or True", [T, T, T, T]),
        ("i > 1 or False", [F, T, N, T]),
        ("i > 1 or f > 0.2", [T, T, T, T]),
        ("i > 1 and f > 0.2", [F, F, N, N]),
        ("not (i > 1)", [T, F, N, F]),
        ("i > 1 and i is not None", [F, T, F, T]),
    ],
)
def test_null_is_unknown_and_only_a_deciding_side_makes_it_known(text, expected):
    assert truth(text) == expected


def test_division_is_never_of_integers_and_by_zero_is_infinite_not_an_error():
    assert truth("1 / i > 0.4") == [T, T, N, F]
    assert truth("i / 0 > 1000000") == [T, T, N, T]


@pytest.mark.parametrize(
    "text",
    [
        "never > 1",
        "not never",
        "never and b is None",
        "never in ('x',)",
        "never not in (1, 2)",
        "length(never) > 2",
        "never / 2 > 1",
        "-never > 1",
        "never",
        "1 < never < 3",
        "never == 'x'",
        "length(pieces) > 2",
        "pieces in ('x',)",
        "not pieces",
        "never or False",
    ],
)
def test_a_column_that_was_never_computed_is_unknown_in_every_row_whatever_is_asked_of_it(text):
    assert [value for value, b in zip(truth(text), COLUMNS["b"].to_pylist(), strict=True) if b is None] == [N]
    assert T not in truth(text)


def test_a_column_that_was_never_computed_is_none():
    assert truth("never is None") == truth("pieces is None") == [T, T, T, T]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "i >",
        "i = 1",
        "__import__('os').system('true')",
        "open('x')",
        "t.upper() == 'A'",
        "i.__class__",
        "t[0] == 'a'",
        "lambda: 1",
        "[x for x in t]",
        "i if b else f",
        "(x := 1)",
        "f'{i}'",
        "i ** 2 > 1",
        "i % 2 == 0",
        "i // 2 > 1",
        "~b",
        "i & 1",
        "None",
        "b'x' == t",
        "1j > 0",
        "...",
        "{1}",
        "{'a': 1}",
        "*i",
        "length(t, t)",
        "length('x') > 1",
        "length(x=t)",
        "length(t + t)",
        "i in t",
        "i in (f, 2)",
        "i in (None,)",
        "b is True",
        "i == None == 1",
        "i\0",
        "await i",
        "yield",
        "i; f",
        "import os",
    ],
)
def test_everything_else_is_refused_before_it_is_run(text):
    with pytest.raises(ValueError):
        parse(text)


def test_a_refusal_quotes_the_part_that_is_not_allowed_and_says_what_is():
    with pytest.raises(ValueError, match=r"'i \*\* 2' is not allowed; allowed: column names, numbers"):
        parse("b and i ** 2 > 1")


@pytest.mark.parametrize(
    "text", ["t > 3", "i == '1'", "length(i) > 1", "i", "i + 1", "i in (1, 'a')", "i > 1" + "0" * 30]
)
def test_a_condition_that_does_not_fit_its_columns_says_so(text):
    with pytest.raises(ValueError, match=r"does not fit its columns|compare it with something"):
        evaluate(parse(text), COLUMNS, 4)


def test_names_are_the_columns_once_each_and_no_functions():
    assert names(parse("length(t) > 2 and (i < f or i in (1, 2)) and length is None")) == ("f", "i", "length", "t")


def test_no_rows_give_no_truths_and_a_dunder_is_only_a_name_of_a_column():
    empty = {"i": pa.array([], pa.int32())}
    assert evaluate(parse("i > 1"), empty, 0).to_pylist() == evaluate(parse("1 < 2"), empty, 0).to_pylist() == []
    assert names(parse("__class__ > 1")) == ("__class__",)
