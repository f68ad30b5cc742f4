import threading
import warnings
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from potstill.pipelines import pixels
from potstill.pipelines.pixels import _Cache, convert, decode, open_header, thumbnail, upright_size
from tests.pipelines.pictures import encoded, photo, plain


def corner_marked():
    """Black, 40 x 20, with white in the top left quarter."""
    values = np.zeros((20, 40, 3), np.uint8)
    values[:10, :20] = 255
    return Image.fromarray(values)


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


# Where the stored top left quarter must be seen: columns of (orientation, upright size, x, y of a pixel in it).
@pytest.mark.parametrize(
    ("orientation", "size", "x", "y"),
    [
        (1, (40, 20), 2, 2),
        (2, (40, 20), 37, 2),
        (3, (40, 20), 37, 17),
        (4, (40, 20), 2, 17),
        (5, (20, 40), 2, 2),
        (6, (20, 40), 17, 2),
        (7, (20, 40), 17, 37),
        (8, (20, 40), 2, 37),
    ],
)
@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_picture_is_turned_as_its_exif_says_and_its_size_is_told_from_the_header(name, orientation, size, x, y):
    options = {"lossless": True} if name == "WEBP" else {}
    if name == "TIFF":
        options["tiffinfo"] = {274: orientation}
    else:
        options["exif"] = exif(orientation)
    data = encoded(corner_marked(), name, **options)
    assert upright_size(open_header(data)) == size
    image = convert(data)
    assert image.size == size
    assert image.getpixel((x, y))[0] > 200
    assert image.getpixel((size[0] - 1 - x, size[1] - 1 - y))[0] < 50


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_an_orientation_that_does_not_exist_turns_nothing(orientation):
    assert convert(encoded(corner_marked(), exif=exif(orientation))).size == (40, 20)


def test_broken_exif_turns_nothing_and_says_nothing():
    data = encoded(corner_marked(), exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff garbage")
    assert convert(data).size == (40, 20)


def test_sixteen_bit_grey_is_scaled_and_not_clipped():
    values = np.array([[0, 257, 32896, 65535]], np.uint16).repeat(4, axis=0)
    for name in ("PNG", "TIFF"):
        image = convert(encoded(Image.fromarray(values), name))
        assert [image.getpixel((x, 0)) for x in range(4)] == [(0, 0, 0), (1, 1, 1), (128, 128, 128), (255, 255, 255)]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0.0, 0.5, 1.0]], np.float32), [0, 128, 255]),
        (np.array([[0.0, 100.0, 255.0]], np.float32), [0, 100, 255]),
        (np.array([[-1.0, 0.0, 1.0]], np.float32), [0, 128, 255]),
        (np.array([[0.0, np.nan, np.inf]], np.float32), [0, 0, 255]),
        (np.array([[np.nan, np.nan]], np.float32), [0, 0]),
        (np.array([[0, 100, 255]], np.int32), [0, 100, 255]),
        (np.array([[0, 257, 65535]], np.int32), [0, 1, 255]),
        (np.array([[-50, 0, 50]], np.int32), [0, 128, 255]),
        (np.array([[7, 7]], np.int32), [7, 7]),
    ],
)
def test_float_and_integer_grey_get_their_range_by_rule(values, expected):
    image = convert(encoded(Image.fromarray(values), "TIFF"))
    assert [image.getpixel((x, 0))[0] for x in range(len(expected))] == expected


