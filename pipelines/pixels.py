"""Encoded bytes to RGB pictures, decoded once per process however many stages ask.

Every special kind of picture is handled on purpose: EXIF orientation is applied, an animation shows its first frame,
16-bit grey is scaled (Pillow clips it), CMYK is converted, and transparency is laid on white.
"""

from __future__ import annotations

import threading
import warnings
from collections import OrderedDict
from io import BytesIO

import numpy as np
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
"""Pillow's names of what is opened at all. A file's content decides which it is, never its name."""
# Importing a plugin registers its format, which Image.open(formats=...) needs.
_ = BmpImagePlugin, GifImagePlugin, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin
CACHE_BYTES = 256 << 20
"""Decoded pixels that one process keeps, at Pillow's 4 bytes per RGB pixel."""
THUMBNAIL_SIDE = 256
"""Pixels of a thumbnail's longer side at most."""
THUMBNAIL_BYTES = 96 << 20
"""Thumbnails that one process keeps: those of a chunk of usual size, so that stages one after the other share them."""

_TURN = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_open_lock = threading.Lock()


class _Quiet:
    """Warnings off while any thread is inside. The filters are a global: the first one in changes them, the last one
    out restores them, where ``warnings.catch_warnings`` in several threads would leave them in each other's state."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._filters = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._filters = warnings.catch_warnings()
                self._filters.__enter__()
                warnings.simplefilter("ignore")

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._filters.__exit__(None, None, None)


quiet = _Quiet()
"""Pillow's remarks about odd metadata are no news to the reader of a log: a bad row has its own error."""


def open_header(data: bytes) -> Image.Image:
    """The picture with only its header read, of any size. Raises what Pillow raises.

    Pillow's own limit is off in here (it is a global, hence the lock): the intake checks the size right after this,
    and names the limit that the plan sets.
    """
    with _open_lock, quiet:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(BytesIO(data), formats=FORMATS)
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def orientation(image: Image.Image) -> int:
    """EXIF orientation 1..8 of a picture that was just opened; 1 where it is missing or nonsense.

    Pillow turns a TIFF by itself while loading. A PNG's EXIF counts where it stands before the pixels.
    """
    if image.format == "TIFF":
        return 1
    try:
        with quiet:
            value = Image.Image.getexif(image).get(0x0112, 1)
    except Exception:  # noqa: BLE001 (broken EXIF raises a dozen types, and only means that nothing is to be turned)
        return 1
    return value if value in _TURN else 1


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Width and height in pixels after orientation, from the header."""
    width, height = image.size
    return (height, width) if orientation(image) >= 5 else (width, height)


def is_plain(data: bytes) -> bool:
    """Whether every reader shows the same pixels as :func:`convert`: an upright, opaque, still JPEG, PNG or WebP of
    8 bits."""
    image = open_header(data)
    still = getattr(image, "n_frames", 1) == 1
    opaque = image.mode in ("RGB", "L") and not image.has_transparency_data
    return image.format in ("JPEG", "PNG", "WEBP") and still and opaque and orientation(image) == 1


def convert(data: bytes, *, side: int = 0) -> Image.Image:
    """A new RGB picture from encoded bytes, upright, on white. Raises what Pillow raises on broken bytes.

    With a ``side``, a JPEG is decoded at 1/2, 1/4 or 1/8 of its size, if its longer side is then still that long.
    """
    image = open_header(data)
    turn = _TURN.get(orientation(image))
    if side:
        image.draft(None, _shrunk(image.size, side))
    with quiet:
        image.load()
        rgb = _rgb(image)
    return rgb.transpose(turn) if turn is not None else rgb


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_eight_bit(np.asarray(image), sixteen=image.mode.startswith("I;16"))).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    with_alpha = image.convert("RGBA")
    white = Image.new("RGB", image.size, "white")
    white.paste(with_alpha, mask=with_alpha.getchannel("A"))
    return white


def _eight_bit(values: np.ndarray, *, sixteen: bool) -> np.ndarray:
    """Grey (H, W) uint8 from 16-bit, 32-bit or float grey.

    16-bit covers 0..65535. The other two carry no range: 0..1 (float), 0..255 and 0..65535 are recognised in this
    order, anything else is stretched from its least to its greatest finite value.
    """
    low, high = (0.0, 65535.0) if sixteen else _range(values)
    grey = np.empty(values.shape, np.uint8)
    for top in range(0, len(values), _STRIPE):  # stripes: the whole in float64 would take 8 bytes a pixel, twice
        scaled = (values[top : top + _STRIPE].astype(np.float64) - low) / max(high - low, 1e-12) * 255
        known = np.nan_to_num(scaled, nan=0.0, posinf=255.0, neginf=0.0)
        grey[top : top + _STRIPE] = np.clip(np.round(known), 0, 255)
    return grey


_STRIPE = 256


def _range(values: np.ndarray) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    if low < 0 or high > 65535:
        return low, high
    return 0.0, 1.0 if values.dtype.kind == "f" and high <= 1 else 255.0 if high <= 255 else 65535.0


class _Cache:
    """Least recently used pictures by id, bounded in bytes."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0
        self._images: OrderedDict[str, Image.Image] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, image_id: str) -> Image.Image | None:
        with self._lock:
            image = self._images.get(image_id)
            if image is not None:
                self._images.move_to_end(image_id)
            return image

    def put(self, image_id: str, image: Image.Image) -> None:
        with self._lock:
            if image_id in self._images:
                return
            self._images[image_id] = image
            self.held += _bytes(image)
            while self.held > self.limit:
                _, oldest = self._images.popitem(last=False)
                self.held -= _bytes(oldest)


def _bytes(image: Image.Image) -> int:
    return image.width * image.height * 4


_cache = _Cache(CACHE_BYTES)
_thumbnails = _Cache(THUMBNAIL_BYTES)


def decode(image_id: str, data: bytes) -> Image.Image:
    """The RGB picture of some encoded bytes, see :func:`convert`; shared by all callers, so it must not be changed.

    ``image_id`` is the key under which the process keeps it. Safe to call from several threads.
    """
    image = _cache.get(image_id)
    if image is None:
        image = convert(data)
        _cache.put(image_id, image)
    return image


def thumbnail(image_id: str, data: bytes) -> Image.Image:
    """The RGB picture with its longer side at :data:`THUMBNAIL_SIDE` pixels at most, never enlarged; shared as
    :func:`decode`'s are. For measures that need no more pixels: a large JPEG comes at a fraction of the cost.
    """
    small = _thumbnails.get(image_id)
    if small is None:
        image = convert(data, side=THUMBNAIL_SIDE)
        small = image.resize(_shrunk(image.size, THUMBNAIL_SIDE), Image.Resampling.HAMMING, reducing_gap=3.0)
        _thumbnails.put(image_id, small)
    return small


def _shrunk(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Width and height with the longer one at most ``side``, proportions kept, at least one pixel each."""
    scale = min(1.0, side / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
