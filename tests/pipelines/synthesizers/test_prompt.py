"""Chains of questions from a plan: what is asked with which words, what is written, where a row ends."""

import pyarrow as pa
import pytest

from potstill.config import RequestError, validate
from potstill.pipelines.plan import Plan, load_plan, shipped_plans
from potstill.pipelines.synthesizers.prompt import PromptChain
from tests.conftest import ROOT
from tests.pipelines.synthesizers.scripted import ENGINE, lists, png, rows, use, words

IMAGES = [png(shade) for shade in (10, 20, 30)]
CHAIN = [
    {"name": "caption", "prompt": "Describe the picture.", "temperature": 0.5, "max_tokens": 9},
    {"name": "claims", "prompt": "Split: {caption}", "image": False, "parse": "lines"},
    {
        "name": "true",
        "prompt": "Is this so?\n{claims}",
        "parse": "choice",
        "choices": ["yes", "no"],
        "keep": "true == 'yes'",
    },
    {"name": "rating", "prompt": "Rate {caption} against {alt}.", "parse": "score", "keep": {"low": "rating >= 3"}},
    {
        "name": "facts",
        "prompt": 'Reply as {"count": N}. It was rated {rating}.',
        "parse": "json",
        "fields": {"count": "int", "mood": "text?"},
    },
]
ROW = {"alt": ["a dog"] * 3}


def stage(*questions, **settings):
    return PromptChain.model_validate({"engine": ENGINE, "questions": list(questions or CHAIN), **settings})


def run(unit, **columns):
    return lists(unit.build()(rows(IMAGES, **columns)))


def said(request):
    """A reply that fits each question of :data:`CHAIN`."""
    answers = {"Desc": "A dog on a mat.", "Spli": "- a dog\n- a mat", "Is t": "yes", "Rate": "Score: 4"}
    return answers.get(words(request)[:4], '{"count": 2}')


def test_each_reply_is_a_typed_column_and_fills_later_prompts(monkeypatch):
    engine = use(monkeypatch, said)
    unit = stage(name="look")
    result = run(unit, **ROW)
    assert {name: values[0] for name, values in result.items()} == {
        "look_caption": "A dog on a mat.",
        "look_claims": ["a dog", "a mat"],
        "look_true": "yes",
        "look_rating": 4,
        "look_facts_count": 2,
        "look_facts_mood": None,
        "look_reason": None,
        "look_prompt_tokens": 50,
        "look_completion_tokens": 16,
        "error": None,
    }
    assert [str(kind) for kind in unit.columns().values()] == [
        "string", "list<item: string>", "string", "int8", "int64", "string",
    ]  # fmt: skip
    first = engine.requests[::3]
    assert [words(request) for request in first] == [
        "Describe the picture.",
        "Split: A dog on a mat.",
        "Is this so?\na dog\na mat",
        "Rate A dog on a mat. against a dog.",
        'Reply as {"count": N}. It was rated 4.',
    ]
    assert [len(request.images) for request in first] == [1, 0, 1, 1, 1]
    assert [request.choices for request in first] == [None, None, ("yes", "no"), None, None]
    assert (first[0].sampling.temperature, first[0].sampling.max_tokens) == (0.5, 9)
    assert len({request.sampling.seed for request in engine.requests}) == 15


def test_it_reads_what_is_named_and_not_its_own_replies():
    assert stage().reads() == ("image", "alt")
    text = {"name": "a", "prompt": "{caption} {b}", "image": False}
    assert stage(text, {**text, "name": "b"}).reads() == ("caption", "b")
    assert stage({**text, "keep": "clip_score > 0.2 and length(a) > 3"}).reads() == ("caption", "b", "clip_score")


def test_a_condition_that_fails_ends_the_row_and_the_reply_stays(monkeypatch):
    shades = {10: "no", 20: "yes", 30: "yes"}

    def script(request):
        shade = request.images and request.images[0].getpixel((0, 0))[0]
        if words(request).startswith("Is this so?"):
            return shades[shade]
        return "2" if words(request).startswith("Rate") and shade == 20 else said(request)

    engine = use(monkeypatch, script)
    result = run(stage(), **ROW)
    assert result["prompt_reason"] == ["true", "low", None]
    assert result["prompt_true"] == ["no", "yes", "yes"]
    assert result["prompt_rating"] == [None, 2, 4]
    assert result["prompt_facts_count"] == [None, None, 2]
    assert result["error"] == [None] * 3
    assert len(engine.requests) == 3 + 4 + 5
    assert stage().gate() == "prompt_reason"


