"""The best of several texts is chosen by its score."""

import math

import pyarrow as pa
import pytest

from potstill.config import RequestError, validate
from potstill.pipelines.synthesizers.choose import Choose, top

CANDIDATES = [{"name": name, "text": f"{name}_text", "score": f"{name}_score"} for name in ("short", "long")]


def run(short, long, **settings):
    columns = {"short_text": [short[0]], "long_text": [long[0]]}
    table = pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})
    for name, value in (("short_score", short[1]), ("long_score", long[1])):
        table = table.append_column(name, pa.array([value], pa.float32()))
    found = Choose(candidates=CANDIDATES, **settings).build()(table)
    return {name: values.to_pylist()[0] for name, values in found.items()}


def test_the_text_with_the_best_score_wins_and_is_named():
    assert run(("a dog", 0.25), ("a dog on a mat", 0.5)) == {
        "caption": "a dog on a mat",
        "captioner": "long",
        "choose_score": 0.5,
        "choose_margin": 0.25,
        "choose_reason": None,
    }
    assert run(("a dog", 0.25), ("a dog on a mat", 0.5), best="lowest")["captioner"] == "short"


def test_the_first_of_equal_scores_wins():
    result = run(("a dog", 0.5), ("a dog on a mat", 0.5))
    assert (result["captioner"], result["choose_margin"]) == ("short", 0)


def test_a_candidate_without_text_or_score_does_not_count():
    assert run((" ", 0.9), ("a dog", 0.1))["captioner"] == "long"
    assert run(("a cat", math.nan), ("a dog", 0.1))["choose_margin"] is None
    none = run((None, 0.9), ("a dog", None))
    assert (none["caption"], none["captioner"], none["choose_reason"]) == (None, None, "no_candidate")


def test_columns_can_be_called_otherwise():
    unit = Choose(candidates=CANDIDATES, column="response", chooser="author", name="pick")
    assert list(unit.writes()) == ["response", "author", "pick_score", "pick_margin", "pick_reason"]
    assert unit.reads() == ("short_text", "short_score", "long_text", "long_score")


def test_top_counts_places():
    assert top([1, 3, 2.5], best="highest") == (1, 0.5)
    assert top([1, 3, 2.5], best="lowest") == (0, 1.5)
    assert top([None, 2], best="highest") == (1, None)
    assert top([], best="highest") == (None, None)


@pytest.mark.parametrize("candidates", [CANDIDATES[:1], [CANDIDATES[0], {**CANDIDATES[1], "name": "short"}]])
def test_one_candidate_or_two_of_one_name_are_refused(candidates):
    with pytest.raises(RequestError):
        validate(Choose, {"candidates": candidates}, "stage")
