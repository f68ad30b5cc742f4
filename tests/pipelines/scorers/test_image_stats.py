import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageDraw, ImageFilter
from pydantic import ValidationError

from potstill.models.tiny.scenes import SpriteBank, sample_scene
from potstill.pipelines import schema
from potstill.pipelines.scorers.image_stats import ImageStats
from tests.pipelines.pictures import encoded, photo, plain
from tests.pipelines.scorers.tables import by_row, pictures


def sized(*data):
    """Rows with the width and height that the intake would have written."""
    table = pictures(*data)
    sizes = [Image.open(pa.BufferReader(blob)).size if blob[:3] != b"bad" else (8, 8) for blob in data]
    for column, values in zip((schema.WIDTH, schema.HEIGHT), zip(*sizes, strict=True), strict=True):
        table = table.append_column(column, pa.array(values, pa.int32()))
    return table


def scored(*data):
    return by_row(ImageStats(name="s"), sized(*data))


def written_page():
    page = Image.new("RGB", (512, 384), "white")
    draw = ImageDraw.Draw(page)
    for top in range(4, 380, 14):
        draw.text((4, top), "the quick brown fox jumps over the lazy dog " * 3, fill="black")
    return page


def test_blank_and_noise_stand_apart_from_scenes_photographs_and_print():
    rng = np.random.default_rng(0)
    scenes = SpriteBank(255, variants=1).render([sample_scene(rng) for _ in range(12)], rng)
    good = [*map(Image.fromarray, scenes), photo(900, 700), written_page()]
    faint = Image.fromarray(np.clip(rng.normal(128, 2, (256, 256, 3)), 0, 255).astype(np.uint8))
    blanks = [Image.new("RGB", (300, 200), "navy"), faint]
    noises = [Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)) for size in ((256, 256), (700, 900))]
    out = scored(*(encoded(image, quality=60) for image in [*good, *blanks, *noises]))
    contrast, blank, noise = (np.array(out[f"s_{noun}"]) for noun in ("contrast", "blank", "noise"))
    kept = slice(len(good))
    assert (contrast[kept] > 6).all()
    assert (blank[kept] < 0.99).all()
    assert (noise[kept] < 0.7).all()
    assert (contrast[-4:-2] < 3).all()
    assert (blank[-4:-2] > 0.995).all()
    assert (noise[-2:] > 0.78).all()


def test_a_blurred_copy_is_less_sharp_at_any_size_and_a_grey_one_has_no_colour():
    picture = photo(400, 300)
    blurred, grey = picture.filter(ImageFilter.GaussianBlur(4)), picture.convert("L")
    out = scored(*(encoded(image) for image in (picture, blurred, grey, blurred.resize((800, 600)))))
    sharp, soft, _, soft_and_large = out["s_sharpness"]
    assert soft < sharp / 3
    assert soft_and_large == pytest.approx(soft, rel=0.5)
    assert out["s_colourfulness"][2] == 0 < out["s_colourfulness"][0]


def test_sides_come_from_the_header_alone():
    stage = ImageStats(columns=("aspect", "min_side"))
    assert stage.reads() == ("width", "height")
    assert stage.writes() == {"image_stats_aspect": pa.float32(), "image_stats_min_side": pa.int32()}
    table = sized(plain(size=(40, 10)), plain(size=(10, 25)), plain(size=(7, 7))).drop_columns(["image"])
    assert by_row(stage, table) == {"image_stats_aspect": [4.0, 2.5, 1.0], "image_stats_min_side": [10, 10, 7]}


def test_grey_alpha_sixteen_bit_and_one_pixel_pictures_have_every_number():
    sixteen = Image.fromarray(np.linspace(0, 65535, 400).reshape(20, 20).astype(np.uint16))
    clear = Image.new("RGBA", (30, 30), (255, 0, 0, 0))
    kinds = [Image.new("L", (20, 20), 90), sixteen, clear, Image.new("RGB", (1, 1), "red")]
    out = scored(*(encoded(image, "PNG") for image in kinds))
    assert all(value is not None and np.isfinite(value) for values in out.values() for value in values)
    assert out["s_entropy"][1] > 7, "16-bit grey is scaled, not clipped"
    assert out["s_colourfulness"][2] == 0, "what is transparent lies on white"


def test_a_picture_that_cannot_be_read_costs_its_own_row_only():
    table = sized(plain("red"), b"bad bytes", plain("blue"))
    result = ImageStats(name="s", columns=("blank",)).build()(table)
    assert result["s_blank"] == [1.0, None, 1.0]
    assert [error is None for error in result["error"]] == [True, False, True]


def test_an_empty_batch_and_a_noun_that_does_not_exist():
    assert by_row(ImageStats(columns=("noise",)), sized(plain()).slice(0, 0)) == {"image_stats_noise": []}
    with pytest.raises(ValidationError, match="colourfulness"):
        ImageStats(columns=("beauty",))
