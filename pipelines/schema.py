"""Column names and Arrow types, once.

Two tables, cut into the same chunks. ``images/chunk-N.parquet`` has one row per input row and is written once, by the
intake. ``samples/chunk-N.parquet`` has one row per sample and grows by the columns that stages write.
"""

from __future__ import annotations

import pyarrow as pa

IMAGE_ID = "image_id"
"""xxh3-128 of the encoded bytes, 32 hex digits."""
SAMPLE_ID = "sample_id"
"""xxh3-128 of (image id, input texts, ordinal), 32 hex digits."""
ROW = "row"
"""Position of a sample's image in its chunk of ``images/``."""
IMAGE = "image"
"""Encoded bytes, exactly as they came."""
WIDTH = "width"
HEIGHT = "height"
FORMAT = "format"
"""Pillow's name of the file format: JPEG, PNG, WEBP, GIF, BMP, TIFF."""
SOURCE = "source"
"""Where the row came from: path inside the source, with ``#row`` or ``#member`` for containers."""
LICENCE = "licence"
IMAGES_OF_GROUP = "images"
"""In a product of groups: the pictures of all members, in the order of their ids."""
CAPTION = "caption"
INSTRUCTION = "instruction"
RESPONSE = "response"
META = "meta"
"""What else the source holds about the row, as a JSON object."""
ERROR = "error"

PICTURES = pa.list_(pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
"""Encoded pictures with a file name each: a list of what Hugging Face ``datasets`` stores for its ``Image`` feature."""

ERROR_TYPE = pa.struct(
    [
        ("stage", pa.string()),
        ("type", pa.string()),
        ("message", pa.string()),
        ("attempts", pa.int32()),
    ]
)
"""Why a row is in quarantine; null for a good row."""

TEXTS = (CAPTION, INSTRUCTION, RESPONSE)
"""Texts that a source may bring along."""

ASIDE = (SOURCE, LICENCE, META)
"""Input columns that are no part of a sample's id."""

INPUT_COLUMNS = (IMAGE_ID, IMAGE, WIDTH, HEIGHT, FORMAT, SOURCE, LICENCE, *TEXTS, META)
"""Columns that the first stage of a plan may read."""

IMAGES = pa.schema(
    [
        pa.field(IMAGE_ID, pa.string(), nullable=False),
        pa.field(IMAGE, pa.large_binary()),
        pa.field(WIDTH, pa.int32()),
        pa.field(HEIGHT, pa.int32()),
        pa.field(FORMAT, pa.string()),
        pa.field(SOURCE, pa.string(), nullable=False),
        pa.field(LICENCE, pa.string()),
        *(pa.field(name, pa.string()) for name in TEXTS),
        pa.field(META, pa.string()),
        pa.field(ERROR, ERROR_TYPE),
    ]
)
"""One row per input row, bad ones included (image null, error set), so that what came in can always be counted."""


def embedding_type(dim: int) -> pa.DataType:
    """Type of an embedding column: fixed-size list of ``dim`` float16, readable by plain pyarrow, pandas and DuckDB."""
    return pa.list_(pa.float16(), dim)
