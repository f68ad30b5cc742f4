"""Equal pixels, equal key, whatever the encoding."""

import io

import pyarrow as pa
import xxhash
from PIL import Image

from potstill.pipelines.scorers.pixel_hash import PixelHash, pixel_hash


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def scored(*data):
    ids = [xxhash.xxh3_128_hexdigest(each) for each in data]
    rows = pa.table({"sample_id": ids, "image_id": ids, "image": pa.array(data, pa.large_binary())})
    return PixelHash().build()(rows)


def test_lossless_copies_are_equal_and_one_changed_pixel_is_not():
    image = Image.linear_gradient("L").convert("RGB")
    changed = image.copy()
    changed.putpixel((3, 4), (1, 2, 3))
    files = [
        encoded(image, "PNG"),
        encoded(image, "BMP"),
        encoded(image, "WEBP", lossless=True),
        encoded(changed, "PNG"),
    ]
    one, two, three, four = scored(*files)["pixel_hash"].to_pylist()
    assert one == two == three != four
    assert len(one) == 16


def test_the_same_bytes_in_another_shape_are_another_picture():
    assert pixel_hash(Image.new("RGB", (2, 6))) != pixel_hash(Image.new("RGB", (6, 2)))


def test_a_broken_picture_is_an_error_of_its_row_alone():
    found = scored(encoded(Image.new("RGB", (4, 4)), "PNG"), b"no picture")
    assert found["pixel_hash"].is_valid().to_pylist() == [True, False]
    assert [error is None for error in found["error"]] == [True, False]
