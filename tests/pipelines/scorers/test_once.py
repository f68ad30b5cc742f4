from PIL import Image

from potstill.pipelines.scorers.once import each_picture, each_text, first_text
from tests.pipelines.pictures import encoded, plain
from tests.pipelines.scorers.tables import pictures, texts


def test_a_picture_is_measured_once_and_its_failure_stays_with_its_rows():
    seen = []

    def size(image):
        seen.append(image.size)
        return image.size

    tall = encoded(Image.new("RGB", (20, 30)), "PNG")
    found, errors = each_picture(pictures(tall, b"broken", plain(size=(50, 40)), tall, b"broken"), size)
    assert found == [(20, 30), None, (50, 40), (20, 30), None]
    assert seen == [(20, 30), (50, 40)]
    assert [error is not None for error in errors] == [False, True, False, False, True]


def test_a_text_is_measured_once_and_the_first_that_is_not_blank_counts():
    table = texts("a", None, " ", "a", response=["x", "b", "c", None])
    assert first_text(table, ["caption", "response"]) == ["a", "b", "c", "a"]
    assert first_text(table, ["caption"]) == ["a", "", "", "a"]
    assert first_text(table, ["caption", "response"], join=True) == ["a x", "b", "c", "a"]
    seen = []
    assert each_text(["bb", "a", "bb"], lambda text: seen.append(text) or len(text)) == [2, 1, 2]
    assert seen == ["bb", "a"]