def test_transparency_lies_on_white_in_every_mode_that_has_it():
    rgba = Image.new("RGBA", (20, 20), (255, 0, 0, 0))
    rgba.putpixel((0, 0), (255, 0, 0, 255))
    rgba.putpixel((1, 0), (255, 0, 0, 128))
    image = convert(encoded(rgba, "PNG"))
    assert [image.getpixel((x, 0)) for x in (0, 1, 2)] == [(255, 0, 0), (255, 127, 127), (255, 255, 255)]
    grey = Image.new("LA", (20, 20), (0, 0))
    assert convert(encoded(grey, "PNG")).getpixel((5, 5)) == (255, 255, 255)
    palette = Image.new("P", (20, 20), 1)
    palette.putpalette([255, 0, 0, 0, 0, 255])
    assert convert(encoded(palette, "PNG", transparency=1)).getpixel((5, 5)) == (255, 255, 255)
    assert convert(encoded(palette, "PNG", transparency=b"\xff\x00")).getpixel((5, 5)) == (255, 255, 255)
    keyed = Image.new("RGB", (20, 20), (0, 128, 0))
    assert convert(encoded(keyed, "PNG", transparency=(0, 128, 0))).getpixel((5, 5)) == (255, 255, 255)
    assert convert(encoded(keyed, "PNG")).getpixel((5, 5)) == (0, 128, 0)


def test_grey_bilevel_and_palette_pictures_become_rgb():
    assert convert(encoded(Image.new("L", (20, 20), 77), "PNG")).getpixel((3, 3)) == (77, 77, 77)
    assert convert(encoded(Image.new("1", (20, 20), 1), "PNG")).getpixel((3, 3)) == (255, 255, 255)
    assert convert(encoded(Image.new("RGB", (20, 20), "blue").quantize(4), "GIF")).getpixel((3, 3)) == (0, 0, 255)


def test_cmyk_is_converted_and_adobes_inverted_values_are_not_taken_for_a_negative():
    white = Image.new("CMYK", (32, 32), (0, 0, 0, 0))
    data = encoded(white, "JPEG")  # Pillow writes an Adobe marker and inverted values
    assert b"Adobe" in data
    assert min(convert(data).getpixel((9, 9))) > 250
    assert convert(encoded(Image.new("CMYK", (32, 32), (255, 0, 0, 0)), "TIFF")).getpixel((9, 9)) == (0, 255, 255)


@pytest.mark.parametrize("name", ["GIF", "WEBP", "PNG", "TIFF"])
def test_an_animation_shows_its_first_frame(name):
    frames = [Image.new("RGB", (20, 20), color) for color in ("red", "blue")]
    options = {"lossless": True} if name == "WEBP" else {}
    image = convert(encoded(frames[0], name, save_all=True, append_images=frames[1:], **options))
    assert image.getpixel((5, 5)) == (255, 0, 0)


def test_a_picture_of_any_size_opens_without_pillows_own_limit_which_is_restored():
    before = Image.MAX_IMAGE_PIXELS
    data = encoded(Image.new("1", (14_000, 13_000)), "PNG")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert open_header(data).size == (14_000, 13_000)
    assert before == Image.MAX_IMAGE_PIXELS
    with pytest.raises(Image.DecompressionBombError):
        Image.open(BytesIO(data))


def test_one_picture_is_decoded_once_and_shared(monkeypatch):
    calls = []
    monkeypatch.setattr(pixels, "_cache", _Cache(1 << 20))
    monkeypatch.setattr(pixels, "convert", lambda data: calls.append(data) or Image.new("RGB", (10, 10)))
    first = decode("a", b"1")
    assert decode("a", b"1") is first
    assert decode("b", b"2") is not first
    assert calls == [b"1", b"2"]


def test_the_cache_forgets_the_longest_unused_picture_at_its_limit():
    cache = _Cache(1000)
    ten = Image.new("RGB", (10, 10))  # 400 bytes at 4 bytes a pixel
    cache.put("a", ten)
    cache.put("b", ten)
    assert cache.get("a") is ten
    cache.put("c", ten)
    assert cache.get("b") is None
    assert cache.get("a") is ten
    assert cache.get("c") is ten
    assert cache.held == 800
    cache.put("huge", Image.new("RGB", (100, 100)))
    assert cache.get("huge") is None
    assert cache.held == 0


def test_many_threads_may_decode_at_once(monkeypatch):
    monkeypatch.setattr(pixels, "_cache", _Cache(200_000))
    pictures = {str(seed): encoded(photo(64, 48, seed)) for seed in range(12)}
    expected = {key: convert(data).tobytes() for key, data in pictures.items()}
    wrong = []

    def work():
        for key, data in list(pictures.items()) * 3:
            if decode(key, data).tobytes() != expected[key]:
                wrong.append(key)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert 0 < pixels._cache.held <= 200_000


