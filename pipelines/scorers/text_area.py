"""How much of a picture is covered by writing, and what it says, by text recognition.

PP-OCR by RapidOCR (Apache-2.0) on ONNX Runtime; the models, for Chinese and Latin script, come inside the package.
Pages, screenshots and tiled watermarks have large shares, captions and signs small ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from PIL import Image, ImageDraw
from pydantic import Field

from potstill.pipelines import schema
from potstill.pipelines.pixels import decode
from potstill.pipelines.scorers.extras import package_version
from potstill.pipelines.scorers.once import each_picture
from potstill.pipelines.stage import BatchFn, RowStage

PACKAGES, EXTRA = ("rapidocr", "onnxruntime"), "ocr"
LEAST_CHARACTERS = 2
"""Letters or digits that make a reading count: pictures of things are often read as a single character."""
Box = Sequence[tuple[float, float]]


class TextArea(RowStage):
    """Writes ``<name>`` (share of the picture under text, 0 to 1), ``<name>_boxes``, ``<name>_text``, and where it is.

    ``<name>_places`` holds left, top, right and bottom of each box, as shares of width and height.
    """

    version: ClassVar[int] = 2
    kind: Literal["text_area"] = "text_area"
    batch_rows: ClassVar[int] = 16

    recognise: bool = True
    """Read each box, and count only those that can be read; else every box counts, faster, and there is no text."""
    min_confidence: float = Field(default=0.8, ge=0, le=1)
    """Least confidence of a reading for its box to count."""
    side: int = Field(default=640, ge=64, le=4096)
    """Pixels to which the longer side is shrunk before. Print in large scans wants more."""

    def reads(self) -> tuple[str, ...]:
        """The image."""
        return (schema.IMAGE,)

    def writes(self) -> Mapping[str, pa.DataType | None]:
        """Share as float32, boxes as int32, where they are, and the lines from top to bottom as string (null: none)."""
        text = {f"{self.name}_text": pa.string()} if self.recognise else {}
        places = {f"{self.name}_places": pa.list_(pa.list_(pa.float32(), 4))}
        return {self.name: pa.float32(), f"{self.name}_boxes": pa.int32(), **places, **text}

    def identity(self) -> Mapping[str, Any]:
        """Versions of the packages, and so of the models in them."""
        return {package: package_version(package, EXTRA) for package in PACKAGES}

    def build(self) -> BatchFn:
        """Load the models, 30 MB, from the installed package; nothing is downloaded."""
        self.identity()
        from rapidocr import RapidOCR

        engine = "EngineConfig.onnxruntime"
        threads = {f"{engine}.intra_op_num_threads": 1, f"{engine}.inter_op_num_threads": 1}
        limits = {"Det.limit_type": "max", "Det.limit_side_len": self.side}
        reader = RapidOCR(params={"Global.log_level": "error", **threads, **limits})

        def look(image: Image.Image) -> tuple[float, int, list[tuple[float, ...]], str | None]:
            scale = min(1.0, self.side / max(image.size))
            small = image.resize([max(1, round(length * scale)) for length in image.size]) if scale < 1 else image
            boxes, lines = self._found(reader(np.asarray(small)[:, :, ::-1], use_cls=False, use_rec=self.recognise))
            places = [frame(box, small.size) for box in boxes]
            return covered(boxes, small.size), len(boxes), places, "\n".join(lines) or None

        def score(rows: pa.Table) -> Mapping[str, Any]:
            found, errors = each_picture(rows, look, decode)
            columns = zip(*(one or (None,) * 4 for one in found), strict=True) if found else ((),) * 4
            named = zip(self.writes(), columns, strict=False)  # without the text where nothing is read
            return dict(named) | {schema.ERROR: errors}

        return score

    def _found(self, output: Any) -> tuple[list[Box], list[str]]:
        """Boxes that count, and their readings."""
        if output.boxes is None:
            return [], []
        boxes: list[Box] = [[(float(x), float(y)) for x, y in box] for box in output.boxes]
        if not self.recognise:
            return boxes, []
        readings = zip(boxes, output.txts, output.scores, strict=True)
        kept = [(box, text) for box, text, sure in readings if sure >= self.min_confidence and is_text(text)]
        return [box for box, _ in kept], [text for _, text in kept]


def is_text(reading: str) -> bool:
    """Whether a reading has enough letters or digits to be one."""
    return sum(map(str.isalnum, reading)) >= LEAST_CHARACTERS


def frame(box: Box, size: tuple[int, int]) -> tuple[float, ...]:
    """Left, top, right and bottom of a box, corners in pixels, as shares of width and height, 0 to 1."""
    across, down = zip(*box, strict=True)
    (width, height), ends = size, (min(across), min(down), max(across), max(down))
    return tuple(min(1.0, max(0.0, end / side)) for end, side in zip(ends, (width, height, width, height), strict=True))


def covered(boxes: Sequence[Box], size: tuple[int, int]) -> float:
    """Share, 0 to 1, of a picture of ``size`` pixels (width, height) inside any of the boxes (corners in pixels)."""
    mask = Image.new("1", size)
    pen = ImageDraw.Draw(mask)
    for box in boxes:
        pen.polygon(list(box), fill=1)
    return float(np.asarray(mask).mean())
