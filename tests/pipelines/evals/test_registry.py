"""Recipes: from a file or a kind, with overrides; every mistake is told."""

import pytest
import yaml

from potstill.config import RequestError, Settings
from potstill.pipelines.evals.registry import EVALUATIONS, load_evaluation
from tests.conftest import ROOT


def test_a_kind_and_its_settings_are_a_recipe():
    found = load_evaluation("judge", ["data.path=runs/x", "scores=[a, b]", "data.limit=5"])
    assert (found.kind, found.scores, found.data.path, found.data.limit) == ("judge", ("a", "b"), "runs/x", 5)


def test_a_file_is_a_recipe_and_overrides_come_after_it(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump({"kind": "clip", "data": {"path": "x"}, "recall": [1, 10]}))
    assert load_evaluation(str(path)).recall == (1, 10)
    assert load_evaluation(str(path), ["recall=[2]"]).recall == (2,)
    engine = ["engine.kind=transformers", "engine.model=tiny", "recall=null"]
    with pytest.raises(RequestError, match="recall: unknown key"):
        load_evaluation(str(path), ["kind=vlm", *engine])


def test_what_is_written_back_gives_the_same(tmp_path):
    first = load_evaluation("vlm", ["data.path=x", "engine={kind: transformers, model: tiny}"])
    path = tmp_path / "again.yaml"
    path.write_text(yaml.safe_dump(first.model_dump(mode="json")))
    assert load_evaluation(str(path)) == first


def test_what_is_no_recipe_is_refused_with_the_kinds(tmp_path):
    with pytest.raises(
        RequestError, match=r"no recipe 'clop': give a YAML file, or a kind \(clip, vlm, classifier, judge\)"
    ):
        load_evaluation("clop")
    path = tmp_path / "recipe.yaml"
    path.write_text("kind: clop")
    with pytest.raises(RequestError, match="kind is 'clop'; give one of clip, vlm, classifier, judge"):
        load_evaluation(str(path))
    with pytest.raises(RequestError, match="clip: 2 mistakes"):
        load_evaluation("clip", ["batch_size=0"])


@pytest.mark.parametrize("kind", EVALUATIONS)
def test_each_kind_is_documented_and_has_its_test(kind):
    found = EVALUATIONS[kind]
    assert issubclass(found, Settings) and found.__doc__
    settings = found.model_json_schema()["properties"].items()
    assert {name for name, told in settings if "description" not in told} <= {"kind"}
    assert (ROOT / f"tests/pipelines/evals/test_{found.__module__.rpartition('.')[2]}.py").is_file()
    assert f"`{kind}`" in (ROOT / "docs/eval.md").read_text(encoding="utf-8")
