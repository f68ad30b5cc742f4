"""Settings: every mistake at once with its path, YAML that loses nothing, overrides that change one thing."""

from typing import Annotated, Literal

import pytest
from pydantic import Field, ValidationError

from potstill.config import RequestError, Settings, override, read_yaml, validate


class Inner(Settings):
    """Nested."""

    budget: int = Field(default=3, gt=0)
    weight: float = 0.5


class Red(Settings):
    """One of a union."""

    kind: Literal["red"] = "red"
    depth: int = 1


class Blue(Settings):
    """The other."""

    kind: Literal["blue"] = "blue"
    height: int = 1


class Tree(Settings):
    """The whole."""

    name: str
    inner: Inner = Inner()
    items: tuple[Annotated[Red | Blue, Field(discriminator="kind")], ...] = ()


def told(tree):
    with pytest.raises(RequestError) as caught:
        validate(Tree, tree, "plan.yaml")
    return str(caught.value)


def test_settings_cannot_be_changed_and_hold_their_defaults():
    tree = validate(Tree, {"name": "a"}, "plan.yaml")
    assert (tree.inner.budget, tree.inner.weight, tree.items) == (3, 0.5, ())
    with pytest.raises(ValidationError):
        tree.inner.budget = 4


def test_an_unknown_key_is_refused_with_the_likely_name_and_all_names():
    assert told({"name": "a", "iner": {}}) == (
        "plan.yaml: 1 mistake\n  iner: unknown key; did you mean 'inner'? allowed: inner, items, name"
    )
    assert "inner.bugdet: unknown key; did you mean 'budget'? allowed: budget, weight (got 4)" in told(
        {"name": "a", "inner": {"bugdet": 4}}
    )
    assert "zzz: unknown key; allowed: inner, items, name" in told({"name": "a", "zzz": 1})


def test_all_mistakes_come_at_once_each_with_its_path_its_value_and_what_is_right():
    text = told(
        {"inner": {"budget": 0, "weight": "heavy", "extra": 1}, "items": [{"kind": "red", "depth": "x"}], "nam": 1}
    )
    assert text.startswith("plan.yaml: 6 mistakes\n")
    for line in (
        "  name: Field required",
        "  inner.budget: Input should be greater than 0 (got 0)",
        "  inner.weight: Input should be a valid number, unable to parse string as a number (got 'heavy')",
        "  inner.extra: unknown key; allowed: budget, weight (got 1)",
        "  items.0.red.depth: Input should be a valid integer, unable to parse string as an integer (got 'x')",
        "  nam: unknown key; did you mean 'name'? allowed: inner, items, name (got 1)",
    ):
        assert line in text.split("\n")


def test_an_unknown_kind_is_refused_with_the_kinds_there_are_and_a_hint_inside_a_union_names_the_right_keys():
    assert "'red', 'blue'" in told({"name": "a", "items": [{"kind": "rde"}]})
    text = told({"name": "a", "items": [{"kind": "blue"}, {"kind": "blue", "heigth": 2}]})
    assert "items.1.blue.heigth: unknown key; did you mean 'height'? allowed: height, kind (got 2)" in text


def test_a_long_value_is_cut_in_the_message():
    assert len(told({"name": "a", "inner": {"budget": "x" * 10_000}})) < 500


def write(tmp_path, text):
    path = tmp_path / "plan.yaml"
    path.write_text(text)
    return path


def test_yaml_is_read_as_a_mapping(tmp_path):
    assert read_yaml(write(tmp_path, "a: 1\nb: {c: [1, x]}\n")) == {"a": 1, "b": {"c": [1, "x"]}}


@pytest.mark.parametrize("text", ["a: 1\na: 2\n", "b: {c: 1, c: 1}", "b: [{c: 1, d: 2, c: 3}]", "x: &x {a: 1, a: 2}"])
def test_a_key_written_twice_is_refused_because_the_first_would_be_lost(tmp_path, text):
    with pytest.raises(RequestError, match="is written twice"):
        read_yaml(write(tmp_path, text))


