import pyarrow as pa
import pytest
from pydantic import ValidationError

from potstill.models.text_classifier import TextClassifier
from potstill.pipelines.scorers.toxicity import Toxicity
from tests.models.tiny_texts import classifier
from tests.pipelines.scorers.tables import by_row, texts


def test_rude_words_are_listed_and_look_alikes_are_not():
    values = ("You are a fucking asshole, f u c k off", "An assassin shot a cockerel in Scunthorpe", None, "", "🐶 כלב")
    found = by_row(Toxicity(), texts(*values))
    assert found["toxicity_words"] == [["asshole", "fuck", "fucking"], [], None, None, []]
    assert found["toxicity_count"] == [3, 0, None, None, 0]


def test_the_list_of_a_language_is_used_only_when_it_is_named():
    table = texts("Du bist ein Arschloch")
    assert by_row(Toxicity(), table)["toxicity_words"] == [[]]
    assert by_row(Toxicity(languages=("german",)), table)["toxicity_words"] == [["arschloch"]]


def test_a_model_gives_the_greatest_share_of_the_labels_that_mean_toxic(tmp_path):
    folder = classifier(tmp_path)
    stage = Toxicity(name="t", model=folder, labels=("threat", "rude"), device="cpu", batch_size=2)
    assert dict(stage.writes()) == {"t_score": pa.float32(), "t_label": pa.string()}
    table = texts("a b", None, "c", "a b", "d d d c", "")
    result = stage.build()(table)
    shares = TextClassifier(folder, device="cpu").probabilities(["a b", "c", "d d d c"], 4)[:, [2, 1]]
    for row, share in zip((0, 2, 4), shares, strict=True):
        assert result["t_score"][row] == pytest.approx(share.max(), abs=1e-6)
        assert result["t_label"][row] == ("threat", "rude")[share.argmax()]
    assert result["t_score"][3] == result["t_score"][0]
    assert result["t_label"][1] is result["t_score"][5] is None
    assert stage.build()(texts(None))["t_score"] == [None]


def test_a_label_that_the_model_does_not_have_is_named_with_those_it_has(tmp_path):
    with pytest.raises(ValueError, match="labels: fine, rude, threat"):
        Toxicity(model=classifier(tmp_path), labels=("toxic",), device="cpu").build()


def test_settings_that_do_not_fit_are_refused():
    with pytest.raises(ValidationError, match="labels"):
        Toxicity(model="some/model")
    with pytest.raises(ValidationError, match="labels"):
        Toxicity(labels=("toxic",))
    with pytest.raises(ValidationError, match="german"):
        Toxicity(languages=("klingon",))


def test_the_identity_is_the_version_of_the_lists_or_the_digest_of_the_model(tmp_path):
    assert Toxicity().identity()["glin-profanity"].startswith("4.")
    assert "digest" in Toxicity(model=classifier(tmp_path), labels=("rude",)).identity()