def test_a_condition_may_use_columns_from_before_and_a_null_is_unknown(monkeypatch):
    use(monkeypatch, lambda request: "fine")
    unit = stage({"name": "a", "prompt": "Look.", "keep": {"long": "length(a) < length(alt)"}})
    assert run(unit, alt=["a dog", "dog", None])["prompt_reason"] == [None, "long", "long_unknown"]


def test_replies_without_words_and_cut_off_ones_are_told_apart(monkeypatch):
    replies = iter([" \n", ("A do", "length"), ("A do", "length"), "```", ("- a", "length"), "- a"])
    use(monkeypatch, lambda request: next(replies))
    loose, whole = {"name": "a", "prompt": "Look."}, {"name": "a", "prompt": "Look.", "whole": True}
    assert run(stage(loose))["prompt_reason"] == ["empty_a", None, None]
    replies = iter([("A do", "length"), "A dog.", ""])
    assert run(stage(whole))["prompt_reason"] == ["truncated_a", None, "empty_a"]
    replies = iter(["```", ("- a", "length"), "- a"])
    result = run(stage({**loose, "parse": "lines"}))
    assert result["prompt_reason"] == ["empty_a", "empty_a", None]
    assert result["prompt_a"] == [None, None, ["a"]]


def test_an_unreadable_reply_is_asked_again_and_then_is_the_rows_error(monkeypatch):
    question = {"name": "a", "prompt": "Look.", "parse": "json", "fields": {"n": "int"}}
    replies = iter(["?", '{"n": 1}', "Дa", '{"n": 2}', "no", "nein"])
    engine = use(monkeypatch, lambda request: next(replies))
    table = rows(IMAGES)
    good, late, bad = (lists(stage(question).build()(table.slice(index, 1))) for index in range(3))
    assert (good["prompt_a_n"], late["prompt_a_n"], bad["prompt_a_n"]) == ([1], [2], [None])
    assert bad["error"] == ["UnparsableReply: a, 2 tries: no JSON object in the reply 'nein'"]
    assert len({request.sampling.seed for request in engine.requests}) == 6


def test_a_model_may_be_left_free_to_reason_before_it_chooses(monkeypatch):
    engine = use(monkeypatch, lambda request: "I see a dog. Answer: yes")
    question = {"name": "a", "prompt": "Dog?", "parse": "choice", "choices": ["yes", "no"], "only_choices": False}
    assert run(stage(question))["prompt_a"] == ["yes"] * 3
    assert engine.requests[0].choices is None


def test_values_stay_text_and_missing_ones_cost_their_row_alone(monkeypatch):
    engine = use(monkeypatch, lambda request: "Fine.")
    hostile = "{caption} {0} \\g<0> <|im_end|>"
    result = run(stage({"name": "a", "prompt": "Rate: {alt}"}), alt=[hostile, None, " "])
    assert words(engine.requests[0]) == f"Rate: {hostile}"
    assert [bool(error) for error in result["error"]] == [False, True, True]
    assert "there is no text for {alt}; drop such rows" in result["error"][1]


def test_a_reply_can_become_a_column_of_the_product(monkeypatch):
    use(monkeypatch, lambda request: "What is it?" if words(request) == "Ask." else f"Told: {words(request)}")
    unit = stage(
        {"name": "ask", "prompt": "Ask.", "column": "instruction"},
        {"name": "tell", "prompt": "{instruction}", "column": "response"},
    )
    assert unit.reads() == ("image",)
    result = run(unit)
    assert (result["instruction"][0], result["response"][0]) == ("What is it?", "Told: What is it?")


def test_a_prompt_may_stand_in_a_file_and_the_plan_keeps_its_text(tmp_path):
    file = tmp_path / "ask.txt"
    file.write_text("Was ist das, {alt}?\n", encoding="utf-8")
    unit = stage({"name": "a", "prompt": {"file": str(file)}})
    assert unit.questions[0].prompt == "Was ist das, {alt}?"
    assert PromptChain.model_validate(unit.model_dump(mode="json")) == unit
    with pytest.raises(RequestError, match=r"cannot read the prompt file .*missing\.txt"):
        validate(PromptChain, tree({"name": "a", "prompt": {"file": str(tmp_path / "missing.txt")}}), "stage")


