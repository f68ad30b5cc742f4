import pyarrow as pa
import pytest
from pydantic import ValidationError

from potstill.pipelines.scorers.text_measures import measures
from potstill.pipelines.scorers.text_stats import TextStats
from tests.pipelines.scorers.tables import by_row, texts

TEXTS = ("A dog.", None, "", "I'm sorry, but I can't.", "👍", "שלום", "ha ha ha ha", "A dog.")


def test_every_column_holds_the_measure_of_its_text():
    table = texts(*TEXTS)
    stage = TextStats(name="t", text=("caption",))
    found = by_row(stage, table)
    assert set(found) == {f"t_{noun}" for noun in measures("")}
    for noun in measures(""):
        expected = [measures(text or "")[noun] for text in TEXTS]
        assert found[f"t_{noun}"] == pa.array(expected, stage.writes()[f"t_{noun}"]).to_pylist(), noun
    assert found["t_characters"][1] == 0
    assert found["t_alphabet_share"][1] is None


def test_the_plan_chooses_columns_and_texts():
    stage = TextStats(text=("response", "caption"), columns=("words", "refusal", "top_2gram"))
    table = texts("two words", "three more words", response=[None, "one"])
    assert stage.reads() == ("response", "caption")
    assert dict(stage.writes()) == {
        "text_stats_words": pa.int32(), "text_stats_refusal": pa.bool_(), "text_stats_top_2gram": pa.float32()
    }  # fmt: skip
    assert by_row(stage, table)["text_stats_words"] == [2, 1]
    assert by_row(stage, table.slice(0, 0))["text_stats_words"] == []


def test_the_phrases_are_part_of_the_identity_only_where_they_count():
    assert set(TextStats().identity()) == {"refusal", "injection"}
    assert TextStats(columns=("words",)).identity() == {}


def test_a_noun_that_does_not_exist_is_refused_with_those_that_do():
    with pytest.raises(ValidationError, match="top_2gram"):
        TextStats(columns=("beauty",))
