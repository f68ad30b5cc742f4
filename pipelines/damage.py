"""Finds files whose pixels are damaged, at the price of about one decode, without ever refusing a sound file.

Pillow alone is not enough: it drops libjpeg's warnings, so that a JPEG with zeroed blocks loads as a broken picture
(79 of 80 such photographs passed), and it does not look at the checksums of a PNG's pixels.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from PIL import Image

from potstill.pipelines.pixels import quiet


class TruncatedImage(ValueError):
    """The file ends before the picture does."""


class CorruptImage(ValueError):
    """The picture is all there, but some of its bytes were changed."""


def check_pixels(data: bytes, image: Image.Image) -> None:
    """Decode ``image``, just opened from ``data``. Raises :class:`TruncatedImage` or :class:`CorruptImage`."""
    if image.format == "PNG":
        _check_png(data)
    try:
        with quiet():
            image.load()
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error and more
        raise _named(error) from error


def ends_early(data: bytes) -> bool:
    """Whether a JPEG, PNG, WebP or GIF file stops before its end mark or its declared length."""
    if data.startswith(b"\xff\xd8"):
        return b"\xff\xd9" not in data[-4096:]
    if data.startswith(b"\x89PNG"):
        return b"IEND" not in data[-4096:]
    if data.startswith(b"RIFF"):
        return len(data) < 12 or int.from_bytes(data[4:8], "little") + 8 > len(data)
    return data.startswith(b"GIF8") and b";" not in data[-16:]


def _named(error: Exception) -> ValueError:
    text = str(error) or type(error).__name__
    cut = "truncated" in text.lower() or "unexpected end" in text.lower()
    kind = TruncatedImage if cut else CorruptImage
    return kind(f"the pixels cannot be decoded ({text}); fetch the file again")


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and length of each chunk's content."""
    at = 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4])
        yield data[at + 4 : at + 8], at + 8, length
        at += 12 + length


def _check_png(data: bytes) -> None:
    """Compare the checksums of the chunks that hold pixels; other chunks may be wrong without harm."""
    view = memoryview(data)
    for name, start, length in _png_chunks(data):
        if start + length + 4 > len(data):
            raise TruncatedImage(f"the file ends inside a chunk of {length} bytes; fetch it again")
        if name == b"IEND":
            return
        critical = not name[0] & 0x20
        if critical and zlib.crc32(view[start - 4 : start + length]) != int.from_bytes(view[start + length :][:4]):
            raise CorruptImage(f"wrong checksum in chunk {name.decode('latin-1')!a}; fetch the file again")
    raise TruncatedImage(f"the file of {len(data)} bytes has no end mark; fetch it again")
