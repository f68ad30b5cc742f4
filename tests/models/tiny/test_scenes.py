import numpy as np
import pytest

from potstill.models.tiny.scenes import (
    COLOURS,
    CONCEPTS,
    EMPTY,
    GROUP_OF,
    HELD_OUT_STYLE,
    TRAIN_STYLES,
    Scene,
    SpriteBank,
    amount,
    load_sheet,
    sample_scene,
)

DOG, CAT, EGG = (CONCEPTS.index(word) for word in ("dog", "cat", "egg"))
BLUE = list(COLOURS).index("blue")
SCENE = Scene((EMPTY, CAT, DOG, EMPTY, DOG, EMPTY, EGG, EMPTY, EMPTY), BLUE)


@pytest.fixture(scope="module")
def bank() -> SpriteBank:
    return SpriteBank(48, TRAIN_STYLES[:2], variants=2)


def test_there_are_105_concepts_in_8_groups():
    assert len(CONCEPTS) == len(set(CONCEPTS)) == len(GROUP_OF) == 105
    assert len(set(GROUP_OF)) == 8


def test_a_caption_lists_counts_in_reading_order():
    assert SCENE.objects == ("cat", "dog", "egg")
    assert SCENE.counts == {"cat": 1, "dog": 2, "egg": 1}
    assert SCENE.caption() == "A cat, two dogs and an egg on a blue background."
    assert SCENE.places("dog") == ("top right", "centre")
    assert SCENE.places("pig") == ()


def test_amounts_read_as_english():
    assert [amount("butterfly", n) for n in (0, 1, 3)] == ["no butterflies", "a butterfly", "three butterflies"]


def test_scenes_are_a_function_of_the_seed():
    first, second = ([sample_scene(np.random.default_rng(7)) for _ in range(3)] for _ in range(2))
    assert first == second
    assert sample_scene(np.random.default_rng(8)) != first[0]


def test_scenes_have_one_to_three_kinds_and_at_most_four_of_each():
    rng = np.random.default_rng(0)
    for scene in (sample_scene(rng) for _ in range(200)):
        assert 1 <= len(scene.counts) <= 3
        assert max(scene.counts.values()) <= 4


def test_pictures_are_a_function_of_the_seed(bank):
    first, second = (bank.render([SCENE], np.random.default_rng(3)) for _ in range(2))
    assert first.shape == (1, 48, 48, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, second)


def test_the_picture_shows_what_the_scene_says(bank):
    picture = bank.render([SCENE], np.random.default_rng(3), noise=0.0)[0].astype(int)
    cells = picture.reshape(3, 16, 3, 16, 3).transpose(0, 2, 1, 3, 4).reshape(9, 16, 16, 3)
    filled = [bool(np.ptp(cell, axis=(0, 1)).max() > 0) for cell in cells]
    assert filled == [cell != EMPTY for cell in SCENE.cells]
    assert np.abs(cells[0, 0, 0] - COLOURS["blue"]).max() <= 14


def test_a_size_off_the_grid_is_refused():
    with pytest.raises(ValueError, match="multiple of 3"):
        SpriteBank(100)


@pytest.mark.parametrize("style", [*TRAIN_STYLES, HELD_OUT_STYLE])
def test_every_concept_has_a_sprite_in_every_style(style):
    sheet = load_sheet(style)
    assert sheet.shape == (105, 96, 96, 4)
    assert (sheet[..., 3].mean(axis=(1, 2)) > 10).all()
    assert len({sprite.tobytes() for sprite in sheet}) == 105
