import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from potstill.pipelines.damage import CorruptImage, TruncatedImage, check_pixels
from potstill.pipelines.jpegscan import _scans, zeroed_at
from potstill.pipelines.pixels import open_header
from tests.pipelines.pictures import encoded, photo


def check(data):
    check_pixels(data, open_header(data))


def zeroed(data, start, count=64):
    return data[:start] + bytes(count) + data[start + count :]


JPEGS = {
    "standard": {"quality": 85},
    "optimised": {"quality": 60, "optimize": True},
    "full colour": {"quality": 90, "subsampling": 0},
    "progressive": {"quality": 80, "progressive": True},
    "restarts": {"quality": 80, "restart_marker_rows": 1},
}


@pytest.mark.parametrize("kind", JPEGS)
def test_64_zeroed_bytes_anywhere_in_a_jpegs_large_scans_are_found(kind):
    data = encoded(photo(), **JPEGS[kind])
    scans = [scan for scan in _scans(data) if scan.end - scan.start > 1500]
    tried = 0
    for scan in scans:
        for start in range(scan.start + 200, scan.end - 300, (scan.end - scan.start) // 9):
            tried += 1
            with pytest.raises((CorruptImage, TruncatedImage), match=r"fetch (the file|it) again"):
                check(zeroed(data, start))
    assert tried >= 8


@pytest.mark.parametrize("name", ["PNG", "GIF", "WEBP"])
def test_zeroed_pixels_of_a_photograph_are_found_in_other_formats(name):
    data = encoded(photo(), name)
    for part in (0.3, 0.5, 0.7):
        with pytest.raises((CorruptImage, TruncatedImage)):
            check(zeroed(data, int(len(data) * part), 256))


def test_one_flipped_bit_in_a_png_is_found_by_its_checksum():
    data = bytearray(encoded(photo(), "PNG", compress_level=0))
    data[len(data) // 2] ^= 1
    with pytest.raises(CorruptImage, match="wrong checksum in chunk 'IDAT'"):
        check(bytes(data))


def blank_pictures():
    for size in (64, 700, 1600):
        yield Image.new("RGB", (size, size), "white")
        yield Image.new("L", (size, size), 0)
        dots = np.zeros((size, size, 3), np.uint8)
        dots[: size // 4, : size // 4] = np.random.default_rng(0).integers(0, 255, (size // 4, size // 4, 3))
        yield Image.fromarray(dots)
        line = np.zeros((size, size, 3), np.uint8)
        line[size // 2] = 255
        yield Image.fromarray(line)
        ramp = np.broadcast_to((np.arange(size) * 255 // size).astype(np.uint8), (size, size))
        yield Image.fromarray(np.ascontiguousarray(ramp))


@pytest.mark.parametrize("options", [{}, {"optimize": True}, {"progressive": True}, {"quality": 5, "optimize": True}])
def test_blank_pictures_have_long_runs_of_zeros_and_are_sound_jpegs(options):
    longest = 0
    for image in blank_pictures():
        data = encoded(image, **options)
        longest = max(longest, max((len(run) for run in data.split(b"\xff")), default=0))
        check(data)
    assert options != {"optimize": True} or bytes(64) in encoded(Image.new("RGB", (1600, 1600), "white"), **options)


@pytest.mark.parametrize("options", [{"quality": 80, "method": 0}, {"quality": 100, "method": 0}, {"lossless": True}])
def test_blank_pictures_are_sound_webps(options):
    for image in blank_pictures():
        check(encoded(image, "WEBP", **options))


def test_zeros_in_metadata_are_no_damage():
    zeros = b"Exif\x00\x00II*\x00" + bytes(600)
    check(encoded(photo(), "JPEG", exif=zeros))
    check(encoded(photo(), "WEBP", exif=zeros))
    check(encoded(photo(), "JPEG", icc_profile=bytes(700)))


@pytest.mark.parametrize("fill", [b"\x00" * 100, b"\xff" * 100, b"\x00" * 3])
def test_fill_between_the_pixels_and_the_end_mark_is_no_damage(fill):
    data = encoded(photo())
    check(data[:-2] + fill + data[-2:])


def test_bytes_after_the_end_mark_are_no_damage():
    check(encoded(photo()) + bytes(5000) + b"trailer")
    check(encoded(photo(), "PNG") + b"trailer")


def test_cmyk_grey_and_multi_picture_jpegs_are_sound():
    check(encoded(photo().convert("CMYK")))
    check(encoded(photo().convert("L")))
    check(encoded(photo(), "MPO", save_all=True, append_images=[photo(seed=1)]))


def test_a_scan_says_what_zero_bits_mean():
    standard = encoded(photo(64, 64), quality=90, subsampling=0)
    assert [scan.zero_codes for scan in _scans(standard)] != []
    assert zeroed_at(standard) is None
    assert zeroed_at(b"\xff\xd8" + bytes(200)) is None


def test_a_jpeg_of_very_many_scans_is_refused_before_it_is_decoded():
    data = encoded(photo(64, 64), progressive=True)
    last = list(_scans(data))[-1]
    header = data.rindex(b"\xff\xda")
    scan = data[header : last.end]
    check(data[: last.end] + data[last.end :])
    with pytest.raises(CorruptImage, match="more than 500 scans"):
        check(data[: last.end] + scan * 600 + data[last.end :])


def test_scan_marks_after_the_end_are_not_counted():
    check(encoded(photo(64, 64)) + b"\xff\xda" * 600)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=400), st.integers(0, 3))
def test_any_bytes_after_a_jpeg_start_are_looked_at_without_harm(tail, kind):
    head = [b"\xff\xd8", b"\xff\xd8\xff\xc4", b"\xff\xd8\xff\xda\x00\x08", encoded(photo(32, 32))[:300]][kind]
    zeroed_at(head + tail + bytes(64) + tail)
