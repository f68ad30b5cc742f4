import warnings

import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from potstill.pipelines import schema
from potstill.pipelines.intake import Intake, examine, take_in
from potstill.pipelines.sources.base import RawRow
from tests.pipelines.pictures import encoded, photo, plain

PLAIN = Intake()


def error_of(data, intake=PLAIN):
    table = take_in([RawRow("x", data)], intake)
    return table["error"][0].as_py()


def test_a_good_row_keeps_its_bytes_and_gets_id_size_format_and_texts():
    data = encoded(photo(64, 48))
    row = RawRow("a.jpg", data, licence="CC-BY-4.0", caption="c", instruction="i", response="r", meta='{"k":1}')
    table = take_in([row], PLAIN)
    assert table.schema.equals(schema.IMAGES)
    assert table.to_pylist() == [
        {
            "image_id": xxhash.xxh3_128_hexdigest(data),
            "image": data,
            "width": 64,
            "height": 48,
            "format": "JPEG",
            "source": "a.jpg",
            "licence": "CC-BY-4.0",
            "caption": "c",
            "instruction": "i",
            "response": "r",
            "meta": '{"k":1}',
            "error": None,
        }
    ]


def test_no_rows_make_an_empty_table():
    assert take_in([], PLAIN).equals(schema.IMAGES.empty_table())


def test_bad_rows_stay_between_good_ones_with_the_hash_of_their_bytes():
    broken = b"<html>not found</html>"
    table = take_in([RawRow("1", plain()), RawRow("2", broken), RawRow("3", plain("blue"))], PLAIN)
    assert table["source"].to_pylist() == ["1", "2", "3"]
    assert [error is None for error in table["error"].to_pylist()] == [True, False, True]
    assert table["image"][1].as_py() is None
    assert table["width"][1].as_py() is None
    assert table["image_id"][1].as_py() == xxhash.xxh3_128_hexdigest(broken)


def test_a_row_that_could_not_be_read_keeps_that_error_and_the_hash_of_nothing():
    table = take_in([RawRow("x", error=PermissionError(13, "Permission denied", "x"), caption="kept")], PLAIN)
    row = table.to_pylist()[0]
    assert row["image_id"] == xxhash.xxh3_128_hexdigest(b"")
    assert row["caption"] == "kept"
    assert row["error"] == {
        "stage": "intake",
        "type": "PermissionError",
        "message": "[Errno 13] Permission denied: 'x'",
        "attempts": 1,
    }


