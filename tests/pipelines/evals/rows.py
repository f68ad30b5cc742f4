"""Parquet for evaluations, with pictures as Hugging Face's struct."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from potstill.config import validate
from potstill.models.trainers.settings import Rows
from potstill.pipelines.evals.reading import Reader
from potstill.pipelines.evals.registry import EVALUATIONS
from potstill.pipelines.sinks.parquet import HF_IMAGE


def png(colour, side=24):
    """A small picture of one colour, encoded."""
    file = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(file, "PNG")
    return file.getvalue()


def write(folder, parts=1, group=None, **columns):
    """Columns as the parts of a run's product; ``image`` is a list of bytes or None."""
    arrays = {name: pa.array(values) if name != "image" else pictures(values) for name, values in columns.items()}
    table = pa.table(arrays)
    (folder / "dataset").mkdir(parents=True, exist_ok=True)
    each = -(-table.num_rows // parts)
    for part in range(parts):
        path = folder / "dataset" / f"part-{part:05d}.parquet"
        pq.write_table(table.slice(part * each, each), path, row_group_size=group)
    return folder


def pictures(values):
    """Bytes as the struct of Hugging Face."""
    return pa.array([None if data is None else {"bytes": data, "path": "x.png"} for data in values], HF_IMAGE)


def evaluation(kind, folder, **settings):
    """The settings of an evaluation of a folder."""
    return validate(EVALUATIONS[kind], {"kind": kind, "data": {"path": str(folder)}, **settings}, "test")


def reader(asked):
    """The rows of an evaluation."""
    return Reader(asked.data, asked.columns())


def rows(folder, **settings):
    """Settings of rows."""
    return Rows(path=str(folder), **settings)
