"""Small tables as a worker hands them to a scorer."""

import pyarrow as pa

from potstill.pipelines.intake import image_id
from potstill.pipelines.worker import join


def pictures(*data):
    """Rows of encoded pictures; equal bytes have equal ids."""
    return pa.table(
        {
            "sample_id": [f"s{number}" for number in range(len(data))],
            "image_id": [image_id(blob) for blob in data],
            "image": pa.array(data, pa.large_binary()),
        }
    )


def texts(*captions, response=None):
    """Rows with two text columns; no responses unless given."""
    ids = [f"s{number}" for number in range(len(captions))]
    columns = {"caption": captions, "response": response or [None] * len(captions)}
    return pa.table({"sample_id": ids, "image_id": ids} | {k: pa.array(v, pa.string()) for k, v in columns.items()})


def by_row(stage, table, sizes=(1, 2, 1000)):
    """Every written column as a list, after a check that order and batches change nothing: row -> values."""
    function = stage.build()
    forward = _run(stage, function, table)
    backward = _run(stage, function, table.take(pa.array(range(table.num_rows)[::-1], pa.int64())))
    for name, kind in stage.writes().items():
        assert forward[name] == backward[name][::-1], f"{name} depends on the order of the rows"
        assert kind is not None
    for size in sizes:
        parts = [_run(stage, function, table.slice(start, size)) for start in range(0, table.num_rows, size)]
        for name in forward:
            assert [value for part in parts for value in part[name]] == forward[name], f"{name} depends on batches"
    return forward


def _run(stage, function, table):
    result = function(table)
    assert set(result) - {"error"} == set(stage.writes())
    columns = {}
    for name, kind in stage.writes().items():
        values = result[name]
        array = join([values]) if isinstance(values, pa.Array | pa.ChunkedArray) else pa.array(values, kind)
        assert len(array) == table.num_rows
        columns[name] = array.cast(kind).to_pylist()
    return columns