@pytest.mark.parametrize(
    ("data", "kind", "says"),
    [
        (b"", "EmptyFile", "0 bytes"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "NotAnImage", "HTML"),
        (b"  \n<html>", "NotAnImage", "HTML"),
        (b"hello world, no picture", "NotAnImage", "'hello world, no "),
        (bytes(4096), "NotAnImage", "4096 bytes"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "UnsupportedFormat", "SVG"),
        (b'<?xml version="1.0"?>\n<!-- drawn --><svg/>', "UnsupportedFormat", "SVG"),
        (b"%PDF-1.7\n", "UnsupportedFormat", "PDF"),
        (b"\x00\x00\x00\x20ftypheic" + bytes(40), "UnsupportedFormat", "HEIF"),
        (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "UnsupportedFormat", "JPEG XL"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", "TruncatedImage", "JPEG"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "TruncatedImage", "PNG"),
        (b"RIFF\xff\x00\x00\x00WEBPVP8 ", "TruncatedImage", "WEBP"),
        (b"GIF89a", "TruncatedImage", "GIF"),
    ],
)
def test_what_is_no_picture_is_named_for_what_it_is(data, kind, says):
    error = error_of(data)
    assert error["type"] == kind
    assert says in error["message"]
    assert "; " in error["message"]  # what is wrong; the way out


def test_a_format_that_pillow_knows_but_the_run_does_not_take_is_unsupported():
    assert error_of(encoded(photo(64, 64), "AVIF"))["type"] == "UnsupportedFormat"
    assert error_of(encoded(photo(64, 64), "JPEG2000"))["type"] == "UnsupportedFormat"
    assert error_of(encoded(photo(64, 64), "ICO"))["type"] == "UnsupportedFormat"


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
@pytest.mark.parametrize("part", [0.02, 0.5, 0.9])
def test_a_file_cut_off_anywhere_is_truncated(name, part):
    data = encoded(photo(), name)
    assert error_of(data[: int(len(data) * part)])["type"] == "TruncatedImage"


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP"])
def test_a_file_with_a_zeroed_block_is_corrupt(name):
    data = encoded(photo(), name)
    middle = len(data) // 2
    assert error_of(data[:middle] + bytes(512) + data[middle + 512 :])["type"] in ("CorruptImage", "TruncatedImage")


def test_a_168_megapixel_bomb_is_refused_by_its_header_without_a_warning():
    bomb = encoded(Image.new("1", (14_000, 12_000)), "PNG")
    assert len(bomb) < 50_000
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        error = error_of(bomb)
    assert error["type"] == "ImageTooLarge"
    assert "168000000 pixels, limit 50000000; raise intake.max_pixels" in error["message"]


def test_limits_hold_exactly_at_their_value():
    data = encoded(Image.new("RGB", (40, 20)))
    assert error_of(data, Intake(max_pixels=800)) is None
    assert error_of(data, Intake(max_pixels=799))["type"] == "ImageTooLarge"
    assert error_of(data, Intake(min_side=20)) is None
    assert error_of(data, Intake(min_side=21))["type"] == "ImageTooSmall"
    assert error_of(data, Intake(max_aspect=2)) is None
    assert error_of(data, Intake(max_aspect=1.9))["type"] == "ImageTooNarrow"
    assert error_of(data, Intake(max_bytes=len(data))) is None
    assert error_of(data, Intake(max_bytes=len(data) - 1))["type"] == "FileTooLarge"


def test_a_picture_of_one_pixel_is_too_small():
    error = error_of(plain(size=(1, 1)))
    assert error["type"] == "ImageTooSmall"
    assert error["message"] == "1 x 1 pixels, shorter side at least 16; lower intake.min_side to let it in"


def test_the_size_is_told_upright():
    tags = Image.Exif()
    tags[0x0112] = 6
    table = take_in([RawRow("x", encoded(Image.new("RGB", (40, 20)), exif=tags.tobytes()))], PLAIN)
    assert (table["width"][0].as_py(), table["height"][0].as_py()) == (20, 40)


@pytest.mark.parametrize(
    ("image", "name", "format_name"),
    [
        (Image.new("CMYK", (32, 32)), "JPEG", "JPEG"),
        (Image.new("I;16", (32, 32)), "PNG", "PNG"),
        (Image.new("RGB", (32, 32)), "MPO", "JPEG"),
        (Image.new("RGB", (32, 32)), "BMP", "BMP"),
        (Image.new("RGB", (32, 32)), "GIF", "GIF"),
        (Image.new("F", (32, 32)), "TIFF", "TIFF"),
        (Image.new("RGBA", (32, 32)), "WEBP", "WEBP"),
    ],
)
def test_every_format_comes_in_whatever_its_file_is_called(image, name, format_name):
    row = take_in([RawRow("wrong.jpg", encoded(image, name))], PLAIN).to_pylist()[0]
    assert row["error"] is None
    assert row["format"] == format_name


def test_header_mode_trusts_the_pixels_but_not_the_header():
    cut = encoded(photo())[:-3000]
    assert error_of(cut, Intake(decode="header")) is None
    assert error_of(cut)["type"] == "TruncatedImage"
    assert error_of(b"", Intake(decode="header"))["type"] == "EmptyFile"


def test_half_surrogates_in_texts_and_names_do_not_stop_the_table():
    row = take_in([RawRow("b\udcff.jpg", plain(), caption="x\ud800y", meta='{"a":"\udfff"}')], PLAIN).to_pylist()[0]
    assert row["source"] == "b\\udcff.jpg"
    assert row["caption"] == "x\ufffdy"
    assert row["meta"] == '{"a":"\ufffd"}'


@pytest.mark.parametrize(
    "wrong", [{"max_pixels": 0}, {"samples_per_image": 0}, {"samples_per_image": 65}, {"decode": "no"}, {"min_sid": 1}]
)
def test_wrong_settings_are_refused_when_they_are_made(wrong):
    with pytest.raises(ValidationError):
        Intake(**wrong)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_change_of_any_bytes_is_a_good_row_or_a_row_with_its_error(data):
    name = data.draw(st.sampled_from(["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"]))
    content = bytearray(encoded(photo(40, 32), name))
    start = data.draw(st.integers(0, len(content) - 1))
    content[start : start + 8] = data.draw(st.binary(max_size=8))
    row = take_in([RawRow("x", bytes(content))], PLAIN).to_pylist()[0]
    assert (row["error"] is None) == (row["image"] is not None)
    if row["error"]:
        assert row["error"]["message"]


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_are_never_a_picture(content):
    with pytest.raises(ValueError, match="; "):
        examine(content, PLAIN)
