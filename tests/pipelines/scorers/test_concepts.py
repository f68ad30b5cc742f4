import re

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from potstill.models.tiny.scenes import CONCEPTS, plural
from potstill.pipelines.scorers.concepts import Concepts, folded, index_of, named
from tests.conftest import ROOT
from tests.pipelines.scorers.tables import by_row, texts

LIST = ("dog|hound|puppy", "hot dog", "traffic light", "bus", "glasses", "狗", "cat")


def test_texts_name_concepts_by_any_of_their_words_in_any_number():
    values = (
        "Two Puppies and a dog's hound!",
        "A hot dog under traffic lights",
        "buses, a bus",
        "A cat in a catalogue with a glass",
        "一只狗",
        "nothing",
        None,
        " ",
    )
    found = by_row(Concepts(concepts=LIST), texts(*values))
    assert found["concepts"] == [
        ["dog"], ["hot dog", "traffic light"], ["bus"], ["cat", "glasses"], ["狗"], [], None, None
    ]  # fmt: skip
    assert found["concepts_count"] == [1, 2, 1, 2, 1, 0, None, None]


def test_a_word_counts_for_the_longest_phrase_only_and_the_order_is_that_of_the_text():
    index = index_of(["dog", "hot dog", "dog park", "hot dog stand"], plurals=True)
    assert named("a hot dog stand", index, plurals=True) == ["hot dog stand"]
    assert named("a hot dog park, hot dogs", index, plurals=True) == ["hot dog"]
    assert named("dog park and dogs", index, plurals=True) == ["dog park", "dog"]
    assert named("hot", index, plurals=True) == []


def test_plurals_may_be_told_apart():
    index = index_of(["dog"], plurals=False)
    assert named("dogs", index, plurals=False) == []
    assert named("dog", index, plurals=False) == ["dog"]


@pytest.mark.parametrize("word", CONCEPTS)
def test_a_regular_plural_meets_its_singular(word):
    last = word.split()[-1]
    if plural(last) in (last + "s", last + "es", last[:-1] + "ies"):
        assert folded(plural(last)) == folded(last)


def test_words_that_only_end_alike_stay_apart():
    pairs = [
        ("bus", "bu"),
        ("glass", "gla"),
        ("cat", "catalogue"),
        ("princess", "prince"),
        ("gas", "ga"),
        ("toe", "to"),
    ]
    assert [pair for pair in pairs if folded(pair[0]) == folded(pair[1])] == []
    for singular, number in (
        ("iris", "irises"),
        ("toe", "toes"),
        ("axe", "axes"),
        ("pie", "pies"),
        ("cookie", "cookies"),
    ):
        assert folded(singular) == folded(number)
    assert folded("boxes") == folded("box") != folded("boxer")


def test_the_list_may_stand_in_a_file_whose_content_is_the_identity(tmp_path):
    file = tmp_path / "concepts.txt"
    file.write_text("# animals\ndog|hound\n\ncat\n", encoding="utf-8")
    stage = Concepts(file=str(file))
    assert by_row(stage, texts("A hound", "# animals"))["concepts"] == [["dog"], []]
    before = stage.identity()
    file.write_text("cat\n", encoding="utf-8")
    assert stage.identity() != before
    with pytest.raises(FileNotFoundError, match="missing"):
        Concepts(file=str(tmp_path / "missing")).identity()
    file.write_text("# nothing\n ! \n", encoding="utf-8")
    with pytest.raises(ValueError, match="holds no word"):
        stage.build()


def test_one_list_is_given_and_not_two():
    for wrong in ({}, {"concepts": ("dog",), "file": "x"}):
        with pytest.raises(ValidationError, match="either concepts"):
            Concepts(**wrong)


def test_the_documented_query_counts_concepts_in_pool_and_in_what_is_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs/score/samples").mkdir(parents=True)
    (tmp_path / "runs/score/decisions").mkdir()
    named_by = pa.array([["dog", "cat"], ["dog"], [], None, ["cat"]], pa.list_(pa.string()))
    ids = list("abcde")
    pq.write_table(pa.table({"sample_id": ids, "concepts": named_by}), "runs/score/samples/chunk-00000.parquet")
    keep = pa.table({"sample_id": ids, "keep": [True, True, True, True, False]})
    pq.write_table(keep, "runs/score/decisions/final.parquet")
    query = re.search(r"```sql\n(.*?)```", (ROOT / "docs/scorers.md").read_text(encoding="utf-8"), re.S)[1]
    assert duckdb.sql(query).fetchall() == [("cat", 2, 1, 0.5), ("dog", 2, 2, 1.0)]
