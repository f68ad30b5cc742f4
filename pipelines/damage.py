"""Finds files whose pixels are damaged, at the price of about one decode, without ever refusing a sound file.

Pillow alone is not enough: it drops libjpeg's warnings, so that a JPEG with zeroed blocks loads as a broken picture
(79 of 80 such photographs passed), and it does not look at the checksums of a PNG's pixels. So a JPEG is decoded by
simplejpeg, which tells the warnings, at an eighth of its size: all of its code is read, which is what matters here.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator

import numpy as np
import simplejpeg
from PIL import Image

from potstill.pipelines.jpegscan import MAX_SCANS, RUN, has_many_scans, zeroed_at
from potstill.pipelines.pixels import quiet


class TruncatedImage(ValueError):
    """The file ends before the picture does."""


class CorruptImage(ValueError):
    """The picture is all there, but some of its bytes were changed."""


def check_pixels(data: bytes, image: Image.Image) -> None:
    """Decode ``image``, just opened from ``data``. Raises :class:`TruncatedImage` or :class:`CorruptImage`."""
    if image.format in ("JPEG", "MPO") and _check_jpeg(data, cmyk=image.mode == "CMYK"):
        return
    if image.format == "PNG":
        _check_png(data)
    try:
        with quiet:
            image.load()
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error and more
        raise _named(error) from error
    if image.format == "WEBP":
        _check_webp(data, image)


def ends_early(data: bytes) -> bool:
    """Whether a JPEG, PNG, WebP, TIFF or GIF file stops before its end mark, its length or its directory."""
    if data.startswith(b"\xff\xd8"):
        return b"\xff\xd9" not in data[-4096:]
    if data.startswith(b"\x89PNG"):
        return b"IEND" not in data[-4096:]
    if data.startswith(b"RIFF"):
        return len(data) < 12 or int.from_bytes(data[4:8], "little") + 8 > len(data)
    if data[:4] in (b"II*\x00", b"MM\x00*"):
        return int.from_bytes(data[4:8], "little" if data[0] == ord("I") else "big") + 2 > len(data)
    return data.startswith(b"GIF8") and b";" not in data[-16:]


def _check_jpeg(data: bytes, *, cmyk: bool) -> bool:
    """Whether the file is sound; False: simplejpeg cannot tell, ask Pillow. Raises for a damaged one."""
    if has_many_scans(data):
        raise CorruptImage(f"more than {MAX_SCANS} scans, made to keep a decoder busy; leave the file out")
    zeroed = zeroed_at(data)
    if zeroed is not None:
        raise CorruptImage(f"the pixels from byte {zeroed} on were overwritten with zeros; fetch the file again")
    try:
        simplejpeg.decode_jpeg(data, "CMYK" if cmyk else "GRAY", fastdct=True, min_height=1, min_width=1, min_factor=8)
    except ValueError as error:
        text = str(error)
        if "Premature end of JPEG file" in text or (ends_early(data) and _DESYNC.search(text)):
            raise TruncatedImage(
                f"the file of {len(data)} bytes ends before the picture does; fetch it again"
            ) from None
        if _DESYNC.search(text) and not _is_padding(data, text):
            raise CorruptImage(f"the pixels cannot be decoded ({text}); fetch the file again") from None
        return False
    return True


_DESYNC = re.compile(r"premature end of data|bad Huffman code|extraneous bytes before|instead of RST")
"""libjpeg's warnings after which pixels are wrong; it has others, about metadata, that harm nothing."""


def _is_padding(data: bytes, text: str) -> bool:
    """Whether the surplus bytes that libjpeg reports are fill before the end mark, which harms nothing."""
    surplus = re.search(r"(\d+) extraneous bytes before marker 0xd9", text)
    if surplus is None:
        return False
    end = data.rfind(b"\xff\xd9")
    return not data[max(0, end - int(surplus[1])) : end].strip(b"\x00\xff")


def _check_webp(data: bytes, image: Image.Image) -> None:
    """A lossy WebP has no checksum. Long runs of zeros in it mean blank blocks; a picture without these was damaged.

    Sound pictures have at least 1.4 blank macroblocks of 16 x 16 pixels for each zero byte of a run (measured on
    blank, striped and sloping pictures, all encoder methods); half of that many is asked for here.
    """
    at = 12
    while data[at : at + 4] not in (b"VP8 ", b""):
        at += 8 + (int.from_bytes(data[at + 4 : at + 8], "little") + 1 & ~1)
    pixels = data[at + 8 : at + 8 + int.from_bytes(data[at + 4 : at + 8], "little")]
    longest = max(map(len, RUN.findall(pixels)), default=0) if bytes(64) in pixels else 0
    if longest and _blank_blocks(np.asarray(image.convert("L"))) < longest / 2:
        raise CorruptImage(f"{longest} bytes of the pixels were overwritten with zeros; fetch the file again")


def _blank_blocks(grey: np.ndarray) -> int:
    """How many 16 x 16 blocks of a picture (H, W) have all rows alike, or all columns."""
    height, width = (side // 16 * 16 for side in grey.shape)
    blocks = grey[:height, :width].reshape(height // 16, 16, width // 16, 16).swapaxes(1, 2)
    rows = (blocks == blocks[:, :, :1]).all(axis=(2, 3))
    columns = (blocks == blocks[:, :, :, :1]).all(axis=(2, 3))
    return int((rows | columns).sum())


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
    """Compare the checksums of the critical chunks; Pillow itself looks at those of the others, but not of pixels."""
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
