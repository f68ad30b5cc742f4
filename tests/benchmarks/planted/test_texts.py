import numpy as np
import pytest

from benchmarks.planted import texts
from benchmarks.planted.texts import ENORMOUS, LANGUAGES, NAMED, REFUSALS, STEERING
from potstill.models.tiny.chat_questions import holds, score
from potstill.models.tiny.scenes import COLOURS, CONCEPTS, EMPTY, Scene, sample_scene

CAPTION = "Two dogs and a cat on a blue background."


@pytest.fixture
def rng():
    return np.random.default_rng(1)


def test_every_language_has_all_the_words():
    assert len(LANGUAGES) == 8
    for language in LANGUAGES.values():
        assert len(language.words) == len(set(language.words)) == len(NAMED)
        assert len(language.colours) == len(set(language.colours)) == len(COLOURS)
        assert not set(language.words) & set(NAMED)
    assert set(NAMED) <= set(CONCEPTS)


def test_a_scene_in_three_languages():
    scene = Scene((CONCEPTS.index("dog"), CONCEPTS.index("key"), *[EMPTY] * 7), list(COLOURS).index("blue"))
    assert LANGUAGES["es"].caption(scene) == "Una imagen con un perro y una llave sobre un fondo azul."
    assert LANGUAGES["de"].caption(scene) == "Ein Bild mit einem Hund und einem Schlüssel vor blauem Hintergrund."
    assert LANGUAGES["zh"].caption(scene) == "这张图片的蓝色背景上有一只狗和一把钥匙。"
    assert [LANGUAGES[code].label("key") for code in ("es", "de", "zh", "ja")] == ["llave", "Schlüssel", "钥匙", "鍵"]


def test_nameable_scenes_hold_one_of_each_named_thing(rng):
    for _ in range(40):
        scene = texts.nameable(rng)
        assert set(scene.objects) <= set(NAMED)
        assert set(scene.counts.values()) == {1}


def test_a_caption_with_places_worked_by_hand():
    dog, cat = CONCEPTS.index("dog"), CONCEPTS.index("cat")
    scene = Scene((dog, EMPTY, dog, EMPTY, cat, *[EMPTY] * 4), list(COLOURS).index("red"))
    assert texts.placed(scene) == "Two dogs at the top left and top right and a cat at the centre, on a red background."


def test_a_moved_scene_has_the_same_things_in_other_places(rng):
    for _ in range(40):
        scene = sample_scene(rng)
        other = texts.moved(scene, rng)
        assert (other.counts, other.colour) == ({word: scene.counts[word] for word in other.objects}, scene.colour)
        assert all(other.places(word) != scene.places(word) for word in scene.objects)


def test_bad_texts(rng):
    assert texts.bad_text("empty", CAPTION, rng).strip() == ""
    assert texts.bad_text("refusal", CAPTION, rng) in REFUSALS
    repeated = texts.bad_text("repeated", CAPTION, rng)
    assert 12 <= repeated.count("Two dogs and a cat") <= 20
    garbled = texts.bad_text("garbled", CAPTION, rng)
    changed = [old for old, new in zip(CAPTION, garbled, strict=True) if old != new]
    assert all(letter.isalpha() for letter in changed)
    assert 8 <= len(changed) <= 24


def test_hostile_texts_hold_the_caption_and_the_attack(rng):
    html = texts.hostile_text("html", CAPTION, rng)
    assert CAPTION in html
    assert any(word in html for word in ("<script", "onerror", "javascript:"))
    assert any(texts.hostile_text("injection", CAPTION, rng) == f"{CAPTION} {steer}" for steer in STEERING)
    control = texts.hostile_text("control", CAPTION, rng)
    assert "\x00" in control
    assert "".join(c for c in control.replace("\x1b[2J", "") if c.isprintable()) == CAPTION
    rtl = texts.hostile_text("rtl", CAPTION, rng)
    assert (rtl[0], rtl[-1], rtl[-2:0:-1]) == ("\u202e", "\u202c", CAPTION)
    enormous = texts.hostile_text("enormous", CAPTION, rng)
    assert len(enormous) == ENORMOUS
    assert enormous.startswith(CAPTION)


@pytest.mark.parametrize("make", [texts.bad_text, texts.hostile_text])
def test_an_unknown_variant_is_named(make, rng):
    with pytest.raises(ValueError, match="'rude'"):
        make("rude", CAPTION, rng)


def test_questions_ask_for_what_is_there_or_for_nothing_that_is(rng):
    kinds = {True: set(), False: set()}
    for _ in range(300):
        scene = sample_scene(rng)
        for true in (True, False):
            asked = texts.question(scene, rng, true=true)
            assert score(scene, asked.grants) == (5 if true else 1)
            assert asked.grants
            assert all(holds(scene, thing) is true for thing in asked.grants)
            kinds[true].add(asked.kind)
    assert kinds[True] == kinds[False], "the form does not tell a true question from a false one"
