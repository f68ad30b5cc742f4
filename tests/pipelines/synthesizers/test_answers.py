"""Several answers to one instruction: all different, each with a draw of its own."""

import pytest

from potstill.config import RequestError, validate
from potstill.pipelines.synthesizers.answers import Answers, different
from tests.pipelines.synthesizers.scripted import ENGINE, lists, png, rows, use, words

IMAGES = [png(shade) for shade in (10, 20)]


def run(replies, **settings):
    said = iter(replies)
    engine = use(settings.pop("monkeypatch"), lambda request: next(said))
    return engine, lists(Answers(engine=ENGINE, **settings).build()(rows(IMAGES[:1], instruction=["What?"])))


def test_the_answers_are_asked_for_at_once(monkeypatch):
    engine, result = run(["One.", "Two.", "Three."], n=3, temperature=0.9, monkeypatch=monkeypatch)
    assert result["answers"] == [["One.", "Two.", "Three."]]
    assert (result["answers_cut_off"], result["answers_reason"]) == ([0], [None])
    (request,) = engine.requests
    assert (words(request), request.sampling.n, request.sampling.temperature) == ("What?", 3, 0.9)
    assert (result["answers_prompt_tokens"], result["answers_completion_tokens"]) == ([10], [3])


def test_equal_blank_and_cut_off_answers_are_left_out(monkeypatch):
    replies = ["One.", " One.\n", "...", ("Two, th", "length"), "Zwei."]
    _, result = run(replies, n=5, monkeypatch=monkeypatch)
    assert (result["answers"], result["answers_cut_off"]) == ([["One.", "Zwei."]], [1])
    _, result = run(replies, n=5, whole=False, monkeypatch=monkeypatch)
    assert result["answers"] == [["One.", "Two, th", "Zwei."]]


@pytest.mark.parametrize("replies", [["One.", "One."], ["", ""], [("On", "length"), "One."]])
def test_a_row_with_nothing_to_compare_ends(monkeypatch, replies):
    _, result = run(replies, n=2, monkeypatch=monkeypatch)
    assert result["answers_reason"] == ["alike"]
    assert result["error"] == [None]


def test_a_request_that_fails_costs_its_row_alone(monkeypatch):
    def script(request):
        return ValueError("too long") if "long" in words(request) else f"Seed {request.sampling.seed}."

    use(monkeypatch, script)
    result = lists(Answers(engine=ENGINE, n=2).build()(rows(IMAGES, instruction=["long", "short"])))
    assert result["error"] == ["ValueError: too long", None]
    assert [answers and len(answers) for answers in result["answers"]] == [None, 2]


def test_different_keeps_the_first_of_equal_texts():
    assert different([" a", "b", "a ", "", "?"]) == ["a", "b"]


def test_greedy_or_single_answers_are_refused():
    for tree in ({"temperature": 0}, {"n": 1}):
        with pytest.raises(RequestError):
            validate(Answers, {"engine": ENGINE.model_dump(), **tree}, "stage")