def test_warnings_are_off_inside_and_as_before_after_the_last_thread_has_left():
    before = list(warnings.filters)
    with pixels.quiet:
        with pixels.quiet:
            warnings.warn("not heard", stacklevel=1)
        warnings.warn("not heard either", stacklevel=1)
    assert warnings.filters == before
    with pytest.raises(UserWarning):
        warnings.warn("heard", stacklevel=1)


def test_what_is_not_among_the_formats_does_not_open():
    with pytest.raises(Image.UnidentifiedImageError):
        open_header(b"%PDF-1.7")
    with pytest.raises(Image.UnidentifiedImageError):
        open_header(encoded(Image.new("RGB", (16, 16)), "PPM"))
    assert open_header(plain()).format == "PNG"


@pytest.mark.parametrize("name", ["JPEG", "PNG"])
def test_a_thumbnail_is_upright_at_most_256_pixels_long_and_looks_like_the_picture(name):
    options = {"exif": exif(6)} if name == "JPEG" else {}
    whole = photo(1040, 520)
    small = thumbnail(f"thumbnail-{name}", encoded(whole, name, **options))
    assert small.size == ((128, 256) if options else (256, 128))
    expected = convert(encoded(whole, name, **options)).resize(small.size, Image.Resampling.BOX)
    assert np.abs(np.asarray(small, float) - np.asarray(expected, float)).mean() < 2


def test_a_large_jpeg_is_decoded_at_a_fraction_of_its_size_for_a_thumbnail():
    assert convert(encoded(photo(1040, 520)), side=256).size == (260, 130)
    assert convert(encoded(photo(1040, 520), "PNG"), side=256).size == (1040, 520)


@pytest.mark.parametrize(("size", "expected"), [((1, 1), (1, 1)), ((255, 3), (255, 3)), ((5000, 2), (256, 1))])
def test_a_thumbnail_never_grows_and_keeps_at_least_a_pixel(size, expected):
    assert thumbnail(f"thumbnail-{size}", encoded(Image.new("RGB", size), "PNG")).size == expected


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_a_thumbnail_of_a_grey_or_cmyk_jpeg_looks_like_the_picture(mode):
    data = encoded(photo(1040, 520).convert(mode), quality=95)
    small = thumbnail(f"thumbnail-{mode}", data)
    expected = convert(data).resize(small.size, Image.Resampling.BOX)
    assert np.abs(np.asarray(small, float) - np.asarray(expected, float)).mean() < 2


def test_a_thumbnail_is_made_once_and_is_the_same_whether_or_not_the_whole_picture_was_decoded_before():
    data = encoded(photo(900, 700))
    decode("thumbnail-after", data)
    after = thumbnail("thumbnail-after", data)
    assert thumbnail("thumbnail-after", b"not read again") is after
    assert after.tobytes() == thumbnail("thumbnail-before", data).tobytes()


def test_a_file_is_plain_that_every_reader_shows_alike():
    def saved(image, kind, **options):
        buffer = BytesIO()
        image.save(buffer, kind, **options)
        return buffer.getvalue()

    red = Image.new("RGB", (6, 4), (200, 0, 0))
    alike = [saved(red, kind) for kind in ("JPEG", "PNG", "WEBP")] + [saved(red.convert("L"), "JPEG")]
    other = [
        saved(red, "JPEG", exif=exif(3)),
        saved(red.convert("CMYK"), "JPEG"),
        saved(red.convert("RGBA"), "PNG"),
        saved(red.convert("P"), "PNG"),
        saved(Image.new("I;16", (6, 4)), "PNG"),
        saved(red, "PNG", save_all=True, append_images=[red.rotate(90)]),
        saved(red, "BMP"),
        saved(red, "GIF"),
    ]
    assert [pixels.is_plain(data) for data in alike + other] == [True] * 4 + [False] * 8
