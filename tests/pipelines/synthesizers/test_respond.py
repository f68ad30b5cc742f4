"""The answer to an instruction: a canned engine, three replies."""

from potstill.pipelines.synthesizers.respond import Respond
from tests.pipelines.synthesizers.scripted import ENGINE, lists, png, rows, use, words

IMAGES = [png(shade) for shade in (10, 20, 30)]


def test_respond_answers_the_instruction_over_the_picture(monkeypatch):
    replies = {"a": " Four. ", "b": ("It is", "length"), "c": " \n"}
    engine = use(monkeypatch, lambda request: replies[words(request)])
    stage = Respond(engine=ENGINE, max_tokens=9)
    result = lists(stage.build()(rows(IMAGES, instruction=["a", "b", "c"])))
    assert [part["type"] for part in engine.requests[0].messages[0]["content"]] == ["image", "text"]
    assert engine.requests[0].sampling.max_tokens == 9
    assert result["response"] == ["Four.", "It is", None]
    assert result["finish_reason"] == ["stop", "length", None]
    assert result["respond_reason"] == [None, None, "empty_response"]


def test_a_row_without_an_instruction_is_an_error_of_that_row(monkeypatch):
    use(monkeypatch, lambda request: "Four.")
    result = Respond(engine=ENGINE).build()(rows(IMAGES, instruction=["a", None, " "]))
    assert result["response"].to_pylist() == ["Four.", None, None]
    assert [type(error).__name__ for error in result["error"]] == ["NoneType", "ValueError", "ValueError"]
