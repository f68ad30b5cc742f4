"""Rows of the pool and rows kept, by licence and by folder."""

from types import SimpleNamespace

import numpy as np
import pyarrow as pa

from potstill.pipelines.report import provenance
from potstill.pipelines.report.provenance import Provenance


def part(sources, licences, kept):
    table = pa.table({"_input_source": sources, "_input_licence": pa.array(licences, pa.string())})
    return SimpleNamespace(table=table, kept=np.array(kept, bool))


def tables(*parts):
    found = Provenance()
    for each in parts:
        found.add(each)
    return [(table.rows, table.others) for table in found.tables()]


def test_rows_are_counted_over_all_chunks_and_the_largest_stand_first():
    licences, folders = tables(
        part(["a/1.jpg", "a/2.jpg", "b/x.tar#1"], ["CC0", None, "CC0"], [True, True, False]),
        part(["a/3.jpg", "top.jpg"], ["CC-BY", None], [False, True]),
    )
    assert licences == ([("CC0", 2, 1), ("not stated", 2, 2), ("CC-BY", 1, 0)], None)
    assert folders == ([("a", 3, 2), ("(top)", 1, 1), ("b/x.tar", 1, 0)], None)


def test_more_than_twelve_names_are_summed_up_and_so_are_those_that_are_too_many_to_count(monkeypatch):
    monkeypatch.setattr(provenance, "NAMES", 14)
    names = [f"f{number:02d}/x.jpg" for number in range(20)]
    _, (rows, others) = tables(part(["f00/y.jpg", *names], [None] * 21, [True] * 11 + [False] * 9 + [True]))
    assert rows[0] == ("f00", 2, 2) and len(rows) == 12
    assert others == (2, 8, 1)


def test_names_are_made_harmless_and_no_rows_have_no_table():
    (licences, _), _ = tables(part(["a/1"], ["<b>\x1b\u202e"], [True]))
    assert licences == [("<b>␛[U+202E]", 1, 1)]
    assert tables(part([], [], [])) == []
