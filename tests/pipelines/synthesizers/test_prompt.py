"""Chains of questions from a plan: what is asked with which words, what is written, where a row ends."""

import pyarrow as pa
import pytest

from potstill.config import RequestError, validate
from potstill.models.engines import settings
from potstill.pipelines.plan import Plan, load_plan, shipped_plans
from potstill.pipelines.synthesizers.prompt import PromptChain
from tests.conftest import ROOT
from tests.pipelines.synthesizers.scripted import ENGINE, Scripted, lists, png, rows, use, words

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


EACH = [
    {"name": "claims", "prompt": "Split.", "image": False, "parse": "lines"},
    {
        "name": "holds", "each": "claims", "prompt": "Of {alt}: {item}?", "parse": "choice", "choices": ["yes", "no"],
        "keep": {"weak": "holds_share >= 0.5"},
    },
    {"name": "rated", "each": "claims", "prompt": "Rate {item}.", "parse": "score", "mode": "expected"},
    {"name": "said", "each": "claims", "prompt": "Say {item} of {holds}.", "image": False},
]  # fmt: skip
ODDS = {"Score: 1": 0.5, "Score: 2": 0.1, "Score: 3": 0.1, "Score: 4": 0.1, "Score: 5": 0.2}


def about_items(request):
    """Three claims, of which that of a cat is wrong."""
    text = words(request)
    if text == "Split.":
        return "a dog\na cat\na mat"
    if text.startswith("Of"):
        return "no" if "cat" in text or "bad" in text else "yes"
    return ODDS if text.startswith("Rate") else "" if "cat" in text else "Told."


def test_a_question_can_be_asked_for_each_item_of_a_list(monkeypatch):
    engine = use(monkeypatch, about_items)
    unit = stage(*EACH, name="fit")
    result = run(unit, alt=["good", "bad", None])
    assert result["fit_holds"] == [["yes", "no", "yes"], ["no"] * 3, None]
    assert [share and round(share, 3) for share in result["fit_holds_share"]] == [0.667, 0, None]
    assert result["fit_reason"] == [None, "weak", None]
    assert "no text for {alt}" in result["error"][2]
    assert (result["fit_rated"][0], result["fit_rated"][1]) == ([1, 1, 1], None)
    assert result["fit_rated_expected"][0] == pytest.approx([2.4] * 3)
    assert result["fit_rated_mean"][0] == pytest.approx(2.4)
    assert result["fit_said"][0] == ["Told.", None, "Told."]
    assert words(engine.requests[-3]) == "Say a dog of yes\nno\nyes."
    assert {name: unit.writes()[name] for name in ("fit_holds", "fit_holds_share", "fit_rated_expected")} == {
        "fit_holds": pa.list_(pa.string()),
        "fit_holds_share": pa.float32(),
        "fit_rated_expected": pa.list_(pa.float32()),
    }
    assert unit.reads() == ("image", "alt")


def test_a_list_may_be_a_column_from_before_and_a_text_is_no_list(monkeypatch):
    use(monkeypatch, lambda request: "yes")
    unit = stage({**EACH[1], "each": "parts", "prompt": "{item}?"})
    assert unit.reads() == ("image", "parts")
    table = rows(IMAGES).append_column("parts", pa.array([["a", "b"], [], None], pa.list_(pa.string())))
    result = lists(unit.build()(table))
    assert result["prompt_holds"] == [["yes", "yes"], [], []]
    assert result["prompt_holds_share"] == [1, None, None]
    assert result["prompt_reason"] == [None, "weak_unknown", "weak_unknown"]
    assert "holds a text and no list" in run(unit, parts=["ab"] * 3)["error"][0]


def test_an_expected_score_stands_beside_the_likeliest_and_serves_conditions(monkeypatch):
    engine = use(monkeypatch, lambda request: ODDS)
    question = {
        "name": "a",
        "prompt": "Rate.",
        "parse": "score",
        "mode": "expected",
        "keep": {"low": "a_expected > 2.5"},
    }
    result = run(stage(question))
    assert (result["prompt_a"][0], result["prompt_reason"][0]) == (1, "low")
    assert result["prompt_a_expected"][0] == pytest.approx(2.4)
    assert engine.requests[0].choices == tuple(ODDS)


def test_a_json_reply_is_bound_to_its_schema_where_the_engine_can(monkeypatch):
    question = {
        "name": "a", "prompt": "Look.", "parse": "json",
        "fields": {"boxes": [{"label": "text", "x": "int"}], "n": "int"},
    }  # fmt: skip
    reply = '{"boxes": [{"label": "dog", "x": 3}], "n": 1}'
    free = use(monkeypatch, lambda request: reply)
    unit = stage(question, {"name": "b", "each": "a_boxes", "prompt": "So? {item}"})
    result = run(unit)
    assert result["prompt_a_boxes"][0] == [{"label": "dog", "x": 3}]
    assert free.requests[0].schema is None
    assert words(free.requests[-1]) == 'So? {"label": "dog", "x": 3}'
    assert str(unit.columns()["prompt_a_boxes"]) == "list<item: struct<label: string, x: int64>>"
    vllm = settings.VllmEngine(model="Scripted/Toy")
    bound = Scripted(lambda request: reply)
    monkeypatch.setitem(settings._loaded, vllm, bound)
    run(stage(question, engine=vllm))
    assert bound.requests[0].schema["properties"]["n"] == {"type": "integer"}
    assert bound.requests[0].schema["required"] == ["boxes", "n"]


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
        ([{**A, "mode": "expected"}], "`mode: expected` goes with `parse: score`"),
        ([{**A, "each": "b"}], "`each` and the place {item} in the prompt go together"),
        ([{**A, "prompt": "Look at {item}."}], "`each` and the place {item} in the prompt go together"),
        ([{**A, "prompt": "{item}", "each": "b", "parse": "lines"}], "`each` goes with text, score, choice"),
        ([{**A, "prompt": "{item}", "each": "b", "whole": True}], "without `whole`"),
        ([A, {**A, "name": "b", "prompt": "{item}", "each": "a"}], "asks for each of 'a', which is no list"),
        ([{**A, "parse": "json", "fields": {"n": [{"m": "int"}, {"m": "int"}]}}], "fields.n"),
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
    assert fingerprint(parse="score") != fingerprint(parse="score", mode="expected")


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
    "captioners",
    "embedding-triples",
    "evolve",
    "hard-negatives",
    "image-difference",
    "label-repair",
    "match-score",
    "preference-pairs",
    "reasoned-answer",
    "text-image-evaluation",
    "verified-caption",
]
OTHERS = ["facts", "multihop", "preference-claims", "preference-metrics"]
"""The embedded model writes no JSON; the tiny preference plans ask for their instructions first."""


@pytest.mark.parametrize("name", RECIPES)
def test_every_shipped_recipe_has_a_tiny_twin_that_writes_the_same(name):
    recipe = chains(name)
    assert recipe
    assert recipe.items() <= chains(f"{name}-tiny").items()


def test_the_recipes_are_all_that_is_shipped_and_stand_in_the_docs():
    assert {name.removesuffix("-tiny") for name in shipped_plans() if chains(name)} == {*RECIPES, *OTHERS, "judge"}
    page = (ROOT / "docs/prompt.md").read_text()
    assert all(f"| `{name}` |" in page for name in (*RECIPES, *OTHERS))
