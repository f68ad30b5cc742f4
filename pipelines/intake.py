"""Raw rows to the images table: every row is identified, measured and checked; a bad one becomes a row with its error.

Bytes are never re-encoded. The checks go from cheap to dear: bytes, header, sides, then all pixels.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Literal

import pyarrow as pa
import xxhash
from PIL import Image
from pydantic import Field

from potstill.config import Settings
from potstill.pipelines import schema
from potstill.pipelines.damage import CorruptImage, TruncatedImage, check_pixels, ends_early
from potstill.pipelines.pixels import FORMATS, open_header, upright_size
from potstill.pipelines.sources.base import RawRow

SURROGATES = re.compile("[\ud800-\udfff]")


class EmptyFile(ValueError):
    """There are no bytes."""


class NotAnImage(ValueError):
    """The content is no picture, whatever the name says."""


class UnsupportedFormat(ValueError):
    """A picture in a format that is not read."""


class FileTooLarge(ValueError):
    """More encoded bytes than ``max_bytes``."""


class ImageTooLarge(ValueError):
    """More pixels than ``max_pixels``: a decompression bomb, or a scan."""


class ImageTooSmall(ValueError):
    """A side below ``min_side``."""


class ImageTooNarrow(ValueError):
    """Long side over short side above ``max_aspect``."""


class Intake(Settings):
    """What a picture must be to come in."""

    max_pixels: int = Field(default=50_000_000, ge=1)
    """Width times height, read from the header before anything is decoded."""
    min_side: int = Field(default=16, ge=1)
    """Pixels of the shorter side."""
    max_bytes: int = Field(default=64 << 20, ge=1)
    """Encoded size."""
    max_aspect: float = Field(default=0, ge=0)
    """Long side over short side; 0: any."""
    samples_per_image: int = Field(default=1, ge=1, le=64)
    """Samples that start from each row, for synthesizers that are asked several times."""
    decode: Literal["full", "header"] = "full"
    """``full`` reads every pixel and refuses damaged files; ``header`` trusts the files."""


def take_in(rows: Iterable[RawRow], settings: Intake) -> pa.Table:
    """Table with schema :data:`potstill.pipelines.schema.IMAGES`, one row for each row in, in the same order."""
    records = [_record(row, settings) for row in rows]
    return pa.Table.from_pylist(records, schema=schema.IMAGES)


def image_id(data: bytes) -> str:
    """xxh3-128 of the encoded bytes as 32 hex digits."""
    return xxhash.xxh3_128_hexdigest(data)


def _record(row: RawRow, settings: Intake) -> dict[str, Any]:
    record: dict[str, Any] = {
        schema.IMAGE_ID: image_id(row.image or b""),
        schema.SOURCE: row.source.encode("utf-8", "backslashreplace").decode(),
        schema.LICENCE: _text(row.licence),
        schema.CAPTION: _text(row.caption),
        schema.INSTRUCTION: _text(row.instruction),
        schema.RESPONSE: _text(row.response),
        schema.META: _text(row.meta),
    }
    try:
        if row.error is not None:
            raise row.error
        width, height, name = examine(row.image or b"", settings)
    except Exception as error:  # noqa: BLE001 (whatever is wrong with a row becomes its error)
        message = _text(str(error)) or type(error).__name__
        return record | {
            schema.ERROR: {"stage": "intake", "type": type(error).__name__, "message": message, "attempts": 1}
        }
    return record | {schema.IMAGE: row.image, schema.WIDTH: width, schema.HEIGHT: height, schema.FORMAT: name}


def _text(text: str | None) -> str | None:
    """``text`` as UTF-8 can hold it: half a surrogate pair becomes the replacement character."""
    return None if text is None else SURROGATES.sub("\ufffd", text)


def examine(data: bytes, settings: Intake) -> tuple[int, int, str]:
    """Upright width and height in pixels and the format's name. Raises one of this module's errors, or of damage."""
    if not data:
        raise EmptyFile("the file is empty (0 bytes); fetch it again, or leave it out")
    if len(data) > settings.max_bytes:
        raise FileTooLarge(f"{len(data)} bytes, limit {settings.max_bytes}; raise intake.max_bytes to let it in")
    try:
        image = open_header(data)
    except Exception as error:  # Pillow raises many types on hostile headers
        raise _unreadable(data, error) from error
    width, height = upright_size(image)
    _check_sides(width, height, settings)
    if settings.decode == "full":
        check_pixels(data, image)
    return width, height, "JPEG" if image.format == "MPO" else str(image.format)


def _check_sides(width: int, height: int, settings: Intake) -> None:
    if width * height > settings.max_pixels:
        raise ImageTooLarge(
            f"{width} x {height} = {width * height} pixels, limit {settings.max_pixels}; "
            "raise intake.max_pixels to let it in"
        )
    if min(width, height) < settings.min_side:
        raise ImageTooSmall(
            f"{width} x {height} pixels, shorter side at least {settings.min_side}; lower intake.min_side to let it in"
        )
    aspect = max(width, height) / min(width, height)
    if settings.max_aspect and aspect > settings.max_aspect:
        raise ImageTooNarrow(
            f"{width} x {height} pixels, sides 1 : {aspect:.1f}, limit {settings.max_aspect:g}; "
            "raise intake.max_aspect to let it in (0: any)"
        )


_OTHER = (
    (rb"<svg|<\?xml[^>]*>\s*(<!--.*?-->\s*)*(<!DOCTYPE svg[^>]*>\s*)?<svg", "SVG"),
    (rb"%PDF-", "PDF"),
    (rb"....ftyp(avif|avis)", "AVIF"),
    (rb"....ftyp(heic|heix|hevc|mif1|msf1)", "HEIF"),
    (rb"\x00\x00\x00\x0cJXL |\xff\x0a", "JPEG XL"),
    (rb"\x00\x00\x00\x0cjP  |\xff\x4f\xff\x51", "JPEG 2000"),
    (rb"8BPS", "Photoshop"),
    (rb"\x00\x00\x01\x00", "ICO"),
)
_MAGIC = (
    (rb"\xff\xd8\xff", "JPEG"),
    (rb"\x89PNG\r\n\x1a\n", "PNG"),
    (rb"RIFF....WEBP", "WEBP"),
    (rb"GIF8[79]a", "GIF"),
    (rb"II\*\x00|MM\x00\*|II\+\x00|MM\x00\+", "TIFF"),
)


def _unreadable(data: bytes, error: Exception) -> ValueError:
    """Says what the bytes are that Pillow would not open."""
    head = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n")
    for pattern, name in _OTHER:
        if re.match(pattern, head, re.DOTALL | re.IGNORECASE):
            return UnsupportedFormat(
                f"{name} is not read (only {', '.join(FORMATS)}); convert the file to one of these"
            )
    for pattern, name in _MAGIC:
        if re.match(pattern, data, re.DOTALL):
            what = TruncatedImage if ends_early(data) else CorruptImage
            why = "" if isinstance(error, Image.UnidentifiedImageError) else f" ({error})"
            return what(f"{name} file of {len(data)} bytes whose header cannot be read{why}; fetch it again")
    start = ascii(data[:16].decode("latin-1"))
    kind = "an HTML or XML page" if re.match(rb"<(!doctype|html|head|\?xml|body)", head, re.IGNORECASE) else "no image"
    return NotAnImage(f"{kind}: {len(data)} bytes that start with {start}; fetch the picture again, or leave it out")