def test_a_merged_mapping_may_be_overruled(tmp_path):
    text = "base: &base {a: 1, b: 2}\nmine: {<<: *base, a: 3}\n"
    assert read_yaml(write(tmp_path, text))["mine"] == {"a": 3, "b": 2}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: [1", "is not valid YAML"),
        ("a: !!python/object/apply:os.system ['true']", "is not valid YAML"),
        ("a: 2026-13-45", "is not valid YAML"),
        ("- a\n- b\n", "must hold a mapping .keys and values., found list"),
        ("", "found NoneType"),
        ("word", "found str"),
        ("{[1]: 2}: 3", "is not valid YAML"),
    ],
)
def test_a_file_that_is_no_plan_is_refused_with_its_name(tmp_path, text, reason):
    with pytest.raises(RequestError, match=rf"plan\.yaml.*{reason}"):
        read_yaml(write(tmp_path, text))


def test_a_file_that_cannot_be_read_is_refused_with_its_name(tmp_path):
    with pytest.raises(RequestError, match=r"cannot read the plan .*missing"):
        read_yaml(tmp_path / "missing")
    with pytest.raises(RequestError, match="cannot read the plan"):
        read_yaml(tmp_path)
    (tmp_path / "latin").write_bytes(b"a: \xff\xfe")
    with pytest.raises(RequestError, match="cannot read the plan"):
        read_yaml(tmp_path / "latin")


TREE = {"a": {"b": 1}, "stages": [{"kind": "toy", "offset": 1}, {"kind": "toy", "name": "second"}, {"kind": "gate"}]}


@pytest.mark.parametrize(
    ("assignment", "path", "value"),
    [
        ("a.b=2", ("a", "b"), 2),
        ("a.b=true", ("a", "b"), True),
        ("a.b=", ("a", "b"), None),
        ("a.b=x=y", ("a", "b"), "x=y"),
        ("a.b=a > 1", ("a", "b"), "a > 1"),
        ("a.b=[1, two]", ("a", "b"), [1, "two"]),
        ("a.b={c: 1}", ("a", "b"), {"c": 1}),
        ("a.new.deep=1", ("a", "new", "deep"), 1),
        ("stages.0.offset=5", ("stages", 0, "offset"), 5),
        ("stages.toy.offset=5", ("stages", 0, "offset"), 5),
        ("stages.second.offset=5", ("stages", 1, "offset"), 5),
        ("stages.gate.size=x", ("stages", 2, "size"), "x"),
        ("stages.2={kind: other}", ("stages", 2), {"kind": "other"}),
    ],
)
def test_an_override_sets_one_value_and_leaves_the_rest_and_the_original_alone(assignment, path, value):
    result = override(TREE, [assignment])
    node = result
    for key in path[:-1]:
        node = node[key]
    assert node.pop(path[-1]) == value
    assert TREE["a"] == {"b": 1}
    assert len(TREE["stages"]) == 3


def test_later_overrides_see_earlier_ones():
    assert override({"a": {}}, ["a.b=1", "a.b=2", "a.c.d=3"]) == {"a": {"b": 2, "c": {"d": 3}}}


def test_an_override_of_one_place_leaves_another_that_shares_a_yaml_anchor_with_it(tmp_path):
    tree = read_yaml(
        write(tmp_path, "engine: &e {model: tiny}\nstages: [{kind: x, engine: *e}, {kind: y, engine: *e}]\n")
    )
    result = override(tree, ["stages.y.engine.model=large"])
    assert [stage["engine"]["model"] for stage in result["stages"]] == ["tiny", "large"]
    assert result["engine"] == {"model": "tiny"}


@pytest.mark.parametrize(
    ("assignment", "reason"),
    [
        ("a.b", "is not of the form key.key=value"),
        ("=1", "is not of the form key.key=value"),
        ("a.b=[1", "the value is not valid YAML"),
        ("a.b={c: 1, c: 2}", "is written twice"),
        ("a.b.c=1", "int has no keys"),
        ("a.b.c.d=1", "int has no keys"),
        ("stages.9.x=1", "no single item '9' in the list; items: toy, second, gate; or an index below 3"),
        ("stages.two.x=1", "no single item 'two'"),
        ("stages.two=1", "no single item 'two'"),
        ("stages.²=1", "no single item '²'"),
        ("stages.-1.x=1", "no single item '-1'"),
    ],
)
def test_an_override_that_fits_nothing_is_refused_with_what_there_is(assignment, reason):
    with pytest.raises(RequestError, match=reason):
        override(TREE, [assignment])


def test_a_name_that_two_items_share_is_no_address():
    with pytest.raises(RequestError, match="no single item 'toy'"):
        override({"stages": [{"kind": "toy"}, {"kind": "toy"}]}, ["stages.toy.x=1"])
