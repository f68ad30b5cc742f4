import socket

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from pydantic import ValidationError

from potstill.models.tiny.scenes import SpriteBank, sample_scene
from potstill.pipelines.scorers import text_area
from potstill.pipelines.scorers.text_area import TextArea, covered, frame, is_text
from tests.pipelines.pictures import encoded, photo, plain
from tests.pipelines.scorers.tables import by_row, pictures


def written(*lines, size=(400, 300), letters=32):
    image = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(image)
    for number, line in enumerate(lines):
        draw.text((20, 20 + 2 * letters * number), line, fill="black", font=ImageFont.load_default(letters))
    return encoded(image, "PNG")


@pytest.fixture(scope="module")
def score():
    return TextArea(side=400).build()


def test_writing_is_found_read_and_measured_without_a_network(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    page = written("OPEN DAILY 2026", "no dogs allowed", letters=40)
    found = by_row(TextArea(side=400), pictures(page, plain("navy"), page), sizes=(2,))
    assert found["text_area_text"] == ["OPEN DAILY 2026\nno dogs allowed", None, "OPEN DAILY 2026\nno dogs allowed"]
    assert found["text_area_boxes"] == [2, 0, 2]
    assert [len(places) for places in found["text_area_places"]] == [2, 0, 2]
    # two lines of about 320 x 40 pixels on 400 x 300
    assert found["text_area"][0] == pytest.approx(2 * 320 * 40 / (400 * 300), rel=0.35)
    assert found["text_area"][1] == 0


def test_a_page_is_covered_more_than_a_sign_and_pictures_of_things_are_not(score):
    rng = np.random.default_rng(11)
    scene = Image.fromarray(SpriteBank(255, variants=1).render([sample_scene(rng)], rng)[0])
    page = written(*["the quick brown fox jumps over"] * 7, letters=20)
    sign = written("EXIT")
    shares = score(pictures(page, sign, encoded(photo(300, 200)), encoded(scene, "PNG")))["text_area"]
    assert shares[0] > 0.3 > 0.1 > shares[1] > 0.01
    assert shares[2:] == (0, 0)


def test_without_reading_there_are_boxes_and_no_text():
    stage = TextArea(name="t", recognise=False, side=400)
    assert list(stage.writes()) == ["t", "t_boxes", "t_places"]
    result = stage.build()(pictures(written("OPEN DAILY"), plain()))
    assert result["t_boxes"] == (1, 0)


def test_odd_pictures_have_a_share_and_a_broken_one_costs_its_own_row_only(score):
    odd = [Image.new("RGB", (1, 1)), Image.new("LA", (4, 500)), Image.new("I;16", (40, 40)), Image.new("L", (30, 30))]
    result = score(pictures(*(encoded(image, "PNG") for image in odd), b"no picture"))
    assert result["text_area"] == (0, 0, 0, 0, None)
    assert [error is None for error in result["error"]] == [True, True, True, True, False]
    assert score(pictures(plain()).slice(0, 0))["text_area"] == ()


def test_the_share_is_that_of_the_union_of_the_boxes():
    square = [(0, 0), (9, 0), (9, 9), (0, 9)]
    assert covered([], (20, 10)) == 0
    assert covered([square], (20, 10)) == pytest.approx(0.5)
    assert covered([square, square], (20, 10)) == pytest.approx(0.5)
    assert covered([[(-50, -50), (90, -50), (90, 90), (-50, 90)]], (20, 10)) == 1


@pytest.mark.parametrize(
    ("reading", "expected"), [("STOP", True), ("42", True), ("I", False), ("--.", False), ("", False)]
)
def test_a_reading_of_one_character_is_no_text(reading, expected):
    assert is_text(reading) is expected


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setattr(text_area, "PACKAGES", ("no-such-package",))
    with pytest.raises(ImportError, match=r"no-such-package is not installed; pip install 'potstill\[ocr\]'"):
        TextArea().build()
    with pytest.raises(ValidationError, match="side"):
        TextArea(side=8)


def test_the_frame_of_a_box_is_in_shares_and_stays_in_the_picture():
    assert frame([(10, 5), (30, 7), (29, 15), (9, 13)], (40, 20)) == (9 / 40, 0.25, 0.75, 0.75)
    assert frame([(-3, -1), (50, -1), (50, 30), (-3, 30)], (40, 20)) == (0, 0, 1, 1)
