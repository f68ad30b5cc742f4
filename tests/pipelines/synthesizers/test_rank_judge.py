"""The rank judge: places are means over both orders."""

import pytest

from potstill.config import RequestError, validate
from potstill.pipelines.synthesizers.rank_judge import RankJudge
from tests.pipelines.synthesizers.scripted import ENGINE, lists, png, rows, use, words

COLUMNS = {"instruction": ["What?"], "r0": ["bad"], "r1": ["good"], "r2": ["fair"]}
STAGE = RankJudge(engine=ENGINE, responses=("r0", "r1", "r2"))


def run(**columns):
    return lists(STAGE.build()(rows([png(1)], **{**COLUMNS, **columns})))


def honest(request):
    found = {text.split(": ")[1]: text[7] for text in words(request).split("\n\n") if text.startswith("Answer ")}
    return " > ".join(found[each] for each in ("good", "fair", "bad"))


def test_an_honest_judge_gives_one_order(monkeypatch):
    engine = use(monkeypatch, honest)
    result = run()
    assert result["rank_judge_ranks"] == [[3, 1, 2]]
    assert result["rank_judge_straight"] == result["rank_judge_swapped"] == [[1, 2, 0]]
    assert result["rank_judge_consistent"] == [True]
    assert "Answer A: bad\n\nAnswer B: good\n\nAnswer C: fair" in words(engine.requests[0])
    assert "Answer A: fair\n\nAnswer B: good\n\nAnswer C: bad" in words(engine.requests[1])


def test_a_judge_that_goes_by_the_place_gives_equal_places(monkeypatch):
    use(monkeypatch, lambda request: "A > B > C")
    result = run()
    assert result["rank_judge_ranks"] == [[2, 2, 2]]
    assert result["rank_judge_consistent"] == [False]


def test_an_order_without_all_letters_is_asked_again_and_then_is_the_rows_error(monkeypatch):
    replies = iter(["A > B", "A > B > C", "C > B > A", "A", ""])
    use(monkeypatch, lambda request: next(replies))
    assert run()["rank_judge_ranks"] == [[1, 2, 3]]
    assert run()["error"][0].startswith("UnparsableReply: straight, 2 tries: no order of all of A, B, C")


def test_the_orders_may_be_listed_for_the_engine(monkeypatch):
    engine = use(monkeypatch, lambda request: request.choices[-1])
    stage = RankJudge(engine=ENGINE, responses=("r0", "r1", "r2"), only_orders=True)
    assert lists(stage.build()(rows([png(1)], **COLUMNS)))["rank_judge_straight"] == [[2, 1, 0]]
    assert len(set(engine.requests[0].choices)) == 6
    with pytest.raises(RequestError, match="5 responses, limit 4; set it to false"):
        tree = {"engine": ENGINE.model_dump(), "responses": list("abcde"), "only_orders": True}
        validate(RankJudge, tree, "stage")


def test_responses_are_two_to_eight_different_columns():
    for responses, message in ((["r"], "at least 2"), (["r", "r"], "stands twice"), (list("abcdefghi"), "at most 8")):
        with pytest.raises(RequestError, match=message):
            validate(RankJudge, {"engine": ENGINE.model_dump(), "responses": responses}, "stage")