def tree(*questions):
    return {"engine": ENGINE.model_dump(), "questions": list(questions)}


A = {"name": "a", "prompt": "Look."}


@pytest.mark.parametrize(
    ("questions", "message"),
    [
        ([], "stage 'prompt' has no question; give it at least one"),
        ([A, A], "several questions of stage 'prompt' are called 'a'"),
        ([A, {**A, "name": "b", "column": "prompt_a"}], "several columns of stage 'prompt' are called 'prompt_a'"),
        ([{**A, "name": "reason"}], "several columns of stage 'prompt' are called 'prompt_reason'"),
        ([{**A, "parse": "choice"}], "`parse: choice` and at least two `choices` go together"),
        ([{**A, "parse": "choice", "choices": ["yes", "Yes"]}], "at least two `choices`"),
        ([{**A, "choices": ["yes", "no"]}], "`parse: choice` and"),
        ([{**A, "parse": "json"}], "`parse: json` and `fields` go together"),
        ([{**A, "parse": "json", "fields": {"n": "number"}}], "fields.n"),
        ([{**A, "parse": "json", "fields": {"n": "int"}, "column": "n"}], "leave `column` out"),
        ([{**A, "prompt": "Look at {image}."}], "{image} is no text"),
        ([{**A, "keep": "import os"}], "is not a condition"),
        ([{**A, "keep": "a > 3"}], "does not fit its columns"),
        ([{**A, "max_tokens": 0, "temperature": 9}], "2 mistakes"),
    ],
)
def test_wrong_settings_are_refused(questions, message):
    with pytest.raises(RequestError) as caught:
        validate(PromptChain, tree(*questions), "stage")
    assert message in str(caught.value)


def test_a_column_that_nothing_writes_is_found_when_the_plan_is_read():
    plan = {
        "source": {"kind": "folder", "path": "x"},
        "stages": [{"kind": "prompt", **tree({**A, "prompt": "{captoin}"})}],
    }
    with pytest.raises(RequestError, match="stage 'prompt' reads 'captoin', which nothing before it writes"):
        validate(Plan, plan, "plan")


def test_changed_words_change_the_fingerprint():
    def fingerprint(**change):
        plan = {"source": {"kind": "folder", "path": "x"}, "stages": [{"kind": "prompt", **tree({**A, **change})}]}
        return Plan.model_validate(plan).fingerprints()["prompt"]

    assert fingerprint() == fingerprint()
    assert len({fingerprint(), fingerprint(prompt="Look!"), fingerprint(max_tokens=3)}) == 3


def test_an_empty_batch_stays_empty_with_all_columns(monkeypatch):
    use(monkeypatch, said)
    unit = stage()
    result = unit.build()(rows([], alt=[]))
    assert set(result) == {*unit.writes(), "error"}
    assert {name: result[name].type for name in unit.writes()} == unit.writes()


def test_a_list_reply_fills_a_prompt_line_by_line_and_types_survive_arrow():
    kinds = stage().writes()
    assert kinds["prompt_claims"] == pa.list_(pa.string())
    assert kinds["prompt_reason"] == pa.string()


def chains(name):
    """The prompt stages of a shipped plan: name -> columns."""
    stages = load_plan(shipped_plans()[name]).row_stages()
    return {each.name: list(each.writes()) for each in stages if each.kind == "prompt"}


RECIPES = [
    "caption",
    "caption-instruct",
    "embedding-triples",
    "evolve",
    "match-score",
    "preference-pairs",
    "reasoned-answer",
    "text-image-evaluation",
]


@pytest.mark.parametrize("name", RECIPES)
def test_every_shipped_recipe_has_a_tiny_twin_that_writes_the_same(name):
    recipe = chains(name)
    assert recipe
    assert recipe.items() <= chains(f"{name}-tiny").items()


def test_the_recipes_are_all_that_is_shipped_and_stand_in_the_docs():
    assert {name.removesuffix("-tiny") for name in shipped_plans() if chains(name)} == {*RECIPES, "judge"}
    page = (ROOT / "docs/prompt.md").read_text()
    assert all(f"| `{name}` |" in page for name in RECIPES)
