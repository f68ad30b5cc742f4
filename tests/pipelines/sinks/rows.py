"""Rows as the runner hands them to a sink."""

import numpy as np
import pyarrow as pa

from potstill.pipelines import schema
from potstill.pipelines.intake import Intake, take_in
from potstill.pipelines.sources.base import RawRow
from tests.pipelines.pictures import encoded, photo, plain

HOSTILE = '<script>alert("x")</script> | `rm -rf` \n---\n{"a": 1} \u2028 \x00 é'


def kept(count=3, start=0, captions=None):
    """Pictures in turn JPEG and PNG, with texts, a score and an embedding."""
    raw = [
        RawRow(
            f"{number}.jpg",
            encoded(photo(64, 48, number)) if number % 2 == 0 else plain((number, 9, 9)),
            licence="CC-BY-4.0" if number % 2 == 0 else None,
            caption=f"caption {number}" if captions is None else captions,
            instruction=f"question {number}",
            response=f"answer {number}",
        )
        for number in range(start, start + count)
    ]
    table = take_in(raw, Intake()).drop_columns([schema.ERROR])
    table = table.add_column(0, schema.SAMPLE_ID, pa.array([f"s{number:04}" for number in range(start, start + count)]))
    vectors = pa.array(np.full(count * 4, 0.5, np.float16))
    return table.append_column("clip_score", pa.array([0.25] * count, pa.float32())).append_column(
        "clip_embedding", pa.FixedSizeListArray.from_arrays(vectors, 4)
    )
