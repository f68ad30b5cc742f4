"""Cells through a toy model: distinct ones once, in whole batches, failures counted."""

import numpy as np
import pytest

from potstill.pipelines.evals.batches import Batches
from potstill.pipelines.evals.reading import Reader
from tests.pipelines.evals.rows import rows, write


def read(cell):
    if cell is None:
        raise ValueError("nothing there")
    return cell.encode()


def prepare(data):
    if data == b"bad":
        raise OSError("does not decode")
    return len(data)


def run(tmp_path, cells, size, compute=None):
    sizes = []

    def lengths(inputs):
        sizes.append(len(inputs))
        return np.array([[value, 10 * value] for value in inputs], dtype=np.float32)

    source = Reader(rows(write(tmp_path, cell=cells)), ("cell",))
    return Batches(read, prepare, compute or lengths, size).run(source, "cell"), sizes


def test_each_distinct_cell_is_computed_once_and_rows_share_it(tmp_path):
    seen, sizes = run(tmp_path, ["a", "bb", "a", "ccc", "bb"], 8)
    assert seen.places == [0, 1, 0, 2, 1]
    assert seen.outputs.tolist() == [[1, 10], [2, 20], [3, 30]]
    assert seen.errors == [None] * 5
    assert sizes == [3]


def test_batches_are_whole_but_for_the_last_and_failures_do_not_thin_them(tmp_path):
    cells = ["a" * n for n in range(1, 9)] + ["bad"] + ["b" * n for n in range(1, 4)]
    seen, sizes = run(tmp_path, cells, 4)
    assert sizes == [4, 4, 3]
    assert [seen.outputs[place][0] if place is not None else None for place in seen.places] == [
        1, 2, 3, 4, 5, 6, 7, 8, None, 1, 2, 3,
    ]  # fmt: skip


def test_what_fails_to_be_read_or_prepared_is_the_rows_own_error(tmp_path):
    seen, _ = run(tmp_path, ["bad", None, "a", "bad"], 2)
    assert seen.places == [None, None, 0, None]
    assert [str(error) for error in seen.errors] == ["does not decode", "nothing there", "None", "does not decode"]


def test_when_all_fail_there_is_no_output(tmp_path):
    seen, sizes = run(tmp_path, ["bad", "bad"], 2)
    assert len(seen.outputs) == 0 and sizes == []


def test_a_model_that_fails_stops_it(tmp_path):
    def broken(inputs):
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        run(tmp_path, ["a", "bb"], 1, broken)
