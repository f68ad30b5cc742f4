"""Pictures for training: decoded, cut, turned; by numbers that follow from the seed, the row and the epoch."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash
from PIL import Image
from pydantic import Field, model_validator

from potstill.config import Settings
from potstill.models.trainers.parquet import EPOCH

SAMPLE_ID = "sample_id"


class View(Settings):
    """A random view of a picture; the defaults are the picture's middle, whole height or width."""

    area: tuple[float, float] | None = None
    """Share of the picture's area that a random cut has, least and most (Szegedy et al. 2015, arXiv 1409.4842)."""
    aspect: tuple[float, float] = (3 / 4, 4 / 3)
    """Width by height of a random cut."""
    flip: float = Field(0.0, ge=0, le=1)
    """Chance to be turned left to right."""

    @model_validator(mode="after")
    def _ranges(self) -> View:
        for name, pair, top in (("area", self.area, 1.0), ("aspect", self.aspect, 100.0)):
            if pair and not 0 < pair[0] <= pair[1] <= top:
                raise ValueError(f"{name} {list(pair)} must rise from above 0 to at most {top:g}")
        return self

    def draw(self, seed: int, sample: str, epoch: int, width: int, height: int) -> dict[str, Any]:
        """What is to be done with a picture of this size: ``box`` in pixels (left, top, right, bottom) and ``flip``."""
        rng = np.random.default_rng(xxhash.xxh3_64_intdigest(f"{seed}/{sample}/{epoch}".encode()))
        flip = bool(rng.random() < self.flip)
        if self.area is None:
            side = min(width, height)
            left, top = (width - side) // 2, (height - side) // 2
            return {"box": (left, top, left + side, top + side), "flip": flip}
        share, ratio = rng.uniform(*self.area), np.exp(rng.uniform(*np.log(self.aspect)))
        wide = min(width, round(np.sqrt(share * width * height * ratio)))
        high = min(height, round(np.sqrt(share * width * height / ratio)))
        wide, high = max(wide, 1), max(high, 1)
        left, top = int(rng.integers(0, width - wide + 1)), int(rng.integers(0, height - high + 1))
        return {"box": (left, top, left + wide, top + high), "flip": flip}


def encoded(rows: pa.Table, column: str) -> Iterator[bytes]:
    """Files of pictures from a column of bytes or of the Hugging Face ``Image`` feature."""
    for value in rows[column].to_pylist():
        yield value["bytes"] if isinstance(value, dict) else value


def pixels(data: bytes, size: int, drawn: Mapping[str, Any] | None = None) -> np.ndarray:
    """A picture of (size, size, 3) bytes, RGB; its middle unless ``drawn`` says which part."""
    with Image.open(io.BytesIO(data)) as file:
        picture = file.convert("RGB")
    return _cut(picture, size, drawn or View().draw(0, "", 0, *picture.size))


def drawn_pixels(
    data: bytes, size: int, view: View, seed: int, sample: str, epoch: int
) -> tuple[dict[str, Any], np.ndarray]:
    """A random view of a picture: how it was cut and turned, and its pixels (size, size, 3)."""
    with Image.open(io.BytesIO(data)) as file:
        picture = file.convert("RGB")
    drawn = view.draw(seed, sample, epoch, *picture.size)
    return drawn, _cut(picture, size, drawn)


def _cut(picture: Image.Image, size: int, drawn: Mapping[str, Any]) -> np.ndarray:
    picture = picture.resize((size, size), Image.Resampling.BICUBIC, box=tuple(drawn["box"]))
    return np.asarray(picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if drawn["flip"] else picture)


def stored_pictures(
    rows: pa.Table, column: str, size: int, view: View, seed: int, replay: Sequence[Mapping[str, Any]] | None = None
) -> pa.Array:
    """Pixels of each row as bytes, (size, size, 3): a random view by its epoch, or the views to ``replay``.

    Raises ValueError that names the row whose picture does not decode.
    """
    arrays = []
    ids, epochs = rows[SAMPLE_ID].to_pylist(), rows[EPOCH].to_pylist()
    for number, (sample, epoch, data) in enumerate(zip(ids, epochs, encoded(rows, column), strict=True)):
        try:
            if replay is None:
                _, picture = drawn_pixels(data, size, view, seed, sample, epoch)
            else:
                picture = pixels(data, size, replay[number])
        except (OSError, TypeError) as error:
            raise ValueError(f"the picture of sample {sample} does not decode: {error}") from error
        arrays.append(picture.tobytes())
    return pa.array(arrays, pa.large_binary())


def as_tensor_bytes(column: pa.ChunkedArray, size: int) -> np.ndarray:
    """Pixels (B, 3, size, size) uint8 from what :func:`stored_pictures` gave."""
    joined = b"".join(column.to_pylist())
    return np.frombuffer(joined, np.uint8).reshape(-1, size, size, 3).transpose(0, 3, 1, 2).copy()
